"""Keys that several sections of the dialect have, and short ways to write a field."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from agenthive.authoring.dialect.shapes import Field, Kind
from agenthive.core.model.workflow import Effect
from agenthive.infra.budget_list import MOST

MAX_SECONDS: Final = 366 * 86_400.0


def seconds_field(
    key: str,
    doc: str,
    *,
    default: str = "",
    native: str = "",
    allow_zero: bool = False,
    nullable: bool = False,
) -> Field:
    """A duration of at most a year; ``allow_zero``: it may be none."""
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
    """A section of the same name as its key."""
    return Field(key=key, kind=Kind.SHAPE, shape=key, doc=doc, default="none", short=short)


def dollars_field(key: str, doc: str, *, default: str = "none", required: bool = False) -> Field:
    """An amount of US dollars."""
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
    """The words of an enum."""
    return tuple(member.value for member in enum)


RETRY_FIELD: Final = Field(
    key="retry_config",
    kind=Kind.SHAPE,
    shape="retry_config",
    doc="How failed attempts are tried again.",
    default="the agent's, else its own defaults",
)
ACTION: Final = Field(
    key="action", kind=Kind.TEXT, required=True, minimum=1, doc="What to ask of the agent."
)
AGENT_KEY: Final = Field(key="agent", kind=Kind.NAME, native_only=True, doc="Short for agent_name.")
EFFECT: Final = Field(
    key="effect",
    kind=Kind.CHOICE,
    choices=choices_of(Effect),
    default="any",
    doc="What the call may do outside: `none` is a pure read, `keyed` honours the idempotency key, "
    "`any` is unknown, `once` is never repeated unless a person decides.",
)
