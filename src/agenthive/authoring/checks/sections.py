"""Checks a section of a definition against its `Shape` in the dialect's table.

Returns a `Section` with the valid values, by key; every invalid value is reported as a problem with
its place. Rules over several keys are checked in the other modules of this package. Messages never
contain values: a value at a wrong place may be a secret.
"""

from __future__ import annotations

import math
from typing import TypeAlias, cast

from agenthive.authoring.agent_actions import ActionCatalog
from agenthive.authoring.dialect.dialect import AGENT_KINDS, SHAPES, UNITS
from agenthive.authoring.dialect.names import name_fault, title_fault
from agenthive.authoring.dialect.shapes import SWITCH, Field, Kind, Shape
from agenthive.authoring.readers.nodes import Place, SourceNode, describe_kind
from agenthive.authoring.readers.problems import Problems, did_you_mean
from agenthive.core.model.timestamps import parse_timestamp
from agenthive.core.values import JSONObject, JSONValue, NanoUSD, to_nano_usd

_Value: TypeAlias = (
    "str | int | float | bool | list[str] | Section | list[Section] | SourceNode | None"
)


class Section:
    """A checked section. ``path`` is its name in messages; ``values`` has the valid values."""

    def __init__(self, node: SourceNode, path: str) -> None:
        self.node = node
        self.path = path
        self.values: dict[str, _Value] = {}

    def place_of(self, key: str) -> Place:
        """The place of the value of ``key``, or of the section if the key is missing."""
        value_node = self.node.get(key)
        return value_node.place if value_node else self.node.place

    def has_valid(self, key: str) -> bool:
        """Whether ``key`` is present and valid (also if it is null)."""
        return key in self.values

    def text(self, key: str, default: str = "") -> str:
        """The text under ``key``."""
        return cast("str", self.values.get(key, default))

    def integer(self, key: str, default: int) -> int:
        """The whole number under ``key``."""
        return cast("int", self.values.get(key, default))

    def number(self, key: str, default: float) -> float:
        """The number or the seconds under ``key``."""
        return cast("float", self.values.get(key, default))

    def nano_usd(self, key: str, *, round_up: bool = False) -> NanoUSD | None:
        """The US dollars under ``key`` as nano-dollars, rounded down unless ``round_up``."""
        amount = cast("float | None", self.values.get(key))
        return None if amount is None else to_nano_usd(amount, up=round_up)

    def seconds(self, key: str, default: float | None) -> float | None:
        """The seconds under ``key``; None if the value is null."""
        return cast("float | None", self.values.get(key, default))

    def flag(self, key: str, default: bool) -> bool:
        """The flag under ``key``."""
        return cast("bool", self.values.get(key, default))

    def names(self, key: str) -> list[str]:
        """The list of names under ``key``."""
        return cast("list[str]", self.values.get(key, []))

    def subsection(self, key: str) -> Section | None:
        """The section under ``key``; None if it is missing or invalid."""
        return cast("Section | None", self.values.get(key))

    def subsections(self, key: str) -> list[Section]:
        """The list of sections under ``key``."""
        return cast("list[Section]", self.values.get(key, []))

    def delay(self, key: str) -> float | str | None:
        """The seconds under ``key``, or the template that yields them; None if missing."""
        return cast("float | str | None", self.values.get(key))

    def value_node(self, key: str) -> SourceNode | None:
        """The node under ``key``, for keys with values of several types."""
        return cast("SourceNode | None", self.values.get(key))

    def plain_value(self, key: str) -> JSONValue:
        """The value under ``key``, without places; None if missing."""
        node = self.value_node(key)
        return None if node is None else node.to_plain()

    def plain_map(self, key: str) -> JSONObject:
        """The map under ``key``, without places; empty if missing."""
        node = self.values.get(key)
        return cast("JSONObject", node.to_plain()) if isinstance(node, SourceNode) else {}


