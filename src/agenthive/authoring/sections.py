"""Checking a section of a definition against its shape in the dialect's table.

Gives a `Section`: the values that are as they should be, by key; everything else has become a
problem with a place. What keys mean together is checked in `assemble`. Never prints values: what
stands in the wrong place may be a secret.
"""

from __future__ import annotations

import math
from typing import TypeAlias, cast

from agenthive.authoring.dialect import AGENT_KINDS, SHAPES, UNITS, Field, Kind, Shape
from agenthive.authoring.names import name_fault, title_fault
from agenthive.authoring.nodes import Node, Place, kind
from agenthive.authoring.problems import Problems, did_you_mean
from agenthive.core.values import JSONObject

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
            case Kind.NUMBER:
                return _number(field, node)
            case Kind.SECONDS:
                return _seconds(field, node)
            case Kind.CHOICE:
                return self._choice(field, node)
            case Kind.NAMES:
                return _names(node)
            case Kind.SHAPE:
                return self.section(node, SHAPES[field.shape], path)
            case Kind.SHAPES:
                return self._sections(field, node, path)
            case Kind.MAP | Kind.INPUTS:
                return _map(node)
            case Kind.ANY:
                return node

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
        shape = SHAPES[field.shape]
        found = [self.section(item, shape, f"{path}[{i}]") for i, item in enumerate(node.value)]
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


def _names(node: Node) -> list[str]:
    if not isinstance(node.value, list):
        raise _Wrong(f"must be a list of names, as in [a, b], not {kind(node.value)}")
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
