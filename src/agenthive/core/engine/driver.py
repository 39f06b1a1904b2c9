"""The driver: events in, batches and actions out. Sans I/O; every runtime uses it unchanged.

A runtime reports what happened (`submit`, `record_reply`, `cancel`, ...), calls `decide`, writes
the batch that it returns to the store, calls `confirm_commit` once the batch is on disk, and
carries out the actions that this returns:

    events -> decide(now) -> store.append(batch) -> confirm_commit(now) -> actions

The driver acts only after the commit, except for calls that are declared ``effect: none``. It
counts each reply once. A run that fails inside the engine, or that cannot be encoded, is set apart
(`CommandHandlers.set_apart_run`): it stops as of its last record on disk, and the others continue.
The driver takes the time and random numbers as arguments, so the same calls give the same journal
on every machine. The work is done by the parts that it holds: `Recovery`, `CommandHandlers`,
`TaskPreparation`, `Admission`, `HumanRequests`, `BudgetRequests` and `ScheduleRunner`, which share
one `EngineState`. To add a request of a runtime: a method here that passes it to the part whose
subject it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heappop

import msgspec

from agenthive.core.engine import actions as act
from agenthive.core.engine.active_run import ActiveRun
from agenthive.core.engine.admission import Admission
from agenthive.core.engine.budget_requests import BudgetRequests, HoldSettlement
from agenthive.core.engine.child_runs import ChildRunFactory, InputBinder, bind_unchanged
from agenthive.core.engine.clock_steps import ClockSteps
from agenthive.core.engine.command_handlers import CommandHandlers
from agenthive.core.engine.engine_state import RUN_DEADLINE, EngineState
from agenthive.core.engine.human_input import ApprovalDecision, TaskResolution
from agenthive.core.engine.human_requests import HumanRequests
from agenthive.core.engine.ready_queue import UNLIMITED
from agenthive.core.engine.recovery import Recovery
from agenthive.core.engine.schedule_runner import ScheduleRunner
from agenthive.core.engine.task_preparation import TaskPreparation
from agenthive.core.graph.graph import Graph
from agenthive.core.history.snapshots import SNAPSHOT_INTERVAL
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import AccountState, Batch, Record, RequestRow
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Reply
from agenthive.core.model.states import TaskState
from agenthive.core.ports import Calendar, Quoter
from agenthive.core.values import JSONValue, Micros, NanoUSD
from agenthive.errors import Conflict

_SLEEPING_STATES = frozenset({TaskState.BACKING_OFF, TaskState.BLOCKED})


class Driver:
    """All open runs of a hive. Times (``now``) are microseconds UTC, money is nano-dollars.

    ``token`` names a request: once its events are on disk, an `AcknowledgeRequest` or
    `RejectRequest` with that token is among the actions. A request that raises changes no run.
    """

    def __init__(
        self,
        *,
        max_runs: int = UNLIMITED,
        max_calls: int = UNLIMITED,
        bind: InputBinder = bind_unchanged,
        calendar: Calendar | None = None,
        snapshot_every: int = SNAPSHOT_INTERVAL,
        quoter: Quoter | None = None,
        limits: Mapping[str, NanoUSD] | None = None,
    ) -> None:
        """Make a driver without runs.

        ``max_runs`` bounds the runs in progress, ``max_calls`` the calls in progress. ``bind``
        fills the inputs of child runs into their workflows, ``calendar`` computes the times of
        schedules, and ``quoter`` the cost of calls. A run gets a snapshot every ``snapshot_every``
        events. ``limits`` are the budgets of all runs (see `BudgetManager`).
        """
        self._engine = engine = EngineState(
            max_runs=max_runs,
            max_calls=max_calls,
            calendar=calendar,
            snapshot_every=snapshot_every,
            quoter=quoter,
            limits=limits,
        )
        #: Open runs by id. This and the next five are those of `EngineState`, for readers.
        self.runs = engine.runs
        self.queue = engine.queue
        self.budgets = engine.budgets
        self.breakers = engine.breakers
        self.rate_limits = engine.rate_limits
        self.schedules = engine.schedules
        #: Whether nothing new starts: the runtime waits for calls in progress and then stops.
        self.draining = False
        self._outbox = engine.outbox
        self._handlers = handlers = CommandHandlers(engine)
        self._results = handlers.results
        self._preparation = TaskPreparation(engine, handlers, ChildRunFactory(bind))
        self._admission = Admission(engine, handlers, self._preparation)
        clock_steps = ClockSteps(engine, handlers)
        self._recovery = Recovery(engine, handlers, clock_steps)
        self._schedule_runner = ScheduleRunner(engine, handlers)
        self._clock_steps = clock_steps
        self._budget_requests = BudgetRequests(engine, handlers)
        self._human_requests = HumanRequests(engine, handlers, self._budget_requests)

    @property
    def used_run_slots(self) -> int:
        """The runs that take a run slot now."""
        return self._engine.used_run_slots

    # Recovery, in this order.

    def load_accounts(self, account_states: Sequence[AccountState], marks: dict[str, str]) -> None:
        """Restore the accounts of budgets and the ``marks`` of rate limits."""
        self._recovery.load_accounts(account_states, marks)

    def load_hive(self, records: Sequence[Record]) -> None:
        """Apply the records of the hive's stream, oldest first."""
        self._recovery.load_hive(records)

    def load_run(self, now: Micros, state: RunState, missing_agents: dict[str, str]) -> None:
        """Take over an open run in its replayed state.

        ``missing_agents`` maps the names of agents that are not registered to how to supply them:
        their tasks are blocked. A call that was in progress counts as lost: it is made again under
        its key, or its outcome is unknown.
        """
        self._recovery.load_run(now, state, missing_agents)

    def record_clock_step(self, now: Micros, by: Micros) -> None:
        """The clock was set by ``by`` microseconds (negative: back) and shows ``now`` since.

        Call it before any other method is called with a time of the clock that was set. Steps of
        less than a second are waited out and change nothing.
        """
        self._clock_steps.record_step(now, by)

    def deliver_child_end(self, now: Micros, child: RunState) -> None:
        """Record in an open parent run how its child run ended while the parent was set apart.

        ``child`` is the state of a run that has ended. Without effect if its parent is not open
        here, or knows of the end.
        """
        self._recovery.deliver_child_end(now, child)

    def set_apart(self, run: str, reason: str) -> None:
        """Note that a run cannot be read: requests about it raise RunUnusable.

        Nothing is written: the next process reads the run again.
        """
        self._engine.set_apart[run] = reason

    def clear_set_apart(self, run: str) -> None:
        """A run that was set apart was resumed or deleted since."""
        self._engine.set_apart.pop(run, None)
        self._engine.set_apart_runs.pop(run, None)

    @property
    def set_apart_runs(self) -> dict[str, str]:
        """Runs that were set apart, by id -> why."""
        return dict(self._engine.set_apart)

    # Requests.

    def submit(
        self, now: Micros, event: ev.RunSubmitted, graph: Graph, body: bytes, token: int
    ) -> None:
        """Accept a run. ``body`` is the definition that the event names by its digest.

        Raises Conflict if the run exists.
        """
        if event.run in self.runs:
            raise Conflict(f"run {event.run} exists already")
        now = self._engine.advance_clock(now)
        self._handlers.accept_run(event, graph, now, body)
        self._engine.queued_runs[event.run] = None
        self._outbox.actions.append(act.AcknowledgeRequest(token, event.run))

    def cancel(self, now: Micros, run: str, actor: str, reason: str, token: int) -> None:
        """Cancel an open run. Raises RunNotFound if it is not open here."""
        active_run, now = self._engine.get_open_run(run), self._engine.advance_clock(now)
        self._handlers.cancel_run(active_run, now, actor, reason)
        self._handlers.acknowledge(active_run, token)

    def migrate_run(
        self,
        now: Micros,
        event: ev.RunMigrated,
        state: RunState,
        missing_agents: dict[str, str],
        body: bytes,
        token: int,
    ) -> None:
        """Continue an open run under another definition (``body``).

        ``state`` is what a replay of its events on disk gives under that definition;
        ``missing_agents`` as for `load_run`. Raises RunNotFound, and Conflict if the run has calls
        in progress or has changed since the replay.
        """
        self._recovery.migrate_run(now, event, state, missing_agents, body, token)

    def answer(
        self, now: Micros, run_id: str, task: str, decision: ApprovalDecision, token: int
    ) -> None:
        """Approve or reject a task, or a higher limit that it requests.

        A decision that does not count is recorded, and the request rejected. Raises RunNotFound if
        the run is not open here, NotFound if it has no such task, Conflict if a higher limit is
        requested and the decision is about another amount.
        """
        self._human_requests.answer(now, run_id, task, decision, token)

    def record_answer_after_end(
        self, now: Micros, run_id: str, task: str, decision: ApprovalDecision, token: int
    ) -> None:
        """Record a decision about a run that has ended, and reject the request."""
        self._human_requests.record_answer_after_end(now, run_id, task, decision, token)

    def signal_run(
        self,
        now: Micros,
        run_id: str,
        name: str,
        data: JSONValue,
        signal_id: str,
        actor: str,
        token: int,
    ) -> None:
        """Deliver a signal. One with the ``signal_id`` of an earlier signal changes nothing.

        Raises RunNotFound, NotFound if no task ever waits for it, Conflict if it cannot be kept.
        """
        self._human_requests.signal_run(now, run_id, name, data, signal_id, actor, token)

    def resolve_outcome(self, now: Micros, resolution: TaskResolution, token: int) -> None:
        """Record the outcome of a call if it is unknown.

        Raises RunNotFound, NotFound, Conflict if the outcome is not unknown.
        """
        self._human_requests.resolve_outcome(now, resolution, token)

    def set_budget(
        self,
        now: Micros,
        scope: str,
        amount: NanoUSD | None,
        actor: str,
        reason: str,
        token: int,
        *,
        add: bool = False,
    ) -> None:
        """Set the limit of a scope, or ``add`` to it. None: the limit from files counts again.

        Raises Conflict if there is no limit to add to.
        """
        self._budget_requests.set_budget(now, scope, amount, actor, reason, token, add=add)

    def settle_hold(self, now: Micros, settlement: HoldSettlement, token: int) -> None:
        """Book the cost of a call that is in doubt.

        Raises RunNotFound, NotFound if the task has no such call.
        """
        self._budget_requests.settle_hold(now, settlement, token)

    def change_schedule(
        self,
        now: Micros,
        change: ev.ScheduleChange,
        token: int,
        body: bytes = b"",
        graph: Graph | None = None,
        problem: str = "",
    ) -> None:
        """Set, pause, resume, remove or trigger a schedule.

        A schedule that is set comes with its definition (``body``), and with its ``graph`` or the
        ``problem`` for which its runs cannot start here. Raises NotFound, Conflict.
        """
        self._schedule_runner.change_schedule(now, change, token, body, graph, problem)

    def keep_request(self, token: int, row: RequestRow) -> None:
        """Write the row of a request that has an id in one transaction with its events.

        Call it right after the request with this token. The outbox fills in a rejection.
        """
        self._outbox.keep_request(token, row)

    def record_hive_events(
        self, now: Micros, events: Sequence[ev.HiveEvent], batch: Batch, token: int
    ) -> None:
        """Write events about runs that are not open here, in one transaction with ``batch``."""
        now = self._engine.advance_clock(now)
        self._outbox.hive_events += [msgspec.structs.replace(event, at=now) for event in events]
        self._outbox.next_batch.merge(batch)
        self._outbox.actions.append(act.AcknowledgeRequest(token))

    # Calls.

    def record_reply(
        self, now: Micros, run_id: str, task: str, attempt: int, reply: Reply, draw: float
    ) -> None:
        """Record the reply of a call. ``draw`` in [0, 1) is for the jitter of a retry.

        The reply of an attempt that is not in progress changes no state; its cost is booked.
        """
        run = self.runs.get(run_id)
        index = self._engine.find_current_task(run, task, attempt)
        now = self._engine.advance_clock(now)
        if run is None or index is None:
            self._results.record_late_reply(run_id, task, attempt, now, reply)
        else:
            try:
                self._results.complete_call(run, index, now, reply, draw)
            except Exception as error:
                self._handlers.set_apart_run(run, error, now)

    def record_cancellation(
        self, now: Micros, run_id: str, task: str, attempt: int, *, unmade: bool = False
    ) -> None:
        """Record that a call was cancelled before it replied; ``unmade``: before it was made."""
        run = self.runs.get(run_id)
        index = self._engine.find_current_task(run, task, attempt)
        if run is not None and index is not None:
            now = self._engine.advance_clock(now)
            try:
                self._results.record_cancellation(run, index, attempt, now, unmade=unmade)
            except Exception as error:
                self._handlers.set_apart_run(run, error, now)

    def record_progress(
        self, now: Micros, run_id: str, task: str, attempt: int, progress: JSONValue
    ) -> None:
        """Record how far a call is, for the attempt that may follow it."""
        run = self.runs.get(run_id)
        if run is not None and self._engine.find_current_task(run, task, attempt) is not None:
            now = self._engine.advance_clock(now)
            event = ev.TaskProgressed(at=now, task=task, attempt=attempt, progress=progress)
            self._handlers.apply_event(run, event, now)

    # Turns: decide, commit, act.

    def decide(self, now: Micros) -> Batch | None:
        """Let time pass, start what may start, and return what must be written; None if nothing.

        After a batch, `confirm_commit` must be called before `decide` is called again.
        """
        now = self._engine.advance_clock(now)
        self._process_due(now)
        self._handlers.reroute_waiting_turns(now)
        self._preparation.prepare_tasks(now)
        if not self.draining:
            self._schedule_runner.start_due_runs(now)
            self._admission.start_runs(now)
            self._admission.start_tasks(now)
        self._preparation.prepare_tasks(now)
        return None if self._outbox.is_empty else self._build_batch(now)

    def _build_batch(self, now: Micros) -> Batch:
        batch = self._outbox.build_batch(
            lambda run, error: self._handlers.set_apart_run(run, error, now)
        )
        batch.marks += self._engine.set_apart_marks
        self._engine.set_apart_marks = []
        entries, account_states = self.budgets.ledger.take_changes()
        batch.entries += entries
        batch.standings += account_states
        batch.marks += self.rate_limits.take_marks()
        return batch

    def take_eager_calls(self) -> list[act.PerformCall]:
        """The calls without an effect outside: they need not wait for the commit of the intent."""
        calls, self._engine.eager_calls = self._engine.eager_calls, []
        return calls

    def confirm_commit(self, now: Micros) -> list[act.Action]:
        """The batch is on disk: returns what to carry out, in order."""
        runs, actions = self._outbox.confirm_commit()
        for run in runs:
            if run.is_set_apart:
                continue
            if run.is_parked:
                actions.append(act.RunParked(run.id))
            # Not before the commit: a reader that finds no run here looks into the journal.
            if run.has_ended and self.runs.get(run.id) is run:
                del self.runs[run.id]
        return [action for action in actions if not self._drop_if_cancelled(action, now)]

    def withdraw_runs(self, batch: Batch) -> list[int]:
        """The store refused the batch: drop the new runs: they were not acknowledged yet.

        Removes the runs that this batch and the next would have accepted, from the batch too.
        Returns the tokens of the requests that are lost with them. The rest of the batch must
        still be written.
        """
        tokens, withdrawn = self._outbox.withdraw_runs(batch, self._engine.include_children)
        for run_id in withdrawn:
            self._handlers.forget_run(run_id)
        return tokens

    def next_wake(self) -> Micros | None:
        """The runtime's time at which `decide` has something to do though nothing is reported."""
        wakes = (self.breakers.next_wake(), self.rate_limits.next_wake(), self.budgets.next_wake())
        times = [at for at in wakes if at is not None]
        if self._engine.timers:
            times.append(self._engine.timers[0][0])
        schedule_wake = None if self.draining else self.schedules.next_wake()
        if schedule_wake is not None:
            times.append(schedule_wake)
        return min(times, default=None)

    @property
    def has_work(self) -> bool:
        """Whether `decide` has something to do now."""
        engine = self._engine
        if not self._outbox.is_empty or engine.unprepared_tasks or self.budgets.has_woken_waiters:
            return True
        # A task that was offered, or a slot that was freed, after this turn's `start_tasks`.
        run_can_start = bool(engine.queued_runs) and engine.used_run_slots < engine.max_runs
        return (engine.has_unpicked or run_can_start) and not self.draining

    def _drop_if_cancelled(self, action: act.Action, now: Micros) -> bool:
        """Drop a call that was cancelled before it was made, or of a run that was set apart."""
        if not isinstance(action, act.PerformCall):
            return False
        call = action.call
        if call.run in self._engine.set_apart:
            return True
        run = self.runs.get(call.run)
        if (
            run is None
            or not run.cancelling_calls
            or (call.task, call.attempt) not in run.cancelling_calls
        ):
            return False
        self.record_cancellation(now, call.run, call.task, call.attempt, unmade=True)
        return True

    def _process_due(self, now: Micros) -> None:
        self.breakers.tick(now)
        self.rate_limits.tick(now)
        self._budget_requests.settle_overdue_holds(now)
        self._budget_requests.wake_waiters(now)
        timers = self._engine.timers
        while timers and timers[0][0] <= now:
            _, run_id, index = heappop(timers)
            run = self.runs.get(run_id)
            if run is not None:
                self._fire_timer(run, index, now)

    def _fire_timer(self, run: ActiveRun, index: int, now: Micros) -> None:
        state = run.state
        if index == RUN_DEADLINE:
            if state.deadline is not None and state.deadline <= now:
                self._handlers.apply_event(run, ev.RunTimeoutReached(at=now), now)
        elif state.wake_at.get(index, now + 1) <= now and state.state[index] in _SLEEPING_STATES:
            event = ev.TaskWoke(at=now, task=state.graph.keys[index])
            self._handlers.apply_event(run, event, now)
