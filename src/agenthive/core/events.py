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

from agenthive.core.policies.schedule import CatchUp, Overlap, Rule
from agenthive.core.ports import Fault, Usage
from agenthive.core.values import JSONObject, JSONValue, Micros


class Event(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="type", omit_defaults=True
):
    """Base of all facts."""

    at: Micros


class RunSubmitted(Event, frozen=True, tag="run.submitted"):
    """A run was accepted. ``definition`` is the digest of the workflow it is pinned to."""

    run: str
    name: str
    definition: str
    inputs: JSONObject = {}
    tenant: str = "default"
    owner: str = "local"


class RunStarted(Event, frozen=True, tag="run.started"):
    """The run got a slot."""


class RunResumed(Event, frozen=True, tag="run.resumed"):
    """A new process took the run over. ``away`` is how long nobody had it (microseconds)."""

    away: Micros


class CancelRequested(Event, frozen=True, tag="run.cancel_requested"):
    """Somebody asked for the run to be cancelled."""

    actor: str = "local"
    reason: str = ""


class RunTimedOut(Event, frozen=True, tag="run.timed_out"):
    """The run's own time-out passed."""


class TaskEvent(Event, frozen=True):
    """Base of the facts about one task; ``task`` is its key."""

    task: str


class TaskStarted(TaskEvent, frozen=True, tag="task.started"):
    """The intent to call: committed before the call is made.

    ``key`` is the idempotency key, equal for all attempts of one logical call.
    """

    attempt: int
    agent: str
    key: str


class TaskSucceeded(TaskEvent, frozen=True, tag="task.succeeded"):
    """The agent answered well."""

    attempt: int
    result: JSONValue = None
    usage: Usage | None = None


class TaskFailed(TaskEvent, frozen=True, tag="task.failed"):
    """An attempt failed. ``draw`` in [0, 1) is the random number for the retry's jitter."""

    attempt: int
    fault: Fault
    draw: float = 0.0
    usage: Usage | None = None


class TaskLost(TaskEvent, frozen=True, tag="task.lost"):
    """The process ended with this attempt under way; nobody knows what came of it."""

    attempt: int


class TaskWoke(TaskEvent, frozen=True, tag="task.woke"):
    """The time for the next attempt has come."""


class TaskBlocked(TaskEvent, frozen=True, tag="task.blocked"):
    """The task cannot start until something is supplied: ``detail`` says what and how."""

    reason: str
    detail: str


class TaskUnblocked(TaskEvent, frozen=True, tag="task.unblocked"):
    """What was missing is there."""


class TaskCancelled(TaskEvent, frozen=True, tag="task.cancelled"):
    """The call was stopped before it answered."""

    attempt: int


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
    | RunTimedOut
    | TaskStarted
    | TaskSucceeded
    | TaskFailed
    | TaskLost
    | TaskWoke
    | TaskBlocked
    | TaskUnblocked
    | TaskCancelled
    | LateReply
)
"""Everything that can stand in the stream of a run."""


class RunOpened(Event, frozen=True, tag="hive.run_opened"):
    """A run's stream began."""

    run: str
    tenant: str = "default"
    owner: str = "local"


class RunClosed(Event, frozen=True, tag="hive.run_closed"):
    """A run's stream ended: its status and how many events it holds."""

    run: str
    status: str
    events: int


class BreakerOpened(Event, frozen=True, tag="hive.breaker_opened"):
    """An endpoint failed too often; no call goes there before ``until``."""

    endpoint: str
    until: Micros
    failures: int


class BreakerClosed(Event, frozen=True, tag="hive.breaker_closed"):
    """A call to the endpoint went well again."""

    endpoint: str


class ClockSteppedBack(Event, frozen=True, tag="hive.clock_stepped_back"):
    """The clock showed an earlier time than before, by ``by`` microseconds."""

    by: Micros


class UsageAfterEnd(Event, frozen=True, tag="hive.usage_after_end"):
    """A call answered after its run had ended, whose own stream is closed by then."""

    run: str
    task: str
    attempt: int
    usage: Usage


class ScheduleEvent(Event, frozen=True):
    """Base of the facts about one schedule."""

    schedule: str


class ScheduleChanged(ScheduleEvent, frozen=True, kw_only=True):
    """Base of what people do to a schedule.

    ``since`` is what the clock showed then: planned times are compared with that, not with ``at``.
    """

    since: Micros = 0
    actor: str = "local"


class ScheduleSet(ScheduleChanged, frozen=True, kw_only=True, tag="hive.schedule_set"):
    """From ``since`` on, ``workflow`` is to be started by this rule. Replaces what was set before.

    The planned time is given as the input ``time_input``, if that is named.
    """

    rule: Rule
    workflow: str
    definition: str
    inputs: JSONObject = {}
    time_input: str = ""
    catch_up: CatchUp = CatchUp.ONE
    overlap: Overlap = Overlap.QUEUE
    paused: bool = False
    tenant: str = "default"
    owner: str = "local"


class SchedulePaused(ScheduleChanged, frozen=True, kw_only=True, tag="hive.schedule_paused"):
    """The schedule starts nothing until it is resumed."""

    reason: str = ""


class ScheduleResumed(ScheduleChanged, frozen=True, tag="hive.schedule_resumed"):
    """The schedule starts runs again, for times after ``since``."""


class ScheduleRemoved(ScheduleChanged, frozen=True, tag="hive.schedule_removed"):
    """The schedule is gone. Its runs go on."""


class ScheduleTriggered(ScheduleChanged, frozen=True, kw_only=True, tag="hive.schedule_triggered"):
    """Somebody had the schedule start ``run`` out of turn."""

    run: str


class ScheduleFired(ScheduleEvent, frozen=True, tag="hive.schedule_fired"):
    """The run for a planned time was accepted."""

    planned: Micros
    run: str


class ScheduleQueued(ScheduleEvent, frozen=True, tag="hive.schedule_queued"):
    """A planned time has come, and waits for the end of the run before."""

    planned: Micros


class ScheduleSkipped(ScheduleEvent, frozen=True, kw_only=True, tag="hive.schedule_skipped"):
    """The planned times from ``first`` to ``last`` get no run. ``count`` is None if it is high."""

    first: Micros
    last: Micros
    count: int | None = None
    reason: str = ""


ScheduleChange: TypeAlias = (
    ScheduleSet | SchedulePaused | ScheduleResumed | ScheduleRemoved | ScheduleTriggered
)
"""What can be asked of a schedule."""

HiveEvent: TypeAlias = (
    RunOpened
    | RunClosed
    | BreakerOpened
    | BreakerClosed
    | ClockSteppedBack
    | UsageAfterEnd
    | ScheduleChange
    | ScheduleFired
    | ScheduleQueued
    | ScheduleSkipped
)
"""Everything that can stand in the hive's own stream."""

HIVE = "hive"
"""The name of the hive's own stream."""

_encoder = msgspec.json.Encoder()
_run_decoder = msgspec.json.Decoder(list[RunEvent])
_hive_decoder = msgspec.json.Decoder(list[HiveEvent])


def encode(events: Sequence[Event]) -> bytes:
    """Events as the JSON array that a record keeps."""
    return _encoder.encode(events)


def decode_run(payload: bytes) -> list[RunEvent]:
    """The events of one record of a run's stream. Raises msgspec.ValidationError."""
    return _run_decoder.decode(payload)


def decode_hive(payload: bytes) -> list[HiveEvent]:
    """The events of one record of the hive's stream. Raises msgspec.ValidationError."""
    return _hive_decoder.decode(payload)
