"""Events of runs, in the past tense, as they are journaled; and the exports of all events.

An event carries its own time (microseconds UTC), ids and random draws, so that a replay needs
nothing from outside. The union `RunEvent` is closed: to add an event, write a struct here,
its rows in `machine.transitions` and a line in the reference; if its meaning changes later, a new
record version and an upcast. An event never holds a secret. Fields with their default are not
written, so a new field needs a default that means "as before".
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
    ClockSteppedForward,
    HiveEvent,
    RunClosed,
    RunDropped,
    RunImported,
    RunOpened,
    RunSetApart,
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
    "ClockSteppedForward",
    "Event",
    "Fork",
    "HiveEvent",
    "HoldSettled",
    "InheritedResult",
    "LateReply",
    "Parent",
    "RoundEnded",
    "RunClockStepped",
    "RunClosed",
    "RunDropped",
    "RunEvent",
    "RunImported",
    "RunMigrated",
    "RunOpened",
    "RunResumed",
    "RunSetApart",
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
    """The result of a task of another run."""

    task: str
    result: JSONValue = None
    #: Where a large result is stored, in place of ``result``.
    blob: Blob | None = None


class Fork(msgspec.Struct, frozen=True, gc=False):
    """The run that this one repeats from a task on."""

    run: str
    #: The first task that is repeated.
    task: str
    #: The results that are taken over.
    taken: list[InheritedResult]


class RunSubmitted(Event, frozen=True, tag="run.submitted"):
    """A run was accepted. The first event of its stream."""

    run: str
    #: Name of the workflow.
    name: str
    #: Digest of the definition that the run is pinned to (hex).
    definition: str
    inputs: JSONObject = msgspec.field(default_factory=dict)
    tenant: str = "default"
    #: The principal that submitted it.
    owner: str = "local"
    #: The task that it is a sub-workflow of.
    parent: Parent | None = None
    #: The run that it is a fork of.
    fork: Fork | None = None
    #: Where large inputs are stored, in place of ``inputs``.
    blob: Blob | None = None


class RunStarted(Event, frozen=True, tag="run.started"):
    """The run got a run slot."""


class RunResumed(Event, frozen=True, tag="run.resumed"):
    """A new process took the run over."""

    #: Microseconds for which no process owned the run.
    away: Micros


class RunClockStepped(Event, frozen=True, kw_only=True, tag="run.clock_stepped"):
    """The clock was set while the run was open.

    What the run counts from an earlier moment (time-outs, pauses, deadlines) continues as if the
    clock had always been as it is now. Dates (``until``) stay.
    """

    #: Microseconds that the clock was set forward; negative: back.
    by: Micros
    #: Only what is counted from a moment after this time (us) is moved; 0: everything.
    after: Micros = 0
    #: Microseconds by which the end of the run's own time-out is moved.
    away: Micros = 0


class CancelRequested(Event, frozen=True, tag="run.cancel_requested"):
    """A user requested that the run be cancelled."""

    actor: str = "local"
    reason: str = ""


class RunTimeoutReached(Event, frozen=True, tag="run.timed_out"):
    """The run's own time-out passed."""


class TaskEvent(Event, frozen=True):
    """Base of the events about one task."""

    #: Key of the task, such as ``fetch``, ``fetch[2]`` or ``fetch#undo``.
    task: str


class TaskStarted(TaskEvent, frozen=True, tag="task.started"):
    """The intent to make a call, committed before the call is made."""

    #: Number of the attempt, from 1.
    attempt: int
    #: Name of the agent in the workflow.
    agent: str
    #: Idempotency key, equal for all attempts of one logical call.
    key: str
    #: Nano-dollars that the call may cost at most; reserved in every scope that it draws on.
    hold: NanoUSD = 0
    #: Earlier attempts; this hold replaces their holds.
    over: tuple[int, ...] = ()
    #: The bound that the answer was cut to, so that the hold fits.
    max_tokens: int | None = None


class TaskSucceeded(TaskEvent, frozen=True, tag="task.succeeded"):
    """The agent returned a result, or the result of an equal call was used."""

    attempt: int
    result: JSONValue = None
    usage: Usage | None = None
    #: The ``run/task`` of the equal call; empty if the agent was called.
    cached: str = ""
    #: Where a large result is stored, in place of ``result``.
    blob: Blob | None = None
    #: Tools that a model turn requests.
    asks: tuple[ToolCall, ...] = ()


class TaskFailed(TaskEvent, frozen=True, tag="task.failed"):
    """An attempt failed."""

    attempt: int
    fault: Fault
    #: Random number in [0, 1) for the jitter of a retry.
    draw: float = 0.0
    usage: Usage | None = None
    #: Microseconds until the next attempt, after a refusal for too many calls. The attempt does
    #: not count then. None for any other fault.
    pause: Micros | None = None


class TaskLost(TaskEvent, frozen=True, tag="task.lost"):
    """The process ended with this attempt in flight; its outcome is unknown."""

    attempt: int


class TaskWoke(TaskEvent, frozen=True, tag="task.woke"):
    """The time that a task waited for has come: of a retry, a timer, or a deadline."""


class TaskBlocked(TaskEvent, frozen=True, tag="task.blocked"):
    """The task cannot start until something is supplied."""

    #: What kind of thing is missing; stored and compared by code.
    reason: str
    #: What is missing and how to supply it, for users.
    detail: str
    #: If money is missing: the scope, and the nano-dollars that the call needs of it.
    scope: str = ""
    amount: NanoUSD = 0


class TaskUnblocked(TaskEvent, frozen=True, tag="task.unblocked"):
    """What was missing has been supplied."""


