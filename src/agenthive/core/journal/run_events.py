"""Facts: what happened, in the past tense, as they are journaled.

An event carries its own time (``at``, microseconds UTC), ids and random draws, so that replaying it
asks nobody. The union `RunEvent` is closed: a new event needs a struct here, rows in
`transitions.py`, a line in the docs and, if its meaning changes later, a new version and an upcast.
Nothing here may hold a secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from agenthive.core.journal.event import Event
from agenthive.core.journal.hive_events import (
    AnswerAfterEnd,
    BreakerClosed,
    BreakerOpened,
    BudgetAlerted,
    BudgetBreached,
    BudgetSet,
    ClockSteppedBack,
    HiveEvent,
    RunClosed,
    RunDropped,
    RunImported,
    RunOpened,
    ScheduleChange,
    ScheduleChanged,
    ScheduleEvent,
    ScheduleFired,
    SchedulePaused,
    ScheduleQueued,
    ScheduleRemoved,
    ScheduleResumed,
    ScheduleSet,
    ScheduleSkipped,
    ScheduleTriggered,
    UsageAfterEnd,
)
from agenthive.core.journal.records import Blob
from agenthive.core.model.calls import Fault, ToolCall, Usage
from agenthive.core.values import JSONObject, JSONValue, Micros, NanoUSD

__all__ = [
    "HIVE",
    "AnswerAfterEnd",
    "ApprovalGiven",
    "ApprovalRefused",
    "ApprovalRequested",
    "BreakerClosed",
    "BreakerOpened",
    "BudgetAlerted",
    "BudgetBreached",
    "BudgetSet",
    "CancelRequested",
    "ChildEnded",
    "ChildOpened",
    "ChildWaiting",
    "ClockSteppedBack",
    "Event",
    "Fork",
    "HiveEvent",
    "HoldSettled",
    "InheritedResult",
    "LateReply",
    "Parent",
    "RoundEnded",
    "RunClosed",
    "RunDropped",
    "RunEvent",
    "RunImported",
    "RunMigrated",
    "RunOpened",
    "RunResumed",
    "RunStarted",
    "RunSubmitted",
    "RunTimeoutReached",
    "ScheduleChange",
    "ScheduleChanged",
    "ScheduleEvent",
    "ScheduleFired",
    "SchedulePaused",
    "ScheduleQueued",
    "ScheduleRemoved",
    "ScheduleResumed",
    "ScheduleSet",
    "ScheduleSkipped",
    "ScheduleTriggered",
    "SignalReceived",
    "TaskBlocked",
    "TaskCancelled",
    "TaskDecided",
    "TaskDelayed",
    "TaskEvent",
    "TaskExpanded",
    "TaskFailed",
    "TaskFaulted",
    "TaskLost",
    "TaskProgressed",
    "TaskResolved",
    "TaskStarted",
    "TaskSucceeded",
    "TaskUnblocked",
    "TaskWoke",
    "UsageAfterEnd",
    "decode_hive_events",
    "decode_run_events",
    "encode",
]


class Parent(msgspec.Struct, frozen=True, gc=False):
    """The task, by key, of the run that this run is a part of."""

    run: str
    task: str


class InheritedResult(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a task came to in another run. Large results are kept apart: ``blob`` says where."""

    task: str
    result: JSONValue = None
    blob: Blob | None = None


class Fork(msgspec.Struct, frozen=True, gc=False):
    """The run that this one does again from ``task`` on, and what is taken over from it."""

    run: str
    task: str
    taken: list[InheritedResult]


class RunSubmitted(Event, frozen=True, tag="run.submitted"):
    """A run was accepted. ``definition`` is the digest of the workflow it is pinned to.

    Large inputs are kept apart: ``blob`` says where.
    """

    run: str
    name: str
    definition: str
    inputs: JSONObject = msgspec.field(default_factory=dict)
    tenant: str = "default"
    owner: str = "local"
    parent: Parent | None = None
    fork: Fork | None = None
    blob: Blob | None = None


class RunStarted(Event, frozen=True, tag="run.started"):
    """The run got a slot."""