class SectionChecker:
    """Checks sections and reports problems; ``native``: by the native dialect."""

    def __init__(
        self, problems: Problems, *, native: bool, actions: ActionCatalog | None = None
    ) -> None:
        self._problems = problems
        self._native = native
        self._actions = actions

    def check_section(self, node: SourceNode, shape: Shape, path: str) -> Section | None:
        """Check ``node`` as a section of ``shape``; None if it is not a map."""
        if not isinstance(node.value, dict):
            location = path or "the definition"
            message = f"{location} must be a map of keys, not {describe_kind(node.value)}"
            self._problems.add(node.place, path, message)
            return None
        section = Section(node, path)
        fields = shape.by_key
        for key, item in node.value.items():
            field = fields.get(key)
            if field is None or (field.native_only and not self._native):
                self._report_unknown_key(section, shape, key)
            else:
                self._check_field(section, field, item)
        for field in shape.fields:
            if field.required and field.key not in node.value and not self._has_alias(node, field):
                message = f"the key {field.key!r} is required: {_first_sentence(field.doc)}"
                self._problems.add(node.place, path, message)
        return section

    def _has_alias(self, node: SourceNode, field: Field) -> bool:
        return self._native and field.key == "agent_name" and node.get("agent") is not None

    def _report_unknown_key(self, section: Section, shape: Shape, key: str) -> None:
        known_keys = [field.key for field in shape.fields if self._native or not field.native_only]
        advice = shape.corrections.get(key)
        if key == "agent":
            advice = "write agent_name (or put agenthive: 1 first)"
        suggestion = f"; {advice}." if advice else "." + did_you_mean(key, known_keys)
        place = section.node.keys.get(key, section.node.place)
        message = f"unknown key {key[:60]!r} in {shape.name}{suggestion}"
        self._problems.add(place, section.path, message)

    def _check_field(self, section: Section, field: Field, node: SourceNode) -> None:
        path = f"{section.path}.{field.key}" if section.path else field.key
        if node.value is None and field.nullable:
            section.values[field.key] = None
            return
        try:
            section.values[field.key] = self._read_value(field, node, path)
        except _InvalidValue as error:
            self._problems.add(error.place or node.place, path, str(error))

    def _read_value(self, field: Field, node: SourceNode, path: str) -> _Value:
        match field.kind:
            case Kind.TEXT:
                return _read_text(field, node)
            case Kind.NAME | Kind.TITLE:
                return _read_name(field, node)
            case Kind.FLAG:
                return _read_flag(node)
            case Kind.WHOLE:
                return _read_integer(field, node)
            case Kind.NUMBER | Kind.DOLLARS:
                return _read_number(field, node)
            case Kind.SECONDS:
                return _read_seconds(field, node)
            case Kind.CHOICE:
                return self._read_choice(field, node)
            case Kind.NAMES:
                return _read_names(field, node)
            case Kind.SHAPE:
                return self._read_subsection(field, node, path)
            case Kind.SHAPES:
                return self._read_subsections(field, node, path)
            case Kind.MAP | Kind.INPUTS:
                return _read_map(node)
            case Kind.ANY:
                return node
            case Kind.FORMULA:
                return parse_formula(_read_text(field, node))
            case Kind.ITEMS:
                return _read_items(node)
            case Kind.DELAY:
                return _read_delay(field, node)
            case Kind.TIME:
                return _read_time(field, node)
            case Kind.WORKFLOW:
                return _require_type(
                    node, (dict, str), "the path of a workflow file, or a workflow"
                )

    def _read_subsection(self, field: Field, node: SourceNode, path: str) -> Section | None:
        """Read a section, which may be written in its short form."""
        shape, value = SHAPES[field.shape], node.value
        if field.short == SWITCH and isinstance(value, bool):
            return self.check_section(SourceNode({}, node.place), shape, path) if value else None
        if field.short not in ("", SWITCH) and not isinstance(value, dict):
            node = SourceNode({field.short: node}, node.place, {field.short: node.place})
        return self.check_section(node, shape, path)

    def _read_choice(self, field: Field, node: SourceNode) -> str:
        choices, value = field.choices, node.value
        if choices is AGENT_KINDS and value not in choices and self._actions is not None:
            choices = tuple(self._actions.kinds)
        if not isinstance(value, str):
            raise _InvalidValue(f"must be one of {', '.join(choices)}, not {describe_kind(value)}")
        if value not in choices:
            raise _InvalidValue(
                f"{value[:60]!r} is not one of {', '.join(choices)}." + did_you_mean(value, choices)
            )
        return value

    def _read_subsections(self, field: Field, node: SourceNode, path: str) -> list[Section]:
        if not isinstance(node.value, list):
            raise _InvalidValue(
                f"must be a list (each entry starts with '- '), not {describe_kind(node.value)}"
            )
        if field.minimum and not node.value:
            raise _InvalidValue("must have at least one entry")
        subsections = [
            self._read_subsection(field, item, f"{path}[{i}]") for i, item in enumerate(node.value)
        ]
        return [section for section in subsections if section is not None]


class _InvalidValue(Exception):
    """An invalid value; ``place`` if the fault is inside the value."""

    def __init__(self, message: str, place: Place | None = None) -> None:
        super().__init__(message)
        self.place = place


def _first_sentence(doc: str) -> str:
    return doc.split(". ")[0].rstrip(".")[:100] or "see the reference"


def _read_text(field: Field, node: SourceNode) -> str:
    value = node.value
    if not isinstance(value, str):
        quote = "; put it in quotes" if isinstance(value, bool | int | float) else ""
        raise _InvalidValue(f"must be text, not {describe_kind(value)}{quote}")
    if field.minimum and not value:
        raise _InvalidValue("must not be empty")
    if "\0" in value:
        raise _InvalidValue("must not contain a NUL character")
    return value


