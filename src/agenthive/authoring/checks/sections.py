"""Checking a section of a definition against its shape in the dialect's table.

Gives a `Section`: the values that are as they should be, by key; everything else has become a
problem with a place. What keys mean together is checked in `assemble`. Never prints values: what
stands in the wrong place may be a secret.
"""

from __future__ import annotations

import math
from typing import TypeAlias, cast

from agenthive.authoring.dialect.dialect import AGENT_KINDS, SHAPES, UNITS
from agenthive.authoring.dialect.names import name_fault, title_fault
from agenthive.authoring.dialect.shapes import SWITCH, Field, Kind, Shape
from agenthive.authoring.readers.nodes import Node, Place, kind
from agenthive.authoring.readers.problems import Problems, did_you_mean
from agenthive.core.model.timestamps import parse_instant
from agenthive.core.values import JSONObject, JSONValue, NanoUSD, nano

_Value: TypeAlias = "str | int | float | bool | list[str] | Section | list[Section] | Node | None"


class Section:
    """A checked section. ``path`` is how messages call it; ``values`` holds what is in order."""

    def __init__(self, node: Node, path: str) -> None:
        self.node = node
        self.path = path
        self.values: dict[str, _Value] = {}

    def at(self, key: str) -> Place:
        """Where the value of ``key`` stands, or the section if it has none."""
        found = self.node.get(key)
        return found.place if found else self.node.place

    def has(self, key: str) -> bool:
        """Whether ``key`` is there and in order (null counts)."""
        return key in self.values

    def text(self, key: str, default: str = "") -> str:
        """The text under ``key``."""
        return cast("str", self.values.get(key, default))

    def whole(self, key: str, default: int) -> int:
        """The whole number under ``key``."""
        return cast("int", self.values.get(key, default))

    def number(self, key: str, default: float) -> float:
        """The number or the seconds under ``key``."""
        return cast("float", self.values.get(key, default))

    def dollars(self, key: str, *, up: bool = False) -> NanoUSD | None:
        """The US dollars under ``key`` in nano-dollars, cut off or ``up``; None if none."""
        found = cast("float | None", self.values.get(key))
        return None if found is None else nano(found, up=up)

    def seconds(self, key: str, default: float | None) -> float | None:
        """The seconds under ``key``; null is None."""
        return cast("float | None", self.values.get(key, default))

    def flag(self, key: str, default: bool) -> bool:
        """The flag under ``key``."""
        return cast("bool", self.values.get(key, default))

    def names(self, key: str) -> list[str]:
        """The list of names under ``key``."""
        return cast("list[str]", self.values.get(key, []))

    def section(self, key: str) -> Section | None:
        """The section under ``key``."""
        return cast("Section | None", self.values.get(key))

    def sections(self, key: str) -> list[Section]:
        """The list of sections under ``key``."""
        return cast("list[Section]", self.values.get(key, []))

    def delay(self, key: str) -> float | str | None:
        """The seconds under ``key``, or the text that gives them; None if there is neither."""
        return cast("float | str | None", self.values.get(key))

    def found(self, key: str) -> Node | None:
        """The node under ``key``, for keys that take more than one kind of value."""
        return cast("Node | None", self.values.get(key))

    def any(self, key: str) -> JSONValue:
        """Whatever is under ``key``, without places; None if nothing is."""
        found = self.found(key)
        return None if found is None else found.plain()

    def map(self, key: str) -> JSONObject:
        """The free map under ``key``, without places."""
        found = self.values.get(key)
        return cast("JSONObject", found.plain()) if isinstance(found, Node) else {}