class RunResumed(Event, frozen=True, tag="run.resumed"):
    """A new process took the run over. ``away`` is how long nobody had it (microseconds)."""

    away: Micros


class CancelRequested(Event, frozen=True, tag="run.cancel_requested"):
    """Somebody asked for the run to be cancelled."""

    actor: str = "local"
    reason: str = ""


class RunTimeoutReached(Event, frozen=True, tag="run.timed_out"):
    """The run's own time-out passed."""


class TaskEvent(Event, frozen=True):
    """Base of the facts about one task; ``task`` is its key."""

    task: str


class TaskStarted(TaskEvent, frozen=True, tag="task.started"):
    """The intent to call: committed before the call is made.

    ``key`` is the idempotency key, equal for all attempts of one logical call. ``hold`` is what the
    call may cost at most, put aside in every scope it is spent from, instead of what was for the
    attempts in ``over``; ``max_tokens`` what its answer was cut to so that it fits.
    """

    attempt: int
    agent: str
    key: str
    hold: NanoUSD = 0
    over: tuple[int, ...] = ()
    max_tokens: int | None = None


class TaskSucceeded(TaskEvent, frozen=True, tag="task.succeeded"):
    """The agent answered well; or an equal call had, whose ``run/task`` is ``cached``.

    A large result is kept apart: ``blob`` says where. ``asks`` are the tools that it wants called
    before it goes on.
    """

    attempt: int
    result: JSONValue = None
    usage: Usage | None = None
    cached: str = ""
    blob: Blob | None = None
    asks: tuple[ToolCall, ...] = ()


class TaskFailed(TaskEvent, frozen=True, tag="task.failed"):
    """An attempt failed. ``draw`` in [0, 1) is the random number for the retry's jitter.

    With a ``pause`` the other side was asked too often: it is asked again after that, and the
    attempt does not count.
    """

    attempt: int
    fault: Fault
    draw: float = 0.0
    usage: Usage | None = None
    pause: Micros | None = None


class TaskLost(TaskEvent, frozen=True, tag="task.lost"):
    """The process ended with this attempt under way; nobody knows what came of it."""

    attempt: int


class TaskWoke(TaskEvent, frozen=True, tag="task.woke"):
    """The time for the next attempt has come."""


class TaskBlocked(TaskEvent, frozen=True, tag="task.blocked"):
    """The task cannot start until something is supplied: ``detail`` says what and how.

    If that is money, it is ``amount`` nano-dollars of ``scope``.
    """

    reason: str
    detail: str
    scope: str = ""
    amount: NanoUSD = 0


class TaskUnblocked(TaskEvent, frozen=True, tag="task.unblocked"):
    """What was missing is there."""


class TaskCancelled(TaskEvent, frozen=True, tag="task.cancelled"):
    """The call was stopped before it answered; ``unmade``: before it was made."""

    attempt: int
    unmade: bool = False


class HoldSettled(TaskEvent, frozen=True, tag="task.hold_settled"):
    """Somebody says what a call cost that never said so itself: ``cost`` nano-dollars."""

    attempt: int
    cost: NanoUSD
    actor: str = "local"
    reason: str = ""


class TaskDecided(TaskEvent, frozen=True, tag="task.decided"):
    """The task's condition was looked at: whether the task is to be done."""

    go: bool


class TaskDelayed(TaskEvent, frozen=True, tag="task.delayed"):
    """The task goes on at ``until``."""

    until: Micros


class TaskExpanded(TaskEvent, frozen=True, tag="task.expanded"):
    """The items of a task, each of which becomes a task of its own. ``labels`` are for people."""

    items: list[JSONValue]
    labels: list[str] = msgspec.field(default_factory=list)


class RoundEnded(TaskEvent, frozen=True, tag="task.round_ended"):
    """A round of a repeated task succeeded; ``done`` if that was the last."""

    round: int
    done: bool


class TaskFaulted(TaskEvent, frozen=True, tag="task.faulted"):
    """What the task needs before it can start cannot be had: an expression, its items."""

    fault: Fault


