"""The states of tasks and runs, and the kinds of reasons for which a task waits.

Only names live here, never a move: the moves are the tables of `core.machine.transitions`. The
values are stored names. To add a state: a member, its rows in the tables, its place in the sets
below, a paragraph in the reference (`docs/reference/states.md`) and a test.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from agenthive.core.values import Micros


class TaskState(StrEnum):
    """The state of a task."""

    WAITING = "waiting"
    """A dependency has not ended."""
    PREPARING = "preparing"
    """The expressions of its next step are being evaluated; ends within the engine's next step."""
    READY = "ready"
    """In the ready queue: it needs slots, and admission by breaker, rate limit and budget."""
    RUNNING = "running"
    """Its intent is recorded; its call is in flight or about to be made."""
    BACKING_OFF = "backing_off"
    """An attempt failed; the next one waits for its time."""
    BLOCKED = "blocked"
    """Something outside the run must be supplied first; the reason says what."""
    EXPANDED = "expanded"
    """Its items, iterations, model turns or child run are in progress."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    BYPASSED = "bypassed"
    """Its condition was false, or all of its dependencies were bypassed."""
    SKIPPED = "skipped"
    """Never started: a dependency failed or the run stopped."""
    CANCELLED = "cancelled"
    UNKNOWN_OUTCOME = "unknown_outcome"
    """The call may have acted and must not be repeated: its outcome has to be recorded."""
    DORMANT = "dormant"
    """A compensation that has not been needed so far."""
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"
    COMPENSATION_FAILED = "compensation_failed"


class RunStatus(StrEnum):
    """The status of a run."""

    QUEUED = "queued"
    """Accepted; it waits for a run slot."""
    RUNNING = "running"
    WAITING = "waiting"
    """No task runs or is ready: the run waits for a time, an agent, a signal or an approval."""
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
"""Final run statuses: no event moves a run out of them."""

UNSTARTED: Final = frozenset(
    {
        TaskState.WAITING,
        TaskState.PREPARING,
        TaskState.READY,
        TaskState.BACKING_OFF,
        TaskState.BLOCKED,
    }
)
"""States of open tasks without a call in flight."""

OPEN: Final = UNSTARTED | {TaskState.RUNNING, TaskState.EXPANDED, TaskState.UNKNOWN_OUTCOME}
"""Task states that keep a run from ending."""

COMPENSATION_STATES: Final = frozenset(
    {TaskState.COMPENSATING, TaskState.COMPENSATED, TaskState.COMPENSATION_FAILED}
)
"""States of a task that succeeded and has a compensation that began or ended."""


class ReasonKind(StrEnum):
    """What an open task waits for."""

    DEPENDENCY = "dependency"
    SLOT = "slot"
    CALL = "call"
    """The reply to its call."""
    TIMER = "timer"
    AGENT = "agent"
    """An agent that is registered."""
    BREAKER = "breaker"
    """The circuit breaker of its endpoint."""
    APPROVAL = "approval"
    SIGNAL = "signal"
    CHILD = "child"
    """The end of its child run."""
    PARTS = "parts"
    """Its items, iterations or model turns."""
    RATE_LIMIT = "rate_limit"
    BUDGET = "budget"
    STORE = "store"
    """The store accepts no writes."""
    OUTCOME = "outcome"
    """The outcome of its call has to be recorded."""
    RUN = "run"
    """Its run has not started."""


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """The one reason why an open task waits, since when, and what unblocks it."""

    #: Key of the task.
    task: str
    kind: ReasonKind
    #: The reason as a sentence for users.
    detail: str
    #: Since when, in microseconds.
    since: Micros
    #: When it ends by itself, in microseconds; None if it does not.
    until: Micros | None = None
    #: What unblocks the task, such as a command; empty if it only has to wait.
    unblock: str = ""
