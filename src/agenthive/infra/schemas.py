"""JSON Schemas for results: whether one can be used, and what a value has against it.

Always draft 2020-12. Whoever wrote a schema may be a stranger: nothing is ever fetched, patterns
take linear time (neither look-around nor back-references), and a schema that would look at one
place of a value very often is refused. Values are never quoted, they may be secret. A keyword that
holds schemas is added to the tables. The only file that may import jsonschema_rs, at first use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator, ValidationError

MAX_DEPTH: Final = 64
MAX_PARTS: Final = 2_000
"""Schemas within a schema, itself included."""
MAX_LOOKS: Final = 10_000
"""How often one place of a value may be looked at."""
DEEPEST_VALUE: Final = 100
"""Levels of a value: `core.engine.reply_validation` lets no result be deeper."""
_LONGEST: Final = 500
_PATTERN_SIZE: Final = 1 << 20

_NOT_HERE: Final = ("$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef")
_SAME_PLACE: Final = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas")
_BESIDE: Final = (
    ("properties", "additionalProperties", "unevaluatedProperties"),
    ("prefixItems", "items", "unevaluatedItems"),
)
"""Keywords of which one alone looks at a given part of a value."""
_EACH: Final = ("patternProperties", "propertyNames", "contains")
_UNUSED: Final = ("$defs", "definitions", "contentSchema")
_MAPS: Final = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
_LISTS: Final = ("allOf", "anyOf", "oneOf", "prefixItems")


def check_schema(schema: dict[str, Any]) -> str:
    """Why ``schema`` cannot be used, with the place in it; empty if it can."""
    try:
        _check_looks(_SchemaParts(schema))
        _make_validator(schema)
    except _SchemaRefused as refused:
        return str(refused)
    except ValueError as fault:
        return _locate_message(_describe_fault(fault), list(getattr(fault, "instance_path", ())))
    return ""


def compile_schema(schema: dict[str, Any]) -> Callable[[Any], str]:
    """A function that gives the first fault of a value, with its path; empty if it has none.

    The schema must have been checked, and values come through `core.engine.reply_validation`.
    Raises ValueError if the schema cannot be used.
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
        text += " of the kind allowed: one without look-around and back-references, and not huge"
    return text


def _locate_message(message: str, path: Sequence[str | int]) -> str:
    location = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    location = location.removeprefix(".")
    return (f"{location}: {message}" if location else message)[:_LONGEST]


class _SchemaRefused(Exception):
    """A schema that is not used."""


class _SchemaParts:
    """Every schema within a schema, by number.

    ``same`` are those that look at the same place of a value as it does; ``deeper`` those that look
    at a part of it: of each group one alone does.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self.same: list[list[int]] = []
        self.deeper: list[list[list[int]]] = []
        self._numbers: dict[str, int] = {}
        self._references: list[tuple[int, str, str]] = []
        self._add_part(schema, "", 0)
        for part, place, pointer in self._references:
            self.same[part].append(self._find_target(place, pointer))

    def _add_part(self, schema: Any, place: str, depth: int) -> int:
        number = len(self.same)
        if number >= MAX_PARTS:
            raise _SchemaRefused(f"a schema of more than {MAX_PARTS:,} parts is not used")
        if depth > MAX_DEPTH:
            raise _SchemaRefused(f"a schema nested more than {MAX_DEPTH} levels deep is not used")
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
                        f"{key} is not used here; write $defs and $ref", _split_pointer(place)
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
            message = f"$ref: {pointer[:80]!r} lies outside; nothing is fetched, put it under $defs"
            raise _SchemaRefused(_locate_message(message, _split_pointer(place)))
        number = self._numbers.get(unquote(pointer[1:]))
        if number is None:
            raise _SchemaRefused(
                _locate_message(f"$ref: {pointer[:80]!r} leads to no schema", _split_pointer(place))
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
    """Refuse a schema that looks at one place too often: such a one can take for ever.

    Counts all looks along one way down into a value, level by level, until nothing is added.
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
                f"it would look at one place of a value more than {MAX_LOOKS:,} times:"
                " too many choices within choices"
            )
        if counts == previous:
            return


def _sort_inner_first(same: Sequence[Sequence[int]]) -> list[int]:
    """The parts, each after those that look at the same place because of it."""
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