class TaskCancelled(TaskEvent, frozen=True, tag="task.cancelled"):
    """The call was stopped before it returned."""

    attempt: int
    #: It was stopped before it was made.
    unmade: bool = False


class HoldSettled(TaskEvent, frozen=True, tag="task.hold_settled"):
    """A user or a time-out settled the cost of a call that was in doubt."""

    attempt: int
    #: Nano-dollars.
    cost: NanoUSD
    actor: str = "local"
    reason: str = ""


class TaskDecided(TaskEvent, frozen=True, tag="task.decided"):
    """The task's condition was evaluated."""

    #: Whether the task continues; if not, it is bypassed.
    go: bool


class TaskDelayed(TaskEvent, frozen=True, tag="task.delayed"):
    """The task waits for a time."""

    #: When it continues (us).
    until: Micros


class TaskExpanded(TaskEvent, frozen=True, tag="task.expanded"):
    """The list of a ``for_each`` was evaluated; each item becomes a task of its own."""

    items: list[JSONValue]
    #: Names of the items for users; empty if the task declares no label.
    labels: list[str] = msgspec.field(default_factory=list)


class RoundEnded(TaskEvent, frozen=True, tag="task.round_ended"):
    """An iteration succeeded, and the condition of ``repeat_until`` was evaluated."""

    #: Number of the iteration, from 1.
    round: int
    #: Whether the condition held: no further iteration begins.
    done: bool


class TaskFaulted(TaskEvent, frozen=True, tag="task.faulted"):
    """The task failed outside a call: an expression of it could not be evaluated, for example."""

    fault: Fault


class ApprovalRequested(TaskEvent, frozen=True, tag="task.approval_requested"):
    """An approval of exactly this payload was requested."""

    #: SHA-256 of the payload's canonical JSON.
    digest: str
    payload: JSONValue = None
    #: The text that approvers see.
    message: str = ""


class ApprovalGiven(TaskEvent, frozen=True, tag="task.approval_given"):
    """An approver approved or rejected the payload with this digest."""

    #: The approver.
    actor: str
    #: False for a rejection.
    approved: bool
    digest: str
    comment: str = ""


class ApprovalRefused(TaskEvent, frozen=True, tag="task.approval_refused"):
    """An answer to an approval did not count: not an approver, or a digest mismatch."""

    actor: str
    approved: bool
    digest: str
    #: Why it did not count.
    reason: str


class RunMigrated(Event, frozen=True, tag="run.migrated"):
    """From here on the run is pinned to another definition.

    A replay reads the events before this one as if the run had had the new definition from the
    start, with tasks under their new names.
    """

    #: Digest of the new definition (hex).
    definition: str
    #: Old name -> new name of tasks.
    renamed: dict[str, str] = msgspec.field(default_factory=dict)
    actor: str = "local"


class SignalReceived(Event, frozen=True, tag="run.signal_received"):
    """A signal was received."""

    #: Name of the signal, which tasks wait for.
    name: str
    data: JSONValue = None
    #: The sender's id for it, so that a repeated one is recognised; empty: it has none.
    id: str = ""
    actor: str = "local"


class TaskResolved(TaskEvent, frozen=True, tag="task.resolved"):
    """A user recorded the outcome of a call of unknown outcome."""

    attempt: int
    #: ``succeeded``, ``failed`` or ``retry``.
    outcome: str
    #: The result, for ``succeeded``.
    result: JSONValue = None
    actor: str = "local"
    reason: str = ""


class TaskProgressed(TaskEvent, frozen=True, tag="task.progressed"):
    """A long call reported its progress."""

    attempt: int
    #: What it reported; the next attempt of the task receives it.
    progress: JSONValue = None


class ChildOpened(TaskEvent, frozen=True, tag="task.child_opened"):
    """The child run of a task was opened, in the same transaction as its own first event."""

    run: str


class ChildWaiting(TaskEvent, frozen=True, tag="task.child_waiting"):
    """The child run of a task began to wait, or continues."""

    #: ``moving`` (at work), ``timed`` (waits for a time) or ``helpless`` (waits for help).
    how: str


class ChildEnded(TaskEvent, frozen=True, tag="task.child_ended"):
    """The child run of a task ended."""

    run: str
    #: Its final status.
    status: str
    #: Its outputs.
    result: JSONValue = None
    #: Why it failed; empty if it did not.
    error: str = ""
    #: Fault kind of the task if the child failed.
    kind: str = "child"


class LateReply(TaskEvent, frozen=True, tag="task.late_reply"):
    """A reply of an attempt that no longer counts arrived; only its usage matters."""

    attempt: int
    succeeded: bool
    usage: Usage | None = None


RunEvent: TypeAlias = (
    RunSubmitted
    | RunStarted
    | RunResumed
    | RunClockStepped
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
"""Every event that the stream of a run may contain."""


HIVE = "hive"
"""The name of the hive's own stream."""

_encoder = msgspec.json.Encoder()
_run_decoder = msgspec.json.Decoder(list[RunEvent])
_hive_decoder = msgspec.json.Decoder(list[HiveEvent])


def encode(events: Sequence[Event]) -> bytes:
    """The events as a JSON array, the payload of a record."""
    return _encoder.encode(events)


def decode_run_events(payload: bytes) -> list[RunEvent]:
    """The events of one record of a run's stream. Raises msgspec.ValidationError."""
    return _run_decoder.decode(payload)


def decode_hive_events(payload: bytes) -> list[HiveEvent]:
    """The events of one record of the hive's stream. Raises msgspec.ValidationError."""
    return _hive_decoder.decode(payload)
