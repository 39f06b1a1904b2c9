"""Events of the hive's own stream: its runs, circuit breakers, clock, budgets and schedules.

The rules of `run_events` apply here too, and that module exports all events: import them from
there. An event never holds a secret. To add one: a struct here, its place in `HiveEvent` and in the
exports of `run_events`.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from agenthive.core.journal.event import Event
from agenthive.core.model.calls import Usage
from agenthive.core.policies.schedule import CatchUp, Overlap, Rule
from agenthive.core.values import JSONObject, Micros, NanoUSD


class RunOpened(Event, frozen=True, tag="hive.run_opened"):
    """A run's stream began."""

    run: str
    tenant: str = "default"
    owner: str = "local"


class RunClosed(Event, frozen=True, tag="hive.run_closed"):
    """A run's stream ended."""

    run: str
    #: Final status of the run.
    status: str
    #: Number of events in its stream.
    events: int


class RunDropped(Event, frozen=True, tag="hive.run_dropped"):
    """An ended run was deleted from the journal: the tombstone that stays of it."""

    run: str
    #: Hash of its last record (hex), so that an exported copy can still be checked.
    head: str
    #: Number of events that its stream had.
    events: int
    status: str
    #: When the run had ended (us).
    closed: Micros


class RunImported(Event, frozen=True, tag="hive.run_imported"):
    """A run was imported from a file."""

    run: str
    #: Hash of its last record (hex).
    head: str
    #: Number of events in its stream.
    events: int
    status: str
    tenant: str = "default"
    owner: str = "local"


class RunSetApart(Event, frozen=True, tag="hive.run_set_apart"):
    """A run could not be continued or written: it stopped, and the other runs continued.

    It continues only when it is resumed by its id.
    """

    run: str
    #: Number of events in its stream: a run that has more was resumed since.
    events: int
    #: What failed; never a value of the run.
    reason: str


class BreakerOpened(Event, frozen=True, tag="hive.breaker_opened"):
    """The circuit breaker of an endpoint opened."""

    #: Kind and address of the endpoint: see `AgentSpec.endpoint_key`.
    endpoint: str
    #: No call is made before this time (us).
    until: Micros
    #: Failures in a row that opened it.
    failures: int


class BreakerClosed(Event, frozen=True, tag="hive.breaker_closed"):
    """A call to the endpoint succeeded: its circuit breaker closed."""

    endpoint: str


class ClockSteppedBack(Event, frozen=True, tag="hive.clock_stepped_back"):
    """The clock of the operating system showed an earlier time than before."""

    #: By how much, in microseconds.
    by: Micros
    #: Whether a process saw it happen, so that it knows how long everything has taken. If not, the
    #: clock was set while no process worked, and only times later than the clock are known to be
    #: wrong.
    seen: bool = False


class ClockSteppedForward(Event, frozen=True, tag="hive.clock_stepped_forward"):
    """The clock of the operating system was set forward, and a process saw it happen."""

    #: By how much, in microseconds.
    by: Micros


class UsageAfterEnd(Event, frozen=True, tag="hive.usage_after_end"):
    """A call reported its usage after its run had ended; the run's own stream is closed by then."""

    run: str
    task: str
    attempt: int
    usage: Usage
    #: Nano-dollars that were captured for the call when the run ended.
    booked: NanoUSD = 0


class BudgetSet(Event, frozen=True, kw_only=True, tag="hive.budget_set"):
    """A user set the limit of a scope."""

    scope: str
    #: Nano-dollars; None: the limit of the workflow or the settings applies again.
    limit: NanoUSD | None = None
    #: The run that the scope belongs to; empty for a scope of several runs.
    run: str = ""
    actor: str = "local"
    reason: str = ""


class BudgetAlerted(Event, frozen=True, kw_only=True, tag="hive.budget_alerted"):
    """A percentage of a scope's limit has been spent."""

    scope: str
    #: One of `ledger.ALERT_PERCENTS`.
    percent: int
    #: Nano-dollars.
    captured: NanoUSD
    #: Nano-dollars.
    limit: NanoUSD
    #: The call that crossed it.
    run: str
    task: str


