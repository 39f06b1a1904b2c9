"""Recovery: the engine takes over open runs from the journal, and runs under a changed workflow.

The order is fixed: accounts and rate limits, then the hive's stream, then each open run in the
state that its replay gave. Recovery never reads the journal itself (its caller does), and never
repeats a command that is in the past: it brings back only what the state of a task needs now, such
as a place in the queue or a timer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappush

import msgspec

from agenthive.core.engine.active_run import ActiveRun
from agenthive.core.engine.child_runs import child_ended_event
from agenthive.core.engine.clock_steps import ClockSteps
from agenthive.core.engine.command_handlers import CommandHandlers
from agenthive.core.engine.engine_state import SMALLEST_STEP, EngineState
from agenthive.core.history.clock_marks import CLOCK_MARK, decode_steps
from agenthive.core.history.replay import rename_event
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import AccountState, Record
from agenthive.core.machine.guards.flow import awaits_loop_condition
from agenthive.core.machine.machine import step
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import OPEN, RunStatus, TaskState
from agenthive.core.values import Micros
from agenthive.errors import Conflict, InvalidTransition


def order_parents_first(states: Iterable[RunState]) -> list[RunState]:
    """The states of runs in the order in which to load them: parents first, then by age.

    Not by age alone: a child run is older than its parent if the clock was set back in between.
    """
    by_run = {state.run: state for state in states}
    ordered: dict[str, RunState] = {}
    for state in sorted(by_run.values(), key=lambda state: state.created):
        family: list[RunState] = []
        member: RunState | None = state
        while member is not None and member.run not in ordered:
            family.append(member)
            member = None if member.parent is None else by_run.get(member.parent.run)
        ordered |= {ancestor.run: ancestor for ancestor in reversed(family)}
    return list(ordered.values())


class Recovery:
    """Fills an `EngineState` from what the journal holds. See `Driver` for its methods."""

    def __init__(
        self, engine: EngineState, handlers: CommandHandlers, clock_steps: ClockSteps
    ) -> None:
        self._engine, self._handlers, self._clock_steps = engine, handlers, clock_steps

    def load_hive(self, records: Sequence[Record]) -> None:
        """Apply the records of the hive's stream, oldest first, before any run."""
        engine = self._engine
        for record in records:
            engine.outbox.hive_seq = record.seq + record.count - 1
            engine.outbox.hive_at = record.at
            for event in ev.decode_hive_events(record.payload):
                # Not the latest of all: the clock of then may have been ahead.
                engine.latest_time = event.time
                engine.breakers.restore_breaker(event)
                engine.schedules.apply_event(event)
                if isinstance(event, ev.RunSetApart):
                    engine.set_apart[event.run] = event.reason
                elif isinstance(event, ev.RunDropped):
                    engine.set_apart.pop(event.run, None)
                    engine.schedules.remove_run(event.run)

    def load_accounts(self, account_states: Sequence[AccountState], marks: dict[str, str]) -> None:
        """Restore the accounts of budgets and the ``marks`` of rate limits, before any run."""
        self._engine.budgets.restore_accounts(account_states)
        limit_marks = dict(marks)
        self._clock_steps.load_steps(decode_steps(limit_marks.pop(CLOCK_MARK, "")))
        self._engine.rate_limits.restore_marks(limit_marks)

    def load_run(self, now: Micros, state: RunState, missing_agents: dict[str, str]) -> None:
        """Take over an open run in its replayed state. See `Driver.load_run`."""
        engine = self._engine
        if engine.set_apart.pop(state.run, None) is not None:
            engine.set_apart_runs.pop(state.run, None)
        if now < state.last_at < now + SMALLEST_STEP:
            engine.latest_time = max(engine.latest_time, state.last_at)
        now = engine.advance_clock(now)
        run = self._handlers.register_run(state.run, state, now)
        run.missing_agents = missing_agents
        run.reported_wait_state = self._read_wait_state(state)
        run.written_seq = run.durable_seq = state.seq
        if state.status is RunStatus.QUEUED:
            engine.queued_runs[state.run] = None
            return
        engine.used_run_slots += state.takes_slot
        self._clock_steps.settle_recovered_run(run, now)
        for index, attempt in state.holds:
            engine.budgets.schedule_expiry(run, index, attempt)
        away = now - state.last_at
        self._handlers.apply_event(run, ev.RunResumed(at=now, away=away), now)
        self._reopen_tasks(run, now)

    def _read_wait_state(self, child: RunState) -> str:
        """How a run waits, as its parent run has it; parents are loaded before their children."""
        parent = None if child.parent is None else self._engine.runs.get(child.parent.run)
        if child.parent is None or parent is None or parent.state.flow is None:
            return "moving"
        task = parent.state.graph.index.get(child.parent.task, -1)
        return parent.state.flow.waiting_children.get(task, "moving")

    def migrate_run(
        self,
        now: Micros,
        event: ev.RunMigrated,
        state: RunState,
        missing_agents: dict[str, str],
        body: bytes,
        token: int,
    ) -> None:
        """Continue an open run under another definition. See `Driver.migrate_run`."""
        engine = self._engine
        run, now = engine.get_open_run(state.run), engine.advance_clock(now)
        if run.state.counts[TaskState.RUNNING]:
            raise Conflict(
                f"run {run.id} has calls in progress", hint="Try again when they have ended."
            )
        _apply_pending_events(run, state, event.renamed)
        engine.queue.remove_run(run.id)
        engine.used_run_slots -= run.state.takes_slot
        migrated_run = self._handlers.register_run(run.id, state, now)
        engine.budgets.forget_scopes()
        migrated_run.pending_events = run.pending_events
        migrated_run.written_seq, migrated_run.durable_seq = run.written_seq, run.durable_seq
        migrated_run.reported_wait_state = run.reported_wait_state
        migrated_run.missing_agents = missing_agents
        engine.used_run_slots += state.takes_slot
        engine.outbox.next_batch.definitions.append((event.definition, body))
        engine.outbox.next_batch.uses.append((run.id, event.definition))
        self._handlers.apply_event(migrated_run, msgspec.structs.replace(event, at=now), now)
        self._reopen_tasks(migrated_run, now)
        self._handlers.acknowledge(migrated_run, token)

    def deliver_child_end(self, now: Micros, child: RunState) -> None:
        """Record the end of a child run in its parent. See `Driver.deliver_child_end`."""
        parent = child.parent
        run = None if parent is None else self._engine.runs.get(parent.run)
        if parent is None or run is None:
            return
        task = run.state.graph.index.get(parent.task)
        flow = run.state.flow
        if task is None or flow is None or flow.children.get(task) != child.run:
            return
        if run.state.state[task] in OPEN:
            now = self._engine.advance_clock(now)
            self._handlers.apply_event(run, child_ended_event(child, parent, now), now)

    def _reopen_tasks(self, run: ActiveRun, now: Micros) -> None:
        for index, task_state in enumerate(list(run.state.state)):
            self._reopen_task(run, index, task_state, now)

    def _reopen_task(self, run: ActiveRun, index: int, task_state: TaskState, now: Micros) -> None:
        """Bring back what the state of a task needs outside the machine.

        A task that has left ``task_state`` since the recovery of its run began needs nothing.
        """
        engine, handlers = self._engine, self._handlers
        state = run.state
        key = state.graph.keys[index]
        if state.state[index] is not task_state:
            return
        if task_state is TaskState.RUNNING:
            event = ev.TaskLost(at=now, task=key, attempt=state.attempts[index])
            handlers.apply_event(run, event, now)
        elif task_state is TaskState.READY:
            handlers.offer_task(run, index, now)
        elif task_state is TaskState.PREPARING or awaits_loop_condition(state, index):
            engine.unprepared_tasks.append((run, index))
        elif index in state.lacks and not engine.budgets.block_task(run, index, now):
            handlers.apply_event(run, ev.TaskUnblocked(at=now, task=key), now)
        elif task_state is TaskState.BLOCKED and state.blocked[index][0] == "agent":
            if run.agent_of(index).name not in run.missing_agents:
                handlers.apply_event(run, ev.TaskUnblocked(at=now, task=key), now)
        elif index in state.wake_at:
            heappush(engine.timers, (state.wake_at[index], state.run, index))


def _apply_pending_events(run: ActiveRun, state: RunState, renamed: dict[str, str]) -> None:
    """Bring a state that was replayed from disk up to the run's events that are not on disk.

    Raises Conflict if the journal is further than ``state``, or an event does not fit there.
    """
    try:
        if run.written_seq != state.seq:
            raise InvalidTransition("the journal is further on")
        for event in run.pending_events:
            step(state, rename_event(event, renamed))
    except InvalidTransition as error:
        message = f"run {run.id} changed in the meantime: {error.message}"
        raise Conflict(message, hint="Try again.") from error
