"""Events are applied to runs here, and the commands that the machine returns are carried out.

`apply_event` is the only caller of `step` for runs that are open (`Recovery.migrate_run` checks a
replayed state with it). A command that needs nothing from outside is carried out at once: a task is
queued, a timer is set, a child run is cancelled, a run is closed. A call, or a message for the
caller of a request, goes into the outbox and leaves the engine after the commit.

The handlers never decide when a task starts (`Admission` does) and never evaluate an expression
other than the parameters of a call. To add a command: a struct in `core.machine.commands` and a
branch in `CommandHandlers._execute_command`.
"""

from __future__ import annotations

import contextlib
from heapq import heappush

import msgspec

from agenthive.core.engine import actions as act
from agenthive.core.engine.active_run import ActiveRun
from agenthive.core.engine.call_builder import build_call, cache_key
from agenthive.core.engine.call_results import CANCELLED_FAULT, CallResults
from agenthive.core.engine.child_runs import child_ended_event, child_wait_state
from agenthive.core.engine.engine_state import RUN_DEADLINE, EngineState
from agenthive.core.engine.step_evaluation import task_faulted_event
from agenthive.core.graph.graph import Graph
from agenthive.core.history.run_index import set_apart_mark
from agenthive.core.journal import run_events as ev
from agenthive.core.machine import commands as cmd
from agenthive.core.machine import model_turns
from agenthive.core.machine.machine import step
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Fault, Reply
from agenthive.core.model.states import CLOSED, RunStatus, TaskState
from agenthive.core.model.workflow import Effect
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.values import Micros
from agenthive.errors import ExpressionError, describe_defect

# Module constants: in Python 3.11 the lookup in the enum costs more than the comparison.
_READY, _RUNNING, _PURE = TaskState.READY, TaskState.RUNNING, Effect.NONE