class BudgetBreached(Event, frozen=True, kw_only=True, tag="hive.budget_breached"):
    """A call cost more than its hold, which is the most that its agent had declared.

    Its cost is captured in full all the same.
    """

    run: str
    task: str
    attempt: int
    #: Nano-dollars above the hold.
    over: NanoUSD
    #: Scopes that exceed their limit by that; they take no holds until it is set again.
    frozen: list[str] = msgspec.field(default_factory=list)


class AnswerAfterEnd(Event, frozen=True, tag="hive.answer_after_end"):
    """An approver answered an approval of a run that had ended. The answer does not count."""

    run: str
    task: str
    actor: str
    approved: bool


class ScheduleEvent(Event, frozen=True):
    """Base of the events about one schedule."""

    #: Name of the schedule.
    schedule: str


class ScheduleChanged(ScheduleEvent, frozen=True, kw_only=True):
    """Base of the events by which users change a schedule."""

    #: What the clock showed (us), which planned times are compared with.
    since: Micros = 0
    actor: str = "local"


class ScheduleSet(ScheduleChanged, frozen=True, kw_only=True, tag="hive.schedule_set"):
    """A schedule was created or replaced; it applies to planned times after ``since``."""

    rule: Rule
    #: Name of the workflow that it starts.
    workflow: str
    #: Digest of the definition (hex).
    definition: str
    inputs: JSONObject = msgspec.field(default_factory=dict)
    #: Name of the input that gets the planned time; empty: none does.
    time_input: str = ""
    catch_up: CatchUp = CatchUp.ONE
    overlap: Overlap = Overlap.QUEUE
    paused: bool = False
    tenant: str = "default"
    owner: str = "local"


class SchedulePaused(ScheduleChanged, frozen=True, kw_only=True, tag="hive.schedule_paused"):
    """The schedule was paused: it starts no runs until it is resumed."""

    reason: str = ""


class ScheduleResumed(ScheduleChanged, frozen=True, tag="hive.schedule_resumed"):
    """The schedule was resumed: it starts runs for planned times after ``since``."""


class ScheduleRemoved(ScheduleChanged, frozen=True, tag="hive.schedule_removed"):
    """The schedule was removed. Its runs continue."""


class ScheduleTriggered(ScheduleChanged, frozen=True, kw_only=True, tag="hive.schedule_triggered"):
    """A user triggered the schedule: it started ``run`` outside its planned times."""

    run: str


class ScheduleFired(ScheduleEvent, frozen=True, tag="hive.schedule_fired"):
    """The run for a planned time was accepted."""

    #: The planned time (us).
    planned: Micros
    run: str


class ScheduleQueued(ScheduleEvent, frozen=True, tag="hive.schedule_queued"):
    """A planned time has come and waits for the end of the run before it."""

    #: The planned time (us).
    planned: Micros


class ScheduleSkipped(ScheduleEvent, frozen=True, kw_only=True, tag="hive.schedule_skipped"):
    """Planned times get no run."""

    #: The first and the last of the planned times (us).
    first: Micros
    last: Micros
    #: How many there are; None if there are too many to count.
    count: int | None = None
    reason: str = ""


ScheduleChange: TypeAlias = (
    ScheduleSet | SchedulePaused | ScheduleResumed | ScheduleRemoved | ScheduleTriggered
)
"""The changes that a user may make to a schedule."""

HiveEvent: TypeAlias = (
    RunOpened
    | RunClosed
    | RunDropped
    | RunImported
    | RunSetApart
    | BreakerOpened
    | BreakerClosed
    | BudgetSet
    | BudgetAlerted
    | BudgetBreached
    | ClockSteppedBack
    | ClockSteppedForward
    | UsageAfterEnd
    | AnswerAfterEnd
    | ScheduleChange
    | ScheduleFired
    | ScheduleQueued
    | ScheduleSkipped
)
"""Every event that the hive's own stream may contain."""