class ApprovalRequested(TaskEvent, frozen=True, tag="task.approval_requested"):
    """People are asked whether exactly ``payload`` may be done. ``digest`` is its SHA-256."""

    digest: str
    payload: JSONValue = None
    message: str = ""


class ApprovalGiven(TaskEvent, frozen=True, tag="task.approval_given"):
    """Somebody who was asked answered about the payload with that digest."""

    actor: str
    approved: bool
    digest: str
    comment: str = ""


class ApprovalRefused(TaskEvent, frozen=True, tag="task.approval_refused"):
    """An answer did not count; ``reason`` says why."""

    actor: str
    approved: bool
    digest: str
    reason: str


class RunMigrated(Event, frozen=True, tag="run.migrated"):
    """From here on the run is pinned to another definition.

    What came before is read as if it had been so always, with tasks under their new names
    (``renamed``: old -> new).
    """

    definition: str
    renamed: dict[str, str] = msgspec.field(default_factory=dict)
    actor: str = "local"


class SignalReceived(Event, frozen=True, tag="run.signal_received"):
    """A signal came. ``id`` names it, so that a repeated one is known."""

    name: str
    data: JSONValue = None
    id: str = ""
    actor: str = "local"


class TaskResolved(TaskEvent, frozen=True, tag="task.resolved"):
    """Somebody decided what came of a call of unknown outcome: succeeded, failed, or retry."""

    attempt: int
    outcome: str
    result: JSONValue = None
    actor: str = "local"
    reason: str = ""


class TaskProgressed(TaskEvent, frozen=True, tag="task.progressed"):
    """A sign of life of a long call, with what it says about how far it is."""

    attempt: int
    progress: JSONValue = None


class ChildOpened(TaskEvent, frozen=True, tag="task.child_opened"):
    """A run of the task's workflow was begun, in the same transaction."""

    run: str


class ChildWaiting(TaskEvent, frozen=True, tag="task.child_waiting"):
    """How the child stands: ``moving``, ``timed`` (it waits for a time) or ``helpless``."""

    how: str


class ChildEnded(TaskEvent, frozen=True, tag="task.child_ended"):
    """The task's own run ended, with this status and result; ``kind`` is that of its fault."""

    run: str
    status: str
    result: JSONValue = None
    error: str = ""
    kind: str = "child"


class LateReply(TaskEvent, frozen=True, tag="task.late_reply"):
    """An answer of an attempt that no longer counts. Only what it used matters."""

    attempt: int
    succeeded: bool
    usage: Usage | None = None


RunEvent: TypeAlias = (
    RunSubmitted
    | RunStarted
    | RunResumed
    | CancelRequested
    | RunTimeoutReached
    | TaskStarted
    | TaskSucceeded
    | TaskFailed
    | TaskLost
    | TaskWoke
    | TaskBlocked
    | TaskUnblocked
    | TaskCancelled
    | HoldSettled
    | LateReply
    | TaskDecided
    | TaskDelayed
    | TaskExpanded
    | RoundEnded
    | TaskFaulted
    | ApprovalRequested
    | ApprovalGiven
    | ApprovalRefused
    | SignalReceived
    | RunMigrated
    | TaskResolved
    | TaskProgressed
    | ChildOpened
    | ChildWaiting
    | ChildEnded
)
"""Everything that can stand in the stream of a run."""


HIVE = "hive"
"""The name of the hive's own stream."""

_encoder = msgspec.json.Encoder()
_run_decoder = msgspec.json.Decoder(list[RunEvent])
_hive_decoder = msgspec.json.Decoder(list[HiveEvent])


def encode(events: Sequence[Event]) -> bytes:
    """Events as the JSON array that a record keeps."""
    return _encoder.encode(events)


def decode_run_events(payload: bytes) -> list[RunEvent]:
    """The events of one record of a run's stream. Raises msgspec.ValidationError."""
    return _run_decoder.decode(payload)


def decode_hive_events(payload: bytes) -> list[HiveEvent]:
    """The events of one record of the hive's stream. Raises msgspec.ValidationError."""
    return _hive_decoder.decode(payload)