class Checker:
    """Checks sections and notes problems. ``native`` is whether the native dialect is spoken."""

    def __init__(
        self, problems: Problems, *, native: bool, kinds: tuple[str, ...] | None = None
    ) -> None:
        self._problems = problems
        self._native = native
        self._kinds = kinds

    def section(self, node: Node, shape: Shape, path: str) -> Section | None:
        """``node`` as a section of ``shape``; None if it is no map at all."""
        if not isinstance(node.value, dict):
            where = path or "the definition"
            what = f"{where} must be a map of keys, not {kind(node.value)}"
            self._problems.add(node.place, path, what)
            return None
        section = Section(node, path)
        fields = shape.by_key
        for key, item in node.value.items():
            field = fields.get(key)
            if field is None or (field.native_only and not self._native):
                self._unknown(section, shape, key)
            else:
                self._field(section, field, item)
        for field in shape.fields:
            if field.required and field.key not in node.value and not self._aliased(node, field):
                what = f"the key {field.key!r} is required: {_first_words(field.doc)}"
                self._problems.add(node.place, path, what)
        return section

    def _aliased(self, node: Node, field: Field) -> bool:
        return self._native and field.key == "agent_name" and node.get("agent") is not None

    def _unknown(self, section: Section, shape: Shape, key: str) -> None:
        known = [f.key for f in shape.fields if self._native or not f.native_only]
        advice = shape.instead.get(key)
        if key == "agent":
            advice = "write agent_name (or put agenthive: 1 first)"
        tail = f"; {advice}." if advice else "." + did_you_mean(key, known)
        place = section.node.keys.get(key, section.node.place)
        what = f"unknown key {key[:60]!r} in {shape.name}{tail}"
        self._problems.add(place, section.path, what)

    def _field(self, section: Section, field: Field, node: Node) -> None:
        path = f"{section.path}.{field.key}" if section.path else field.key
        if node.value is None and field.nullable:
            section.values[field.key] = None
            return
        try:
            section.values[field.key] = self._value(field, node, path)
        except _Wrong as wrong:
            self._problems.add(wrong.place or node.place, path, str(wrong))

    def _value(self, field: Field, node: Node, path: str) -> _Value:
        match field.kind:
            case Kind.TEXT:
                return _text(field, node)
            case Kind.NAME | Kind.TITLE:
                return _name(field, node)
            case Kind.FLAG:
                return _flag(node)
            case Kind.WHOLE:
                return _whole(field, node)
            case Kind.NUMBER | Kind.DOLLARS:
                return _number(field, node)
            case Kind.SECONDS:
                return _seconds(field, node)
            case Kind.CHOICE:
                return self._choice(field, node)
            case Kind.NAMES:
                return _names(field, node)
            case Kind.SHAPE:
                return self._shape(field, node, path)
            case Kind.SHAPES:
                return self._sections(field, node, path)
            case Kind.MAP | Kind.INPUTS:
                return _map(node)
            case Kind.ANY:
                return node
            case Kind.FORMULA:
                return formula(_text(field, node))
            case Kind.ITEMS:
                return _items(node)
            case Kind.DELAY:
                return _delay(field, node)
            case Kind.TIME:
                return _time(field, node)
            case Kind.WORKFLOW:
                return _one_of(node, (dict, str), "the path of a file or a workflow")

    def _shape(self, field: Field, node: Node, path: str) -> Section | None:
        """A section, also one that is written short."""
        shape, value = SHAPES[field.shape], node.value
        if field.short == SWITCH and isinstance(value, bool):
            return self.section(Node({}, node.place), shape, path) if value else None
        if field.short not in ("", SWITCH) and not isinstance(value, dict):
            node = Node({field.short: node}, node.place, {field.short: node.place})
        return self.section(node, shape, path)

    def _choice(self, field: Field, node: Node) -> str:
        choices = field.choices
        if self._kinds and choices is AGENT_KINDS:
            choices = self._kinds
        value = node.value
        if not isinstance(value, str):
            raise _Wrong(f"must be one of {', '.join(choices)}, not {kind(value)}")
        if value not in choices:
            raise _Wrong(f"{value[:60]!r} is not one of {', '.join(choices)}."
                         + did_you_mean(value, choices))  # fmt: skip
        return value

    def _sections(self, field: Field, node: Node, path: str) -> list[Section]:
        if not isinstance(node.value, list):
            raise _Wrong(f"must be a list (each entry starts with '- '), not {kind(node.value)}")
        if field.least and not node.value:
            raise _Wrong("must have at least one entry")
        found = [self._shape(field, item, f"{path}[{i}]") for i, item in enumerate(node.value)]
        return [section for section in found if section is not None]


class _Wrong(Exception):
    """A value that is not what its key takes; ``place`` if it is inside the value."""

    def __init__(self, what: str, place: Place | None = None) -> None:
        super().__init__(what)
        self.place = place


def _first_words(doc: str) -> str:
    return doc.split(". ")[0].rstrip(".")[:100] or "see the reference"


