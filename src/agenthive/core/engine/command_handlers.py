"""What follows from a fact: the driver's hands, which do what the machine commands.

Applies facts to runs, and turns the commands that gives into queued tasks, calls, timers, child
runs and ends, as far as they can be had without the outside world; the rest goes into the outbox.
Never decides when: that is `driver`'s. A new command gets a line in `_execute_command`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from heapq import heappush

from agenthive.core.budget.holds import cost_of
from agenthive.core.engine import actions as act
from agenthive.core.engine.active_run import ActiveRun
from agenthive.core.engine.budgets import BudgetManager
from agenthive.core.engine.call_builder import (
    build_cache_entry,
    build_call,
    cache_key,
    without_tool_calls,
)
from agenthive.core.engine.child_runs import (
    ChildRunFactory,
    InputBinder,
    bind_unchanged,
    child_ended_event,
    child_wait_state,
)
from agenthive.core.engine.circuit_breakers import BreakerRegistry
from agenthive.core.engine.outbox import Outbox
from agenthive.core.engine.rate_limits import RateLimitGates
from agenthive.core.engine.ready_queue import UNLIMITED, ReadyQueue
from agenthive.core.engine.reply_outcome import LateUsage, late_reply_event, reply_event
from agenthive.core.engine.schedules import Schedules
from agenthive.core.engine.step_evaluation import task_faulted_event
from agenthive.core.graph.graph import Graph
from agenthive.core.history.snapshots import SNAPSHOT_INTERVAL
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.hash_chain import RULES
from agenthive.core.machine import commands as cmd
from agenthive.core.machine import model_turns
from agenthive.core.machine.guards.outcome import MAX_LOSSES
from agenthive.core.machine.machine import step
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Fault, Reply
from agenthive.core.model.states import CLOSED, RunStatus, TaskState
from agenthive.core.model.workflow import Effect
from agenthive.core.ports import Calendar, Quoter
from agenthive.core.values import SECOND, Micros, NanoUSD
from agenthive.errors import ConfigurationError, ExpressionError, RunNotFound

# Looked up once: in Python 3.11 that costs more than comparing with them.
_READY, _PURE = TaskState.READY, Effect.NONE

STOPPED_FAULT = Fault(kind="cancelled", message="stopped", counts=False)
"""What the breaker hears of a call that was stopped."""


class CommandHandlers:
    """All open runs of a hive, and what is under way for them.

    ``max_runs`` bounds the runs that are under way, ``max_calls`` the calls under way at once;
    ``bind`` fills inputs into the workflows of child runs; ``calendar`` knows when schedules fire.
    ``snapshot_every`` facts a run gets a snapshot. ``used_run_slots`` counts the runs that take a
    run slot. ``quoter`` knows what calls cost at most, ``rate_limits`` are the budgets of all runs:
    see `BudgetManager`.
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
        self.runs: dict[str, ActiveRun] = {}
        self.budgets = BudgetManager(self.runs, quoter, limits)
        self.queue = ReadyQueue(max_calls)
        self.breakers = BreakerRegistry(self.queue)
        self.rate_limits = RateLimitGates(self.queue)
        self._quoter = quoter
        self.schedules = Schedules(calendar)
        self.draining = False
        self.used_run_slots = 0
        self._max_runs = max_runs
        self._snapshot_every = snapshot_every
        self._child_factory = ChildRunFactory(bind)
        self._outbox = Outbox(RULES)
        self._queued_runs: dict[str, None] = {}
        self._timers: list[tuple[Micros, str, int]] = []
        self._unprepared_tasks: deque[tuple[ActiveRun, int]] = deque()
        self._eager_calls: list[act.PerformCall] = []
        self._has_unpicked = False
        self._late_usage = LateUsage()
        self._latest_time: Micros = 0
        self._clock_skew: Micros = 0

    # Obeying the machine.

    def _apply_event(self, run: ActiveRun, event: ev.RunEvent, now: Micros) -> None:
        state = run.state
        status, parked = state.status, state.parked
        run.pending_events.append(event)
        self._outbox.dirty_runs[run.id] = run
        commands = step(state, event)
        # Before obeying: that may apply further facts, which count for themselves.
        if state.status is not status or state.parked is not parked:
            self.used_run_slots += state.takes_slot - state.would_take_slot(status, parked)
        for command in commands:
            self._execute_command(run, command, now)
        if state.parent is not None:
            self._notify_parent(run, state.parent, now)

    def _notify_parent(self, run: ActiveRun, parent: ev.Parent, now: Micros) -> None:
        parent_run = self.runs.get(parent.run)
        wait_state = child_wait_state(run.state)
        if (
            parent_run is not None
            and wait_state != run.reported_wait_state
            and run.state.status not in CLOSED
        ):
            run.reported_wait_state = wait_state
            self._apply_event(
                parent_run, ev.ChildWaiting(at=now, task=parent.task, how=wait_state), now
            )

    def _execute_command(self, run: ActiveRun, command: cmd.RunCommand, now: Micros) -> None:
        # The two that every task needs come first, told by the quicker test.
        if type(command) is cmd.OfferTask:
            self._offer_task(run, command.task, now)
        elif type(command) is cmd.CallAgent:
            self._call_agent(run, command, now)
        elif isinstance(command, cmd.WakeTask):
            heappush(self._timers, (command.at, run.id, command.task))
        elif isinstance(command, cmd.StopCall):
            key = run.state.graph.keys[command.task]
            run.cancelling_calls.add((key, command.attempt))
            self._outbox.actions.append(act.CancelCall(run.id, key, command.attempt))
        elif isinstance(command, cmd.PrepareTask):
            self._unprepared_tasks.append((run, command.task))
        elif isinstance(command, cmd.StopChild):
            self._stop_child(run, command.task, now)
        elif isinstance(command, cmd.SetDeadline):
            heappush(self._timers, (command.at, run.id, -1))
        else:
            self._close_run(run, now)

    def _offer_task(self, run: ActiveRun, index: int, now: Micros) -> None:
        graph = run.state.graph
        node = graph.nodes[index]
        # A turn is none of the author's tasks; this is asked for every task.
        if index >= graph.static and self._try_fallback_model(run, index, now):
            return
        detail = run.missing_agents.get(node.agent.name) if run.missing_agents else None
        # What stops the run may have come first, in the same step: then nobody waits.
        if detail is not None and run.state.state[index] is _READY:
            blocked_event = ev.TaskBlocked(
                at=now, task=graph.keys[index], reason="agent", detail=detail
            )
            self._apply_event(run, blocked_event, now)
        else:
            rank = run.rank_of(index)
            self._has_unpicked = True
            self.queue.offer_task(run.id, index, graph.lanes[index], node.priority, rank)

    def _try_fallback_model(self, run: ActiveRun, index: int, now: Micros) -> bool:
        """Leave a turn to the next model, if its own breaker is open and a later one's is not."""
        node, state = run.state.graph.nodes[index], run.state
        fallbacks = model_turns.list_fallbacks(state, index)
        if not fallbacks or state.state[index] is not _READY:
            return False
        if self.breakers.allows_call(node.endpoint, now):
            return False
        if not any(self.breakers.allows_call(fallback.endpoint, now) for fallback in fallbacks):
            return False
        message = f"the circuit breaker of agent '{node.agent.name}' is open"
        self._apply_event(
            run,
            task_faulted_event(now, state.graph.keys[index], model_turns.BREAKER_OPEN, message),
            now,
        )
        return True

    def _reroute_waiting_turns(self, now: Micros) -> None:
        """Breakers have opened: nobody waits there who need not."""
        for lane in self.breakers.take_closed_lanes():
            for run_id, index in self.queue.list_waiting(lane):
                self._try_fallback_model(self.runs[run_id], index, now)

    def _call_agent(self, run: ActiveRun, command: cmd.CallAgent, now: Micros) -> None:
        state = run.state
        node = state.graph.nodes[command.task]
        intent = run.intent
        assert intent is not None
        try:
            call = run.prepared_call or build_call(run, command.task, intent)
        except ExpressionError as error:
            fault = Fault(kind="expression", message=error.message, retriable=False, counts=False)
            self._complete_call(run, command.task, now, Reply(fault=fault), 0.0)
            return
        run.prepared_call = None
        result_key = cache_key(node, call.parameters) if node.cached else ""
        if result_key:
            run.cache_keys[command.task] = result_key
        action = act.PerformCall(call, node.agent, node.timeout, node.heartbeat, result_key)
        # What is paid for waits until it is on disk; so does what needs a yes or a turn before it.
        pure = node.effect is _PURE and not intent.hold
        eager = pure and run.durable_seq > 0 and not node.recorded_first
        (self._eager_calls if eager else self._outbox.actions).append(action)

    def _stop_child(self, run: ActiveRun, index: int, now: Micros) -> None:
        flow = run.state.flow
        child = self.runs.get(flow.children.get(index, "")) if flow is not None else None
        if child is not None and child.state.status not in CLOSED:
            self._cancel_run(child, now, "engine", f"run {run.id} stops")

    def _close_run(self, run: ActiveRun, now: Micros) -> None:
        state = run.state
        closed_event = ev.RunClosed(at=now, run=run.id, status=state.status, events=state.seq)
        self._outbox.hive_events.append(closed_event)
        self.queue.remove_run(run.id)
        self.schedules.remove_run(run.id)
        self._queued_runs.pop(run.id, None)
        self._late_usage.remember_calls(state, self.budgets.unsettled_scopes(run, now))
        for (index, attempt), hold in state.holds.items():
            # What is in doubt at the end counts as spent.
            self._book_cost(run, index, attempt, hold.amount, now, under_way=False)
        self._outbox.actions.append(act.RunEnded(run.id, state.status))
        parent = state.parent
        if parent is not None and parent.run in self.runs:
            self._apply_event(self.runs[parent.run], child_ended_event(state, parent, now), now)

    # Runs.

    def _accept_run(
        self, event: ev.RunSubmitted, graph: Graph, now: Micros, body: bytes | None = None
    ) -> ActiveRun:
        """A run begins; ``body`` is its definition, if that is not on disk already."""
        run = self._register_run(event.run, RunState(graph), now)
        if body is not None:
            self._outbox.next_batch.definitions.append((event.definition, body))
        self._outbox.next_batch.uses.append((event.run, event.definition))
        self._outbox.hive_events.append(
            ev.RunOpened(at=now, run=event.run, tenant=event.tenant, owner=event.owner)
        )
        self._apply_event(run, event, now)
        return run

    def _cancel_run(self, run: ActiveRun, now: Micros, actor: str, reason: str) -> None:
        if not run.state.cancelling and run.state.status is not RunStatus.COMPENSATING:
            self._apply_event(run, ev.CancelRequested(at=now, actor=actor, reason=reason), now)

    def _start_child(self, run: ActiveRun, index: int, now: Micros) -> None:
        key = run.state.graph.keys[index]
        try:
            inputs = run.evaluate_parameters(index)
            event, graph, body = self._child_factory.build_submission(run.state, index, inputs, now)
        except (ExpressionError, ConfigurationError) as error:
            self._apply_event(run, task_faulted_event(now, key, "inputs", error.message), now)
            return
        self._apply_event(run, ev.ChildOpened(at=now, task=key, run=event.run), now)
        child = self._accept_run(event, graph, now, body)
        child.missing_agents = run.missing_agents
        self._apply_event(child, ev.RunStarted(at=now), now)

    # Bookkeeping.

    def _book_cost(
        self,
        run: ActiveRun,
        index: int,
        attempt: int,
        cost: NanoUSD | None,
        now: Micros,
        *,
        under_way: bool,
    ) -> None:
        """Book what a call cost (None: nobody knows), before its end is applied."""
        self._outbox.hive_events += self.budgets.book_cost(
            run, index, attempt, cost, now, under_way=under_way
        )

    def _get_open_run(self, run_id: str) -> ActiveRun:
        active_run = self.runs.get(run_id)
        if active_run is None or active_run.state.status in CLOSED:
            raise RunNotFound(f"there is no open run '{run_id}'")
        return active_run

    def _advance_clock(self, now: Micros) -> Micros:
        """Hive time: goes on from where it was when the clock steps back."""
        hive_time = now + self._clock_skew
        if hive_time < self._latest_time:
            step_back = self._latest_time - hive_time
            self._clock_skew += step_back
            hive_time = self._latest_time
            self._outbox.hive_events.append(ev.ClockSteppedBack(at=hive_time, by=step_back))
        self._latest_time = hive_time
        return hive_time

    def _complete_call(
        self, run: ActiveRun, index: int, now: Micros, reply: Reply, draw: float
    ) -> None:
        task, attempt = run.state.graph.keys[index], run.state.attempts[index]
        pause = self._release_call(run, index, reply.fault, now, reply)
        if pause is not None:
            pause = self._jitter_pause(run, index, pause, draw)
        if reply.fault is None and run.estimates.useful:
            self._update_estimates(run, index, now)
        if run.state.holds or reply.usage is not None:
            hold = run.state.holds.get((index, attempt))
            cost = cost_of(hold, reply.usage, reply.fault, cached=bool(reply.cached))
            self._book_cost(run, index, attempt, cost, now, under_way=True)
        node = run.state.graph.nodes[index]
        if reply.asks and not node.offers:
            reply = without_tool_calls(reply)
        self._apply_event(run, reply_event(now, task, attempt, reply, draw, pause), now)
        if node.cached and reply.fault is None and not reply.cached and index in run.cache_keys:
            key, origin = run.cache_keys.pop(index), f"{run.id}/{task}"
            self._outbox.next_batch.cached.append(
                build_cache_entry(node, key, origin, reply.result, now)
            )

    def _register_run(self, run_id: str, state: RunState, now: Micros) -> ActiveRun:
        active_run = ActiveRun(run_id, state, self._snapshot_every)
        self.runs[run_id] = active_run
        self.queue.add_run(run_id, state.graph.spec.max_parallel)
        for lane, agent in state.graph.lane_agents.items():
            self.queue.get_lane(lane, agent.max_concurrency)
            self.breakers.attach_lane(agent.endpoint_key, lane, agent.circuit_breaker, now)
            self.rate_limits.attach_lane(agent.endpoint_key, lane, agent.rate_limit)
        return active_run

    def _find_current_task(self, run: ActiveRun | None, task: str, attempt: int) -> int | None:
        """The index of a task whose call of that attempt is under way; else None."""
        index = run.state.graph.index.get(task) if run is not None else None
        if run is None or index is None:
            return None
        return index if run.state.is_call_running(index, attempt) else None

    def _record_late_reply(
        self, now: Micros, run_id: str, task: str, attempt: int, reply: Reply
    ) -> None:
        active_run = self.runs.get(run_id)
        if active_run is None or active_run.state.status in CLOSED:
            settlement = self._late_usage.settle_call(now, run_id, task, attempt, reply.usage)
            if settlement is not None:
                self._outbox.hive_events.append(settlement[0])
                self.budgets.correct_cost(
                    run_id, settlement[1].scopes, settlement[1].booked, settlement[0].usage
                )
            return
        event = late_reply_event(active_run.state, now, task, attempt, reply)
        if event is not None:
            index = active_run.state.graph.index[task]
            cost = cost_of(active_run.state.holds.get((index, attempt)), event.usage)
            self._book_cost(active_run, index, attempt, cost, now, under_way=False)
            self._apply_event(active_run, event, now)

    def _jitter_pause(
        self, run: ActiveRun, index: int, pause: Micros, draw: float
    ) -> Micros | None:
        """Not all at once after a pause; none for who has been put off too often."""
        if run.state.losses.get(index, 0) >= MAX_LOSSES:
            return None
        return pause + round(draw * min(pause, SECOND))

    def _release_call(
        self,
        run: ActiveRun,
        index: int,
        fault: Fault | None,
        now: Micros,
        reply: Reply | None = None,
    ) -> Micros | None:
        """Free the slots of a call, and let its endpoint's breaker and limit know.

        The pause if the endpoint was asked too often.
        """
        node = run.state.graph.nodes[index]
        pause: Micros | None = None
        if fault is not None or node.endpoint in self.rate_limits.gates:
            call_id = (run.id, run.state.graph.keys[index], run.state.attempts[index])
            usage, headroom = (None, None) if reply is None else (reply.usage, reply.headroom)
            pause = self.rate_limits.record_call_end(
                node.endpoint, call_id, fault, usage, headroom, now
            )
        if run.cancelling_calls:
            run.cancelling_calls.discard((run.state.graph.keys[index], run.state.attempts[index]))
        if fault is None:
            self._outbox.hive_events += self.breakers.record_success(node.endpoint, now)
        else:
            self._outbox.hive_events += self.breakers.record_failure(node.endpoint, fault, now)
        self.queue.release_slots(run.id, run.state.graph.lanes[index])
        return pause

    def _update_estimates(self, run: ActiveRun, index: int, now: Micros) -> None:
        ranks = run.estimates.record_duration(index, (now - run.state.since[index]) / SECOND)
        if ranks is not None:
            run.ranks = ranks
            self.queue.update_ranks(run.id, run.rank_of)
