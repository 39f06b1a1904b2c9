"""The states a task and a run can be in, and the reasons for waiting.

Only names live here; which moves exist is in `transitions.py`. A new state needs a row there, a
paragraph in the docs and a test.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from agenthive.core.values import Micros


class TaskState(StrEnum):
    """Where a task stands."""

    WAITING = "waiting"
    """Something it depends on has not ended."""
    PREPARING = "preparing"
    """What its next step needs is being evaluated; never for longer than a decision takes."""
    READY = "ready"
    """In the ready queue: all it needs is a free slot."""
    RUNNING = "running"
    """Its intent is recorded; a call is under way or about to be."""
    BACKING_OFF = "backing_off"
    """An attempt failed; the next one waits for its time."""
    BLOCKED = "blocked"
    """Something outside the run must be supplied first; the reason says what."""
    EXPANDED = "expanded"
    """Its items, its rounds or its own run are under way."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    BYPASSED = "bypassed"
    """Its condition was false, or every way to it was bypassed."""
    SKIPPED = "skipped"
    """Never started: a dependency failed or the run stopped."""
    CANCELLED = "cancelled"
    UNKNOWN_OUTCOME = "unknown_outcome"
    """It may or may not have acted, and must not act twice: somebody has to say."""
    DORMANT = "dormant"
    """A compensation that is not needed so far."""
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"
    COMPENSATION_FAILED = "compensation_failed"


class RunStatus(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    """Nothing is under way; the run waits for a time, an agent or a person."""
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    PARTIALLY_COMPLETED = "partially_completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    COMPENSATED = "compensated"
    COMPENSATION_FAILED = "compensation_failed"


CLOSED: Final = frozenset(
    {
        RunStatus.COMPLETED,
        RunStatus.PARTIALLY_COMPLETED,
        RunStatus.FAILED,
        RunStatus.CANCELLED,
        RunStatus.COMPENSATED,
        RunStatus.COMPENSATION_FAILED,
    }
)
"""Run states without a way out."""

UNSTARTED: Final = frozenset(
    {
        TaskState.WAITING,
        TaskState.PREPARING,
        TaskState.READY,
        TaskState.BACKING_OFF,
        TaskState.BLOCKED,
    }
)
"""Open, with no call under way."""

OPEN: Final = UNSTARTED | {TaskState.RUNNING, TaskState.EXPANDED, TaskState.UNKNOWN_OUTCOME}
"""Task states that keep a run from ending."""

COMPENSATION_STATES: Final = frozenset(
    {TaskState.COMPENSATING, TaskState.COMPENSATED, TaskState.COMPENSATION_FAILED}
)
"""States of a task that succeeded and is being, or has been, undone."""


class ReasonKind(StrEnum):
    """Why a task does not go on."""

    DEPENDENCY = "dependency"
    SLOT = "slot"
    CALL = "call"
    TIMER = "timer"
    AGENT = "agent"
    BREAKER = "breaker"
    APPROVAL = "approval"
    SIGNAL = "signal"
    CHILD = "child"
    PARTS = "parts"
    RATE_LIMIT = "rate_limit"
    BUDGET = "budget"
    STORE = "store"
    OUTCOME = "outcome"
    RUN = "run"


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """The one reason why an open task does not go on, since when, and what would unblock it."""

    task: str
    kind: ReasonKind
    detail: str
    since: Micros
    until: Micros | None = None
    unblock: str = ""