def _text(field: Field, node: Node) -> str:
    value = node.value
    if not isinstance(value, str):
        quote = "; put it in quotes" if isinstance(value, bool | int | float) else ""
        raise _Wrong(f"must be text, not {kind(value)}{quote}")
    if field.least and not value:
        raise _Wrong("must not be empty")
    if "\0" in value:
        raise _Wrong("must not hold a NUL character")
    return value


def _name(field: Field, node: Node) -> str:
    value = _text(field, node)
    fault = name_fault(value) if field.kind is Kind.NAME else title_fault(value)
    if fault:
        raise _Wrong(fault)
    return value


def _flag(node: Node) -> bool:
    if not isinstance(node.value, bool):
        raise _Wrong(f"must be true or false, not {kind(node.value)}")
    return node.value


def _whole(field: Field, node: Node) -> int:
    if isinstance(node.value, bool) or not isinstance(node.value, int):
        raise _Wrong(f"must be a whole number, not {kind(node.value)}")
    _bounded(field, node.value)
    return node.value


def _number(field: Field, node: Node) -> float:
    if isinstance(node.value, bool) or not isinstance(node.value, int | float):
        raise _Wrong(f"must be a number, not {kind(node.value)}")
    _bounded(field, node.value)
    return float(node.value)


def _seconds(field: Field, node: Node) -> float:
    value = node.value
    if isinstance(value, str):
        seconds = duration(value)
        if seconds is None:
            raise _Wrong('must be seconds or a duration such as "1.5s", "2m" or "1h"')
        _bounded(field, seconds)
        return seconds
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Wrong(f"must be a number of seconds, not {kind(value)}")
    _bounded(field, value)
    return float(value)


def duration(text: str) -> float | None:
    """Seconds of a text such as ``1.5s``, ``250ms``, ``2m`` or ``1h``; None if it is none."""
    digits = text.rstrip("dhms")
    unit = UNITS.get(text[len(digits) :])
    whole, dot, fraction = digits.partition(".")
    shown = (whole + fraction).isascii() and (whole + fraction).isdigit()
    long = len(whole) > 15 or len(fraction) > 15
    if unit is None or not shown or not whole or bool(dot) != bool(fraction) or long:
        return None
    return float(digits) * unit


def _bounded(field: Field, value: float) -> None:
    least, most = field.least, field.most
    if not math.isfinite(value):
        raise _Wrong("must be a finite number")
    if least is not None and (value < least or (field.above and value == least)):
        raise _Wrong(f"must be {'more than' if field.above else 'at least'} {least:g}")
    if most is not None and value > most:
        raise _Wrong(f"must be at most {most:,.10g}")


def formula(text: str) -> str:
    """An expression as it is kept: without the braces it may be written in."""
    body = text.strip()
    if body.startswith("{{") and body.endswith("}}") and not body.startswith("{{{{"):
        body = body[2:-2].strip()
    if not body:
        raise _Wrong("the expression is empty")
    if "{{" in body:
        raise _Wrong("must be one expression as a whole, not a text that holds some")
    return body


def _items(node: Node) -> Node:
    _one_of(node, (list, str), "a list or an expression that gives one")
    text = isinstance(node.value, str)
    return Node(formula(str(node.value)), node.place) if text else node


def _one_of(node: Node, types: tuple[type, ...], wanted: str) -> Node:
    if not isinstance(node.value, types):
        raise _Wrong(f"must be {wanted}, not {kind(node.value)}")
    return node


def _delay(field: Field, node: Node) -> float | str:
    if isinstance(node.value, str) and "{{" in node.value:
        return _text(field, node)
    return _seconds(field, node)


def _time(field: Field, node: Node) -> str:
    text = _text(field, node)
    if "{{" not in text and parse_instant(text) is None:
        raise _Wrong('must be a time with its zone, as "2026-12-01T09:00:00+01:00" or "...Z"')
    return text


def _names(field: Field, node: Node) -> list[str]:
    if not isinstance(node.value, list):
        raise _Wrong(f"must be a list of names, as in [a, b], not {kind(node.value)}")
    if field.least and not node.value:
        raise _Wrong("must have at least one entry")
    names: list[str] = []
    for item in node.value:
        if not isinstance(item.value, str):
            raise _Wrong(f"a name must be text, not {kind(item.value)}", item.place)
        names.append(item.value)
    return names


def _map(node: Node) -> Node:
    if not isinstance(node.value, dict):
        raise _Wrong(f"must be a map of keys, not {kind(node.value)}")
    return node
