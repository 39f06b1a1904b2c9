"""Data with the places it was read from: what every reader gives and every check works on.

A `Node` is a JSON value that knows its line and column (from 1; 0 where there is no text). Readers
may make nothing else, so no check has to know YAML from JSON from a Python mapping.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from agenthive.core.values import JSONValue

Place: TypeAlias = "tuple[int, int]"
"""Line and column, from 1; (0, 0) where there is no text."""

NOWHERE: Final[Place] = (0, 0)

Scalar: TypeAlias = "bool | int | float | str | None"


class SourceNode:
    """One value: a scalar, a list or a map of nodes. ``keys`` holds the places of a map's keys."""

    __slots__ = ("keys", "place", "value")

    def __init__(
        self,
        value: Scalar | list[SourceNode] | dict[str, SourceNode],
        place: Place = NOWHERE,
        keys: dict[str, Place] | None = None,
    ) -> None:
        self.value = value
        self.place = place
        self.keys = keys if keys is not None else {}

    def to_plain(self) -> JSONValue:
        """The value without places. Nesting is bounded by the readers."""
        value = self.value
        if isinstance(value, dict):
            return {key: item.to_plain() for key, item in value.items()}
        if isinstance(value, list):
            return [item.to_plain() for item in value]
        return value

    def get(self, key: str) -> SourceNode | None:
        """The node under ``key`` if this is a map that has it."""
        return self.value.get(key) if isinstance(self.value, dict) else None

    def items(self) -> list[SourceNode]:
        """The nodes of a list; nothing for any other value."""
        return self.value if isinstance(self.value, list) else []


def describe_kind(value: object) -> str:
    """What a value is, in the words of an author."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int():
            return "a whole number"
        case float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "a map"
