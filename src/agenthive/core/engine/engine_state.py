"""The state that the parts of an engine share: open runs, gates, queues, timers and the outbox.

Everything here is in memory and is rebuilt from the journal by `Recovery`. The classes that change
it (`CommandHandlers`, `Admission`, `Recovery`, ...) are given one `EngineState` in their
constructor. It never applies an event and never decides anything. To add state that more than one
of them needs: an attribute in `EngineState.__init__` with a comment that gives meaning and unit.
State that one class needs belongs in that class.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Final

from agenthive.core.engine import actions as act
from agenthive.core.engine.active_run import ActiveRun
from agenthive.core.engine.budgets import BudgetManager
from agenthive.core.engine.circuit_breakers import BreakerRegistry
from agenthive.core.engine.outbox import Outbox
from agenthive.core.engine.rate_limits import RateLimitGates
from agenthive.core.engine.ready_queue import ReadyQueue
from agenthive.core.engine.schedules import Schedules
from agenthive.core.model.states import CLOSED
from agenthive.core.ports import Calendar, Quoter
from agenthive.core.values import SECOND, Micros, NanoUSD
from agenthive.errors import RunNotFound, RunUnusable

SMALLEST_STEP: Final[Micros] = SECOND
"""A step of the clock by less than this (us) is not recorded; the time waits."""
DAMAGED_RUNS_PAGE: Final = "docs/howto/damaged-runs.md"
"""What a user can do with a run that was set apart."""
RUN_DEADLINE = -1
"""In place of a task's index in `EngineState.timers`: the timer is the run's own time-out."""


def unusable_run_error(run_id: str, reason: str, hint: str = "") -> RunUnusable:
    """The error of a request about a run that was set apart; ``hint``: what to do about it."""
    return RunUnusable(
        f"run {run_id} is set apart: {reason}",
        hint=hint or f"Other runs are not affected. See what you can do: {DAMAGED_RUNS_PAGE}",
    )


class EngineState:
    """What the parts of one engine share. See `Driver` for the parameters."""

    def __init__(
        self,
        *,
        max_runs: int,
        max_calls: int,
        calendar: Calendar | None,
        snapshot_every: int,
        quoter: Quoter | None,
        limits: Mapping[str, NanoUSD] | None,
    ) -> None:
        #: Runs by id: open ones, and ended ones until their end is on disk.
        self.runs: dict[str, ActiveRun] = {}
        #: Runs that were set apart, by id -> why. They take no requests, and are no longer in
        #: `runs`.
        self.set_apart: dict[str, str] = {}
        #: Runs that this process set apart, by id: their child runs are still bound by their
        #: budgets.
        self.set_apart_runs: dict[str, ActiveRun] = {}
        #: (name, text) of `Batch.marks` about runs that were set apart since the last batch.
        self.set_apart_marks: list[tuple[str, str]] = []
        #: Budgets of all scopes: accounts, holds, and the tasks that wait for money.
        self.budgets = BudgetManager(self.runs, quoter, limits, self.set_apart_runs)
        #: Ready tasks of all runs, with the slots of the hive, the runs and the agents.
        self.queue = ReadyQueue(max_calls)
        #: Circuit breakers, one for each endpoint.
        self.breakers = BreakerRegistry(self.queue)
        #: Rate limits, one gate for each endpoint that has one.
        self.rate_limits = RateLimitGates(self.queue)
        #: Estimates what a call costs and how many tokens it takes; None without prices.
        self.quoter = quoter
        #: Schedules by name, and the runs that they started.
        self.schedules = Schedules(calendar)
        #: Events and actions that are decided and not on disk yet.
        self.outbox = Outbox()
        #: Runs that take a run slot at most at once.
        self.max_runs = max_runs
        #: Runs that take a run slot now: started, not ended, and not parked.
        self.used_run_slots = 0
        #: A run gets a snapshot whenever it has this many more events.
        self.snapshot_every = snapshot_every
        #: Ids of accepted runs that wait for a run slot, the oldest first (the values are unused).
        self.queued_runs: dict[str, None] = {}
        #: Heap of (time in microseconds, run id, index of the task or `RUN_DEADLINE`). A timer is
        #: never removed early: when it fires, the task is looked at again.
        self.timers: list[tuple[Micros, str, int]] = []
        #: (run, index) of tasks that have a next step to evaluate, in order.
        self.unprepared_tasks: deque[tuple[ActiveRun, int]] = deque()
        #: Calls that may be made before the commit of their intent.
        self.eager_calls: list[act.PerformCall] = []
        #: Whether a task may be in the queue that `Admission.start_tasks` has not looked at.
        self.has_unpicked = False
        #: The time that the clock showed last, in microseconds.
        self.latest_time: Micros = 0
        #: Receives the time after a step back, and by how much (us); set by `ClockSteps`.
        self.on_step_back: Callable[[Micros, Micros], None]

    def advance_clock(self, now: Micros) -> Micros:
        """The time to work with, when the runtime's clock shows ``now``.

        It is that time, except that a step back of less than `SMALLEST_STEP` is waited out.
        """
        if now < self.latest_time:
            step_back = self.latest_time - now
            if step_back < SMALLEST_STEP:
                return self.latest_time
            self.on_step_back(now, step_back)
        self.latest_time = now
        return now

    def get_open_run(self, run_id: str) -> ActiveRun:
        """The run of that id. Raises RunNotFound if it is not open here, RunUnusable."""
        run = self.runs.get(run_id)
        if run is None and run_id in self.set_apart:
            raise unusable_run_error(run_id, self.set_apart[run_id])
        if run is None or run.state.status in CLOSED:
            raise RunNotFound(f"there is no open run '{run_id}'")
        return run

    def find_current_task(self, run: ActiveRun | None, task: str, attempt: int) -> int | None:
        """The index of the task if its call of that attempt is in progress; else None."""
        index = run.state.graph.index.get(task) if run is not None else None
        if run is None or index is None:
            return None
        return index if run.state.is_call_running(index, attempt) else None

    def include_children(self, run_ids: Collection[str]) -> Collection[str]:
        """These runs, and the child runs that they and their children started."""
        family = dict.fromkeys(run_ids)
        # One pass is enough: a child run is registered after its parent.
        for run_id, run in self.runs.items():
            parent = run.state.parent
            if parent is not None and parent.run in family:
                family[run_id] = None
        return family
