"""Fields that several sections share, and functions that build common fields."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from agenthive.authoring.dialect.shapes import Field, Kind
from agenthive.core.model.workflow import Effect
from agenthive.infra.budget_list import MOST

MAX_SECONDS: Final = 366 * 86_400.0
"""The longest duration: a leap year."""


def seconds_field(
    key: str,
    doc: str,
    *,
    default: str = "",
    native: str = "",
    allow_zero: bool = False,
    nullable: bool = False,
) -> Field:
    """A field for a duration of up to a year; ``allow_zero``: it may be 0."""
    return Field(
        key=key,
        kind=Kind.SECONDS,
        doc=doc,
        default=default,
        native=native,
        minimum=0.0,
        exclusive_minimum=not allow_zero,
        maximum=MAX_SECONDS,
        nullable=nullable,
    )


def section_field(key: str, doc: str, *, short: str = "") -> Field:
    """A field for a section whose shape is named like its key."""
    return Field(key=key, kind=Kind.SHAPE, shape=key, doc=doc, default="none", short=short)


def dollars_field(key: str, doc: str, *, default: str = "none", required: bool = False) -> Field:
    """A field for an amount of US dollars."""
    return Field(
        key=key,
        kind=Kind.DOLLARS,
        doc=doc,
        default="" if required else default,
        required=required,
        minimum=0.0,
        maximum=MOST,
    )


def choices_of(enum: type[StrEnum]) -> tuple[str, ...]:
    """The values of an enum."""
    return tuple(member.value for member in enum)


RETRY_FIELD: Final = Field(
    key="retry_config",
    kind=Kind.SHAPE,
    shape="retry_config",
    doc="Retry policy for failed attempts.",
    default="the agent's, else the defaults of retry_config",
)
ACTION: Final = Field(
    key="action", kind=Kind.TEXT, required=True, minimum=1, doc="Action that the agent executes."
)
AGENT_KEY: Final = Field(
    key="agent", kind=Kind.NAME, native_only=True, doc="Short form of `agent_name`."
)
EFFECT: Final = Field(
    key="effect",
    kind=Kind.CHOICE,
    choices=choices_of(Effect),
    default="any",
    doc="Side effects of the call: `none` (a pure read), `keyed` (the service honours the "
    "idempotency key), `any` (unknown), `once` (a call of unknown outcome is never repeated "
    "automatically).",
)