class CommandHandlers:
    """Applies events to runs, and carries out the commands that follow."""

    def __init__(self, engine: EngineState) -> None:
        self._engine = engine
        # None of these is ever replaced: each is looked up once, not for every event.
        self._runs, self._outbox, self._queue = engine.runs, engine.outbox, engine.queue
        self._timers, self._breakers = engine.timers, engine.breakers
        #: What happens at the end of a call; it applies its events through these handlers.
        self.results = CallResults(engine, self.apply_event)

    # Events and commands.

    def apply_event(self, run: ActiveRun, event: ev.RunEvent, now: Micros) -> None:
        """Apply an event to a run, carry out what follows, and keep the event for the next batch.

        Never raises: a run for which that fails is set apart, so that the other runs continue. A
        run that was set apart takes no more events.
        """
        if run.is_set_apart:
            return
        state = run.state
        status, parked = state.status, state.parked
        if event.at < state.last_at + state.ahead:
            # The clock was set back: the order of the stream does not go back with it.
            order = state.last_at + state.ahead
            event = msgspec.structs.replace(event, at=order, wall=event.at)
        run.pending_events.append(event)
        self._outbox.dirty_runs[run.id] = run
        try:
            commands = step(state, event)
            # Before the commands: they may apply further events, and each counts its own change.
            if state.status is not status or state.parked is not parked:
                change = state.takes_slot - state.would_take_slot(status, parked)
                self._engine.used_run_slots += change
            if run.waiting_calls:
                self._update_budget_queues(run, event)
            for command in commands:
                if run.is_set_apart:
                    return
                self._execute_command(run, command, now)
            if state.parent is not None:
                self._notify_parent(run, state.parent, now)
        except Exception as error:
            self.set_apart_run(run, error, now)

    def _update_budget_queues(self, run: ActiveRun, event: ev.RunEvent) -> None:
        """Remove the tasks that do not wait for money any more since an event."""
        if run.state.stopping:
            self._engine.budgets.remove_departed(run)
        elif isinstance(event, ev.TaskBlocked):
            self._engine.budgets.remove_blocked(run, run.state.graph.index[event.task])

    def acknowledge(self, run: ActiveRun, token: int) -> None:
        """The request about a run is decided: acknowledge it, unless it brought the run down."""
        actions = self._outbox.actions
        if run.is_set_apart:
            reason = self._engine.set_apart.get(run.id, "")
            actions.append(act.RejectRequest(token, f"run {run.id} was set apart: {reason}"))
        else:
            actions.append(act.AcknowledgeRequest(token, about=run.id))

    def set_apart_run(self, run: ActiveRun, error: Exception, now: Micros) -> None:
        """A run cannot continue: stop it as of its last event on disk, while all others continue.

        Its calls are cancelled, what it holds on disk stays reserved, and its requests are
        rejected. A run that is on disk continues when it is resumed by its id; one that is not was
        never accepted.
        """
        if run.is_set_apart:
            return
        run.is_set_apart = True
        engine, reason = self._engine, describe_defect(error)
        engine.set_apart[run.id] = reason
        engine.set_apart_runs[run.id] = run
        self._release_calls(run, now)
        self._queue.remove_run(run.id)
        self._runs.pop(run.id, None)
        engine.queued_runs.pop(run.id, None)
        # Counted anew: the change of state that failed may or may not have been counted.
        engine.used_run_slots = sum(other.state.takes_slot for other in self._runs.values())
        engine.eager_calls = [call for call in engine.eager_calls if call.call.run != run.id]
        self._outbox.remove_run(run, f"run {run.id} was set apart: {reason}")
        engine.budgets.set_apart_run(run)
        # This turn may have started what it could already: another run can use the slots.
        engine.has_unpicked = True
        if run.written_seq:
            self._outbox.hive_events.append(
                ev.RunSetApart(at=now, run=run.id, events=run.written_seq, reason=reason)
            )
            engine.set_apart_marks.append(
                set_apart_mark(run.id, events=run.written_seq, reason=reason)
            )
            self._outbox.actions.append(act.ReportUnusableRun(run.id, reason))
        else:
            self._reject_run(run, reason, now)

    def _release_calls(self, run: ActiveRun, now: Micros) -> None:
        """Cancel the calls in progress of a run that is set apart, and free their slots."""
        for index, task_state in enumerate(run.state.state):
            if task_state is _RUNNING:
                key = run.state.graph.keys[index]
                self._outbox.actions.append(act.CancelCall(run.id, key, run.state.attempts[index]))
                # Its state may be half changed: what cannot be freed here is freed with the run.
                with contextlib.suppress(Exception):
                    self.results.release_call(run, index, CANCELLED_FAULT, now)

    def _reject_run(self, run: ActiveRun, reason: str, now: Micros) -> None:
        """A run that is set apart was never written: forget it, and fail the task it belongs to."""
        engine = self._engine
        engine.set_apart.pop(run.id, None)
        engine.set_apart_runs.pop(run.id, None)
        engine.schedules.remove_run(run.id)
        parent = run.state.parent
        parent_run = None if parent is None else self._runs.get(parent.run)
        if parent is not None and parent_run is not None:
            event = ev.ChildEnded(
                at=now,
                task=parent.task,
                run=run.id,
                status=RunStatus.FAILED,
                error=f"the child run could not be written: {reason}",
            )
            self.apply_event(parent_run, event, now)

    def _notify_parent(self, run: ActiveRun, parent: ev.Parent, now: Micros) -> None:
        """Record in the parent run how its child run waits, if that has changed."""
        parent_run = self._runs.get(parent.run)
        wait_state = child_wait_state(run.state)
        if (
            parent_run is not None
            and wait_state != run.reported_wait_state
            and run.state.status not in CLOSED
        ):
            run.reported_wait_state = wait_state
            self.apply_event(
                parent_run, ev.ChildWaiting(at=now, task=parent.task, how=wait_state), now
            )

    def _execute_command(self, run: ActiveRun, command: cmd.RunCommand, now: Micros) -> None:
        # The two that every task needs come first, and `is` is quicker than `isinstance`.
        if type(command) is cmd.OfferTask:
            self.offer_task(run, command.task, now)
        elif type(command) is cmd.CallAgent:
            self._call_agent(run, command, now)
        elif isinstance(command, cmd.WakeTask):
            heappush(self._timers, (command.at, run.id, command.task))
        elif isinstance(command, cmd.StopCall):
            key = run.state.graph.keys[command.task]
            run.cancelling_calls.add((key, command.attempt))
            self._outbox.actions.append(act.CancelCall(run.id, key, command.attempt))
        elif isinstance(command, cmd.PrepareTask):
            self._engine.unprepared_tasks.append((run, command.task))
        elif isinstance(command, cmd.StopChild):
            self._stop_child(run, command.task, now)
        elif isinstance(command, cmd.SetDeadline):
            heappush(self._timers, (command.at, run.id, RUN_DEADLINE))
        else:
            self._close_run(run, now)

    def offer_task(self, run: ActiveRun, index: int, now: Micros) -> None:
        """Put a ready task into the queue; block it if its agent is missing."""
        graph = run.state.graph
        node = graph.nodes[index]
        # Most tasks come from the workflow file: only others can be model turns.
        if index >= graph.static and self._try_fallback_model(run, index, now):
            return
        detail = run.missing_agents.get(node.agent.name) if run.missing_agents else None
        # An earlier command of the same step may have stopped the run: its tasks do not wait.
        if detail is not None and run.state.state[index] is _READY:
            blocked_event = ev.TaskBlocked(
                at=now, task=graph.keys[index], reason="agent", detail=detail
            )
            self.apply_event(run, blocked_event, now)
        else:
            rank = run.rank_of(index)
            self._engine.has_unpicked = True
            self._queue.offer_task(run.id, index, graph.lanes[index], node.priority, rank)

    def _try_fallback_model(self, run: ActiveRun, index: int, now: Micros) -> bool:
        """Pass a model turn to a later model if only that one's circuit breaker admits calls."""
        node, state = run.state.graph.nodes[index], run.state
        fallbacks = model_turns.list_fallbacks(state, index)
        if not fallbacks or state.state[index] is not _READY:
            return False
        if self._breakers.allows_call(node.endpoint, now):
            return False
        if not any(self._breakers.allows_call(fallback.endpoint, now) for fallback in fallbacks):
            return False
        message = f"the circuit breaker of agent '{node.agent.name}' is open"
        self.apply_event(
            run,
            task_faulted_event(now, state.graph.keys[index], model_turns.BREAKER_OPEN, message),
            now,
        )
        return True

    def reroute_waiting_turns(self, now: Micros) -> None:
        """Pass the model turns that wait for a breaker that has just opened to a later model."""
        for lane in self._breakers.take_closed_lanes():
            for run_id, index in self._queue.list_waiting(lane):
                run = self._runs.get(run_id)
                if run is not None:
                    self._try_fallback_model(run, index, now)

    def _call_agent(self, run: ActiveRun, command: cmd.CallAgent, now: Micros) -> None:
        state = run.state
        node = state.graph.nodes[command.task]
        intent = run.intent
        assert intent is not None
        try:
            call = run.prepared_call or build_call(run, command.task, intent)
        except ExpressionError as error:
            fault = Fault(
                kind="expression",
                message=error.message,
                retriable=False,
                counts=False,
                class_=FaultClass.NOT_SENT,
            )
            self.results.complete_call(run, command.task, now, Reply(fault=fault), 0.0)
            return
        run.prepared_call = None
        result_key = cache_key(node, call) if node.cached else ""
        if result_key:
            run.cache_keys[command.task] = result_key
        action = act.PerformCall(call, node.agent, node.timeout, node.heartbeat, result_key)
        # A call that costs money waits until its hold is on disk, and one that needs an approval
        # or follows a model turn until that is.
        pure = node.effect is _PURE and not intent.hold
        eager = pure and run.durable_seq > 0 and not node.recorded_first
        (self._engine.eager_calls if eager else self._outbox.actions).append(action)

    def _stop_child(self, run: ActiveRun, index: int, now: Micros) -> None:
        flow = run.state.flow
        child = self._runs.get(flow.children.get(index, "")) if flow is not None else None
        if child is not None and child.state.status not in CLOSED:
            self.cancel_run(child, now, "engine", f"run {run.id} stops")

    # Runs.

    def accept_run(
        self, event: ev.RunSubmitted, graph: Graph, now: Micros, body: bytes | None = None
    ) -> ActiveRun:
        """Register a new run. ``body`` is its definition if the store does not have it yet."""
        run = self.register_run(event.run, RunState(graph), now)
        if body is not None:
            self._outbox.next_batch.definitions.append((event.definition, body))
        self._outbox.next_batch.uses.append((event.run, event.definition))
        self._outbox.hive_events.append(
            ev.RunOpened(at=now, run=event.run, tenant=event.tenant, owner=event.owner)
        )
        self.apply_event(run, event, now)
        return run

    def register_run(self, run_id: str, state: RunState, now: Micros) -> ActiveRun:
        """Make a run known to the queue, and its agents' lanes to the breakers and rate limits."""
        run = ActiveRun(run_id, state, self._engine.snapshot_every)
        self._runs[run_id] = run
        self._queue.add_run(run_id, state.graph.spec.max_parallel)
        for lane, agent in state.graph.lane_agents.items():
            self._queue.get_lane(lane, agent.max_concurrency)
            self._breakers.attach_lane(agent.endpoint_key, lane, agent.circuit_breaker, now)
            self._engine.rate_limits.attach_lane(agent.endpoint_key, lane, agent.rate_limit, now)
        return run

    def cancel_run(self, run: ActiveRun, now: Micros, actor: str, reason: str) -> None:
        """Request a cancel, unless one is in progress or the run compensates."""
        if not run.state.cancelling and run.state.status is not RunStatus.COMPENSATING:
            self.apply_event(run, ev.CancelRequested(at=now, actor=actor, reason=reason), now)

    def forget_run(self, run_id: str) -> None:
        """Drop a run that the store refused to accept, as if it had never been submitted."""
        engine = self._engine
        run = self._runs.pop(run_id)
        for index, task_state in enumerate(run.state.state):
            if task_state is _RUNNING:
                self.results.release_call(run, index, CANCELLED_FAULT, engine.latest_time)
        engine.budgets.forget_run(run)
        self._queue.remove_run(run_id)
        engine.schedules.remove_run(run_id)
        engine.queued_runs.pop(run_id, None)
        engine.used_run_slots -= run.state.takes_slot
        # This turn has already started what it could: the slots that are free now need another.
        engine.has_unpicked = True

    def _close_run(self, run: ActiveRun, now: Micros) -> None:
        """A run has ended: free what it holds, and record its result in its parent run."""
        state = run.state
        closed_event = ev.RunClosed(at=now, run=run.id, status=state.status, events=state.seq)
        self._outbox.hive_events.append(closed_event)
        self._queue.remove_run(run.id)
        self._engine.schedules.remove_run(run.id)
        self._engine.queued_runs.pop(run.id, None)
        self.results.book_open_holds(run, now)
        self._outbox.actions.append(act.RunEnded(run.id, state.status))
        parent = state.parent
        if parent is not None and parent.run in self._runs:
            self.apply_event(self._runs[parent.run], child_ended_event(state, parent, now), now)
