"""What the table of the dialect is made of: sections, their keys, the kinds of values they take.

Nothing here knows a key: `dialect` has them all.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

SWITCH: Final = "true"
"""The ``short`` of a section that is there with nothing but defaults when it is true."""


class Kind(StrEnum):
    """What kind of value a key takes."""

    TEXT = "text"
    NAME = "name"
    TITLE = "title"
    FLAG = "true or false"
    WHOLE = "whole number"
    NUMBER = "number"
    DOLLARS = "US dollars"
    SECONDS = "seconds"
    CHOICE = "choice"
    NAMES = "list of names"
    MAP = "map"
    ANY = "anything"
    FORMULA = "expression"
    ITEMS = "list or expression"
    DELAY = "seconds or expression"
    TIME = "time or expression"
    WORKFLOW = "path or workflow"
    SHAPE = "section"
    SHAPES = "list of sections"
    INPUTS = "map of inputs"


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One key. ``minimum`` and ``maximum`` bound its number (``exclusive_minimum``: above it).

    ``default`` is as a reader is told it; ``native`` where it differs under ``agenthive: 1``.
    A section with a ``short`` may be written as the value of that key alone, or as true or false if
    it is `SWITCH`.
    """

    key: str
    kind: Kind
    doc: str
    required: bool = False
    nullable: bool = False
    default: str = ""
    native: str = ""
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    exclusive_minimum: bool = False
    maximum: float | None = None
    shape: str = ""
    secret: bool = False
    native_only: bool = False
    short: str = ""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of section: its keys, and hints for keys people write by mistake."""

    name: str
    doc: str
    fields: tuple[Field, ...]
    corrections: dict[str, str] = {}

    @property
    def by_key(self) -> dict[str, Field]:
        """The fields by their keys."""
        return {field.key: field for field in self.fields}
