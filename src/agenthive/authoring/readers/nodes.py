"""JSON values with their places in a text: what every reader returns and every check takes.

A `SourceNode` knows its line and column. All readers return such nodes, so that a check does not
depend on whether a definition came from YAML, JSON or a Python mapping.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from agenthive.core.values import JSONValue

Place: TypeAlias = "tuple[int, int]"
"""Line and column, from 1; (0, 0) for a value that was not read from a text."""

NOWHERE: Final[Place] = (0, 0)

Scalar: TypeAlias = "bool | int | float | str | None"


class SourceNode:
    """A scalar, a list of nodes or a map of nodes. ``keys`` has the place of each key of a map."""

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
        """The value without places. Recursive: the readers bound the nesting."""
        value = self.value
        if isinstance(value, dict):
            return {key: item.to_plain() for key, item in value.items()}
        if isinstance(value, list):
            return [item.to_plain() for item in value]
        return value

    def get(self, key: str) -> SourceNode | None:
        """The node under ``key``; None if this is not a map or has no such key."""
        return self.value.get(key) if isinstance(self.value, dict) else None

    def items(self) -> list[SourceNode]:
        """The nodes of a list; empty for any other value."""
        return self.value if isinstance(self.value, list) else []


def describe_kind(value: object) -> str:
    """The type of a value, in words for an error message."""
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