def _read_name(field: Field, node: SourceNode) -> str:
    value = _read_text(field, node)
    fault = name_fault(value) if field.kind is Kind.NAME else title_fault(value)
    if fault:
        raise _InvalidValue(fault)
    return value


def _read_flag(node: SourceNode) -> bool:
    if not isinstance(node.value, bool):
        raise _InvalidValue(f"must be true or false, not {describe_kind(node.value)}")
    return node.value


def _read_integer(field: Field, node: SourceNode) -> int:
    if isinstance(node.value, bool) or not isinstance(node.value, int):
        raise _InvalidValue(f"must be a whole number, not {describe_kind(node.value)}")
    _check_bounds(field, node.value)
    return node.value


def _read_number(field: Field, node: SourceNode) -> float:
    if isinstance(node.value, bool) or not isinstance(node.value, int | float):
        raise _InvalidValue(f"must be a number, not {describe_kind(node.value)}")
    _check_bounds(field, node.value)
    return float(node.value)


def _read_seconds(field: Field, node: SourceNode) -> float:
    value = node.value
    if isinstance(value, str):
        seconds = parse_duration(value)
        if seconds is None:
            raise _InvalidValue('must be seconds or a duration such as "1.5s", "2m" or "1h"')
        _check_bounds(field, seconds)
        return seconds
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _InvalidValue(f"must be a number of seconds, not {describe_kind(value)}")
    _check_bounds(field, value)
    return float(value)


def parse_duration(text: str) -> float | None:
    """Parse a duration such as ``1.5s``, ``250ms`` or ``2m`` to seconds; None if invalid."""
    digits = text.rstrip("dhms")
    unit = UNITS.get(text[len(digits) :])
    whole, dot, fraction = digits.partition(".")
    is_numeric = (whole + fraction).isascii() and (whole + fraction).isdigit()
    is_too_long = len(whole) > 15 or len(fraction) > 15
    if unit is None or not is_numeric or not whole or bool(dot) != bool(fraction) or is_too_long:
        return None
    return float(digits) * unit


def _check_bounds(field: Field, value: float) -> None:
    minimum, maximum = field.minimum, field.maximum
    if not math.isfinite(value):
        raise _InvalidValue("must be a finite number")
    if minimum is not None and (value < minimum or (field.exclusive_minimum and value == minimum)):
        raise _InvalidValue(
            f"must be {'more than' if field.exclusive_minimum else 'at least'} {minimum:g}"
        )
    if maximum is not None and value > maximum:
        raise _InvalidValue(f"must be at most {maximum:,.10g}")


def parse_formula(text: str) -> str:
    """Strip the optional braces around an expression."""
    body = text.strip()
    if body.startswith("{{") and body.endswith("}}") and not body.startswith("{{{{"):
        body = body[2:-2].strip()
    if not body:
        raise _InvalidValue("the expression is empty")
    if "{{" in body:
        raise _InvalidValue("must be a single expression, not a text that contains expressions")
    return body


def _read_items(node: SourceNode) -> SourceNode:
    _require_type(node, (list, str), "a list or an expression that yields one")
    is_text = isinstance(node.value, str)
    return SourceNode(parse_formula(str(node.value)), node.place) if is_text else node


def _require_type(node: SourceNode, types: tuple[type, ...], expected: str) -> SourceNode:
    if not isinstance(node.value, types):
        raise _InvalidValue(f"must be {expected}, not {describe_kind(node.value)}")
    return node


def _read_delay(field: Field, node: SourceNode) -> float | str:
    if isinstance(node.value, str) and "{{" in node.value:
        return _read_text(field, node)
    return _read_seconds(field, node)


def _read_time(field: Field, node: SourceNode) -> str:
    text = _read_text(field, node)
    if "{{" not in text and parse_timestamp(text) is None:
        raise _InvalidValue(
            'must be a time with its zone, as "2026-12-01T09:00:00+01:00" or "...Z"'
        )
    return text


def _read_names(field: Field, node: SourceNode) -> list[str]:
    if not isinstance(node.value, list):
        raise _InvalidValue(
            f"must be a list of names, as in [a, b], not {describe_kind(node.value)}"
        )
    if field.minimum and not node.value:
        raise _InvalidValue("must have at least one entry")
    names: list[str] = []
    for item in node.value:
        if not isinstance(item.value, str):
            raise _InvalidValue(f"a name must be text, not {describe_kind(item.value)}", item.place)
        if field.choices and item.value not in field.choices:
            choices = ", ".join(field.choices)
            suggestion = did_you_mean(item.value, field.choices)
            message = f"{item.value[:60]!r} is not one of {choices}.{suggestion}"
            raise _InvalidValue(message, item.place)
        names.append(item.value)
    return names


def _read_map(node: SourceNode) -> SourceNode:
    if not isinstance(node.value, dict):
        raise _InvalidValue(f"must be a map of keys, not {describe_kind(node.value)}")
    return node
