"""The classes of the dialect's table: `Shape` for a section, `Field` for a key, `Kind` for a value.

Names no key: all keys are in `dialect` and `control_flow`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

SWITCH: Final = "true"
"""The `Field.short` of a section that may be written as ``true``: all its keys by default."""


class Kind(StrEnum):
    """The kind of value that a key takes; the value is its name in the reference page."""

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
    """One key of a section."""

    key: str
    kind: Kind
    #: Markdown. Its first sentence is also shown when a required key is missing.
    doc: str
    required: bool = False
    nullable: bool = False
    #: The default as the reference page shows it; the code that reads the key applies it.
    default: str = ""
    #: The default under ``agenthive: 1``, if it differs.
    native: str = ""
    #: The values of a choice, or those that a list of names may have; empty for any names.
    choices: tuple[str, ...] = ()
    #: Bounds of a number, in its unit; for texts and lists ``minimum`` is their least length.
    minimum: float | None = None
    exclusive_minimum: bool = False
    maximum: float | None = None
    #: The name of the `Shape` of a section, or of the entries of a list of sections.
    shape: str = ""
    #: The value is a secret unless it is a reference.
    secret: bool = False
    #: Allowed only under ``agenthive: 1``.
    native_only: bool = False
    #: The key of ``shape`` whose value may be written in place of the section, or `SWITCH`.
    short: str = ""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of section and its keys."""

    name: str
    doc: str
    fields: tuple[Field, ...]
    #: Key that other tools use for the same thing -> advice in the error message.
    corrections: dict[str, str] = {}

    @property
    def by_key(self) -> dict[str, Field]:
        """Map each key to its field."""
        return {field.key: field for field in self.fields}
