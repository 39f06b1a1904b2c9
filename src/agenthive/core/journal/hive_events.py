"""Facts of the hive's own stream: its runs, breakers, clock and schedules.

As in `events`, which hands all of them on: whoever reads or writes facts imports that.
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
    """A run's stream ended: its status and how many events it holds."""

    run: str
    status: str
    events: int


class RunDropped(Event, frozen=True, tag="hive.run_dropped"):
    """An ended run was taken out of the journal: what its last record's ``head`` was (hex)."""

    run: str
    head: str
    events: int
    status: str
    closed: Micros


class RunImported(Event, frozen=True, tag="hive.run_imported"):
    """A run was taken in from a file, as far as its record with the hash ``head`` (hex)."""

    run: str
    head: str
    events: int
    status: str
    tenant: str = "default"
    owner: str = "local"


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
    """A call answered after its run had ended, whose own stream is closed by then.

    ``booked`` is what it was taken to cost when the run ended (nano-dollars).
    """

    run: str
    task: str
    attempt: int
    usage: Usage
    booked: NanoUSD = 0


class BudgetSet(Event, frozen=True, kw_only=True, tag="hive.budget_set"):
    """Somebody set the limit of a scope (nano-dollars; None: no limit but what files say)."""

    scope: str
    limit: NanoUSD | None = None
    run: str = ""
    actor: str = "local"
    reason: str = ""


class BudgetAlerted(Event, frozen=True, kw_only=True, tag="hive.budget_alerted"):
    """``percent`` of a scope's limit has been spent, by a call of ``run``."""

    scope: str
    percent: int
    captured: NanoUSD
    limit: NanoUSD
    run: str
    task: str


class BudgetBreached(Event, frozen=True, kw_only=True, tag="hive.budget_breached"):
    """A call cost ``over`` more than was put aside for it, which its agent had declared.

    It is booked in full. Scopes whose limit that passes are ``frozen``.
    """

    run: str
    task: str
    attempt: int
    over: NanoUSD
    frozen: list[str] = msgspec.field(default_factory=list)


class AnswerAfterEnd(Event, frozen=True, tag="hive.answer_after_end"):
    """Somebody answered an approval of a run that had ended. It does not count."""

    run: str
    task: str
    actor: str
    approved: bool


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
    inputs: JSONObject = msgspec.field(default_factory=dict)
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
    | RunDropped
    | RunImported
    | BreakerOpened
    | BreakerClosed
    | BudgetSet
    | BudgetAlerted
    | BudgetBreached
    | ClockSteppedBack
    | UsageAfterEnd
    | AnswerAfterEnd
    | ScheduleChange
    | ScheduleFired
    | ScheduleQueued
    | ScheduleSkipped
)
"""Everything that can stand in the hive's own stream."""
