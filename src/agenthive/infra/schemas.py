"""JSON Schemas: whether a schema can be used, and the first error of a value.

The dialect is draft 2020-12. The author of a schema is not trusted:

* Nothing is fetched: a ``$ref`` may only point into the schema itself.
* Patterns take linear time; look-around and back-references are refused.
* A schema that would evaluate one place of a value too often is refused (`_check_looks`):
  ``anyOf`` within ``anyOf``, or references that branch, can take exponential time.
* Error messages never quote a value, because it may be a secret.

This is the only file that may import ``jsonschema_rs``, at first use. To support another keyword
that holds schemas: its name in the tables below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator, ValidationError

#: Levels of schemas within schemas.
MAX_DEPTH: Final = 64
#: Schemas within a schema, the schema itself included.
MAX_PARTS: Final = 2_000
#: The most evaluations of one place of a value.
MAX_LOOKS: Final = 10_000
#: Levels of a value; `core.engine.reply_validation` refuses deeper results.
DEEPEST_VALUE: Final = 100
#: Characters of an error message.
_LONGEST: Final = 500
#: Bytes of a compiled pattern.
_PATTERN_SIZE: Final = 1 << 20

#: Keywords that are refused, because they give a schema a second address.
_NOT_HERE: Final = ("$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef")
#: Keywords whose schemas evaluate the same place of a value as the schema around them.
_SAME_PLACE: Final = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas")
#: Groups of keywords of which only one evaluates any given part of a value.
_BESIDE: Final = (
    ("properties", "additionalProperties", "unevaluatedProperties"),
    ("prefixItems", "items", "unevaluatedItems"),
)
#: Keywords of which each schema evaluates parts of a value besides those groups.
_EACH: Final = ("patternProperties", "propertyNames", "contains")
#: Keywords whose schemas evaluate nothing unless a reference leads to them.
_UNUSED: Final = ("$defs", "definitions", "contentSchema")
#: Keywords whose value maps names to schemas.
_MAPS: Final = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
#: Keywords whose value is a list of schemas.
_LISTS: Final = ("allOf", "anyOf", "oneOf", "prefixItems")


def check_schema(schema: dict[str, Any]) -> str:
    """Why ``schema`` cannot be used, with the place in it; an empty text if it can."""
    try:
        _check_looks(_SchemaParts(schema))
        _make_validator(schema)
    except _SchemaRefused as refused:
        return str(refused)
    except ValueError as fault:
        return _locate_message(_describe_fault(fault), list(getattr(fault, "instance_path", ())))
    return ""


def compile_schema(schema: dict[str, Any]) -> Callable[[Any], str]:
    """A function from a value to its first error, with the path; an empty text if it is valid.

    The schema must have passed `check_schema`, and values must have passed
    `core.engine.reply_validation`, which bounds their depth. Raises ValueError if the schema cannot
    be used.
    """
    validator = _make_validator(schema, mask="it")

    def fault(value: Any) -> str:
        try:
            validator.validate(value)
        except ValueError as error:
            return _locate_message(
                _describe_fault(error), list(getattr(error, "instance_path", ()))
            )
        return ""

    return fault


def _make_validator(schema: dict[str, Any], mask: str | None = None) -> Draft202012Validator:
    from jsonschema_rs import Draft202012Validator, RegexOptions

    patterns = RegexOptions(size_limit=_PATTERN_SIZE, dfa_size_limit=_PATTERN_SIZE)
    return Draft202012Validator(schema, offline=True, mask=mask, pattern_options=patterns)


def _describe_fault(fault: ValueError | ValidationError) -> str:
    text = str(getattr(fault, "message", fault)).splitlines()[0]
    if text.endswith('is not a "regex"'):
        text += " that is allowed: it must be small and have no look-around or back-references"
    return text


def _locate_message(message: str, path: Sequence[str | int]) -> str:
    location = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    location = location.removeprefix(".")
    return (f"{location}: {message}" if location else message)[:_LONGEST]


class _SchemaRefused(Exception):
    """The schema cannot be used; the message says why and where."""


class _SchemaParts:
    """All schemas within a schema, numbered. Raises _SchemaRefused."""

    def __init__(self, schema: dict[str, Any]) -> None:
        #: For each schema, those that evaluate the same place of a value.
        self.same: list[list[int]] = []
        #: For each schema, groups of those that evaluate parts of that place: one of each group.
        self.deeper: list[list[list[int]]] = []
        #: JSON pointer -> number.
        self._numbers: dict[str, int] = {}
        #: Number of the schema, its JSON pointer, its ``$ref``.
        self._references: list[tuple[int, str, str]] = []
        self._add_part(schema, "", 0)
        for part, place, pointer in self._references:
            self.same[part].append(self._find_target(place, pointer))

    def _add_part(self, schema: Any, place: str, depth: int) -> int:
        number = len(self.same)
        if number >= MAX_PARTS:
            raise _SchemaRefused(f"it has more than {MAX_PARTS:,} parts; make it smaller")
        if depth > MAX_DEPTH:
            raise _SchemaRefused(f"it has more than {MAX_DEPTH} levels; put parts under $defs")
        self._numbers[place] = number
        self.same.append([])
        self.deeper.append([])
        if isinstance(schema, dict):
            self._add_subschemas(number, schema, place, depth + 1)
        return number

    def _add_subschemas(self, number: int, schema: dict[str, Any], place: str, depth: int) -> None:
        for key in _NOT_HERE:
            if key in schema:
                raise _SchemaRefused(
                    _locate_message(
                        f"{key} is not supported; write $defs and $ref", _split_pointer(place)
                    )
                )
        if isinstance(pointer := schema.get("$ref"), str):
            self._references.append((number, place, pointer))

        def add_parts(key: str) -> list[int]:
            return [
                self._add_part(subschema, path, depth)
                for path, subschema in _subschemas(schema, key, place)
            ]

        for key in _SAME_PLACE:
            self.same[number].extend(add_parts(key))
        groups = [[part for key in keys for part in add_parts(key)] for keys in _BESIDE]
        groups += [[part] for key in _EACH for part in add_parts(key)]
        self.deeper[number] = [group for group in groups if group]
        for key in _UNUSED:
            add_parts(key)

    def _find_target(self, place: str, pointer: str) -> int:
        if not pointer.startswith("#"):
            message = (
                f"$ref: {pointer[:80]!r} is outside this schema, and agenthive fetches none; put "
                "the schema under $defs"
            )
            raise _SchemaRefused(_locate_message(message, _split_pointer(place)))
        number = self._numbers.get(unquote(pointer[1:]))
        if number is None:
            raise _SchemaRefused(
                _locate_message(
                    f"$ref: there is no schema at {pointer[:80]!r}", _split_pointer(place)
                )
            )
        return number


def _subschemas(schema: dict[str, Any], key: str, place: str) -> Iterator[tuple[str, Any]]:
    """The schemas under a keyword, each with its JSON pointer."""
    value = schema.get(key)
    if key in _MAPS and isinstance(value, dict):
        for name, subschema in value.items():
            yield f"{place}/{key}/{name.replace('~', '~0').replace('/', '~1')}", subschema
    elif key in _LISTS and isinstance(value, list):
        for i, subschema in enumerate(value):
            yield f"{place}/{key}/{i}", subschema
    elif isinstance(value, dict | bool) and key not in _MAPS:
        yield f"{place}/{key}", value


def _split_pointer(pointer: str) -> list[str | int]:
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _check_looks(parts: _SchemaParts) -> None:
    """Raise _SchemaRefused if one place of a value could be evaluated too often.

    An upper bound of the evaluations by each schema, for values of 1, 2, 3 ... levels:

        count(schema, levels) = 1 + sum of count(other, levels) over ``same``
                                  + sum of max(count(other, levels - 1)) over groups of ``deeper``

    It ends when another level adds nothing, or at `DEEPEST_VALUE` levels.
    """
    order = _sort_inner_first(parts.same)
    counts = [0] * len(order)
    for _ in range(DEEPEST_VALUE):
        previous, counts = counts, [0] * len(order)
        for part in order:
            deeper = sum(max(previous[other] for other in group) for group in parts.deeper[part])
            counts[part] = 1 + sum(counts[other] for other in parts.same[part]) + deeper
        if max(counts) > MAX_LOOKS:
            raise _SchemaRefused(
                f"it could evaluate one place of a value more than {MAX_LOOKS:,} times: it has too"
                " many alternatives within alternatives"
            )
        if counts == previous:
            return


def _sort_inner_first(same: Sequence[Sequence[int]]) -> list[int]:
    """The schemas in topological order: each after those in its ``same`` (Kahn's algorithm).

    Raises _SchemaRefused for a cycle, which would never end.
    """
    waiting = [len(others) for others in same]
    users: list[list[int]] = [[] for _ in same]
    for part, others in enumerate(same):
        for other in others:
            users[other].append(part)
    order = [part for part, count in enumerate(waiting) if not count]
    for part in order:
        for user in users[part]:
            waiting[user] -= 1
            if not waiting[user]:
                order.append(user)
    if len(order) < len(same):
        raise _SchemaRefused("a $ref leads back to itself without going deeper into the value")
    return order
