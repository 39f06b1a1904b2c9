"""What follows from a fact: the driver's hands, which do what the machine commands.

Applies facts to runs, and turns the commands that gives into queued tasks, calls, timers, child
runs and ends, as far as they can be had without the outside world; the rest goes into the outbox.
Never decides when: that is `driver`'s. A new command gets a line in `_obey`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from heapq import heappush

from agenthive.core.budget.holds import cost_of
from agenthive.core.engine import actions as act
from agenthive.core.engine.active_run import Live
from agenthive.core.engine.budgets import Treasury
from agenthive.core.engine.call_builder import cache_key, made, to_cache, unasked
from agenthive.core.engine.child_runs import Bind, Nursery, as_given, ended, standing
from agenthive.core.engine.circuit_breakers import Breakers
from agenthive.core.engine.outbox import Outbox
from agenthive.core.engine.rate_limits import Limits
from agenthive.core.engine.ready_queue import UNLIMITED, ReadyQueue
from agenthive.core.engine.reply_outcome import Unpaid, late, outcome
from agenthive.core.engine.schedules import Schedules
from agenthive.core.engine.step_evaluation import faulted
from agenthive.core.graph.graph import Graph
from agenthive.core.history.snapshots import EVERY
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

STOPPED = Fault(kind="cancelled", message="stopped", counts=False)
"""What the breaker hears of a call that was stopped."""


class Obeying:
    """All open runs of a hive, and what is under way for them.

    ``max_runs`` bounds the runs that are under way, ``max_calls`` the calls under way at once;
    ``bind`` fills inputs into the workflows of child runs; ``calendar`` knows when schedules fire.
    ``snapshot_every`` facts a run gets a snapshot.
    ``active`` counts the runs that take a run slot. ``quoter`` knows what calls cost at most,
    ``limits`` are the budgets of all runs: see `Treasury`.
    """

    def __init__(
        self,
        *,
        max_runs: int = UNLIMITED,
        max_calls: int = UNLIMITED,
        bind: Bind = as_given,
        calendar: Calendar | None = None,
        snapshot_every: int = EVERY,
        quoter: Quoter | None = None,
        limits: Mapping[str, NanoUSD] | None = None,
    ) -> None:
        self.runs: dict[str, Live] = {}
        self.money = Treasury(self.runs, quoter, limits)
        self.queue = ReadyQueue(max_calls)
        self.breakers = Breakers(self.queue)
        self.limits = Limits(self.queue)
        self._quoter = quoter
        self.schedules = Schedules(calendar)
        self.draining = False
        self.active = 0
        self._max_runs = max_runs
        self._snapshot_every = snapshot_every
        self._nursery = Nursery(bind)
        self._box = Outbox(RULES)
        self._queued: dict[str, None] = {}
        self._timers: list[tuple[Micros, str, int]] = []
        self._unprepared: deque[tuple[Live, int]] = deque()
        self._eager: list[act.Perform] = []
        self._unpicked = False
        self._unpaid = Unpaid()
        self._latest: Micros = 0
        self._skew: Micros = 0

    # Obeying the machine.

    def _apply(self, live: Live, event: ev.RunEvent, now: Micros) -> None:
        state = live.state
        status, parked = state.status, state.parked
        live.pending.append(event)
        self._box.dirty[live.run] = live
        commands = step(state, event)
        # Before obeying: that may apply further facts, which count for themselves.
        if state.status is not status or state.parked is not parked:
            self.active += state.takes_slot - state.would_take_slot(status, parked)
        for command in commands:
            self._obey(live, command, now)
        if state.parent is not None:
            self._tell_parent(live, state.parent, now)

    def _tell_parent(self, live: Live, parent: ev.Parent, now: Micros) -> None:
        above = self.runs.get(parent.run)
        how = standing(live.state)
        if above is not None and how != live.told and live.state.status not in CLOSED:
            live.told = how
            self._apply(above, ev.ChildWaiting(at=now, task=parent.task, how=how), now)

    def _obey(self, live: Live, command: cmd.RunCommand, now: Micros) -> None:
        # The two that every task needs come first, told by the quicker test.
        if type(command) is cmd.OfferTask:
            self._offer(live, command.task, now)
        elif type(command) is cmd.CallAgent:
            self._call(live, command, now)
        elif isinstance(command, cmd.WakeTask):
            heappush(self._timers, (command.at, live.run, command.task))
        elif isinstance(command, cmd.StopCall):
            key = live.state.graph.keys[command.task]
            live.stopping.add((key, command.attempt))
            self._box.after.append(act.Stop(live.run, key, command.attempt))
        elif isinstance(command, cmd.Prepare):
            self._unprepared.append((live, command.task))
        elif isinstance(command, cmd.StopChild):
            self._stop_child(live, command.task, now)
        elif isinstance(command, cmd.SetDeadline):
            heappush(self._timers, (command.at, live.run, -1))
        else:
            self._close(live, now)

    def _offer(self, live: Live, index: int, now: Micros) -> None:
        graph = live.state.graph
        node = graph.nodes[index]
        # A turn is none of the author's tasks; this is asked for every task.
        if index >= graph.static and self._passes_on(live, index, now):
            return
        detail = live.missing.get(node.agent.name) if live.missing else None
        # What stops the run may have come first, in the same step: then nobody waits.
        if detail is not None and live.state.state[index] is _READY:
            blocked = ev.TaskBlocked(at=now, task=graph.keys[index], reason="agent", detail=detail)
            self._apply(live, blocked, now)
        else:
            rank = live.rank_of(index)
            self._unpicked = True
            self.queue.offer(live.run, index, graph.lanes[index], node.priority, rank)

    def _passes_on(self, live: Live, index: int, now: Micros) -> bool:
        """Leave a turn to the next model, if its own breaker is open and a later one's is not."""
        node, state = live.state.graph.nodes[index], live.state
        others = model_turns.others(state, index)
        if not others or state.state[index] is not _READY:
            return False
        if self.breakers.allows(node.endpoint, now):
            return False
        if not any(self.breakers.allows(one.endpoint, now) for one in others):
            return False
        what = f"the circuit breaker of agent '{node.agent.name}' is open"
        self._apply(
            live, faulted(now, state.graph.keys[index], model_turns.BREAKER_OPEN, what), now
        )
        return True

    def _pass_on_all(self, now: Micros) -> None:
        """Breakers have opened: nobody waits there who need not."""
        for lane in self.breakers.shut():
            for run, index in self.queue.waiting(lane):
                self._passes_on(self.runs[run], index, now)

    def _call(self, live: Live, command: cmd.CallAgent, now: Micros) -> None:
        state = live.state
        node = state.graph.nodes[command.task]
        intent = live.intent
        assert intent is not None
        try:
            call = live.call or made(live, command.task, intent)
        except ExpressionError as error:
            fault = Fault(kind="expression", message=error.message, retriable=False, counts=False)
            self._answered(live, command.task, now, Reply(fault=fault), 0.0)
            return
        live.call = None
        cache = cache_key(node, call.parameters) if node.cached else ""
        if cache:
            live.caching[command.task] = cache
        perform = act.Perform(call, node.agent, node.timeout, node.heartbeat, cache)
        # What is paid for waits until it is on disk; so does what needs a yes or a turn before it.
        pure = node.effect is _PURE and not intent.hold
        eager = pure and live.durable > 0 and not node.recorded_first
        (self._eager if eager else self._box.after).append(perform)

    def _stop_child(self, live: Live, index: int, now: Micros) -> None:
        flow = live.state.flow
        child = self.runs.get(flow.children.get(index, "")) if flow is not None else None
        if child is not None and child.state.status not in CLOSED:
            self._cancel(child, now, "engine", f"run {live.run} stops")

    def _close(self, live: Live, now: Micros) -> None:
        state = live.state
        closed = ev.RunClosed(at=now, run=live.run, status=state.status, events=state.seq)
        self._box.hive.append(closed)
        self.queue.leave(live.run)
        self.schedules.ended(live.run)
        self._queued.pop(live.run, None)
        self._unpaid.keep(state, self.money.purses(live, now))
        for (index, attempt), hold in state.holds.items():
            # What is in doubt at the end counts as spent.
            self._pay(live, index, attempt, hold.amount, now, pending=False)
        self._box.after.append(act.RunEnded(live.run, state.status))
        parent = state.parent
        if parent is not None and parent.run in self.runs:
            self._apply(self.runs[parent.run], ended(state, parent, now), now)

    # Runs.

    def _accept(
        self, event: ev.RunSubmitted, graph: Graph, now: Micros, body: bytes | None = None
    ) -> Live:
        """A run begins; ``body`` is its definition, if that is not on disk already."""
        live = self._join(event.run, RunState(graph), now)
        if body is not None:
            self._box.next.definitions.append((event.definition, body))
        self._box.next.uses.append((event.run, event.definition))
        self._box.hive.append(
            ev.RunOpened(at=now, run=event.run, tenant=event.tenant, owner=event.owner)
        )
        self._apply(live, event, now)
        return live

    def _cancel(self, live: Live, now: Micros, actor: str, reason: str) -> None:
        if not live.state.cancelling and live.state.status is not RunStatus.COMPENSATING:
            self._apply(live, ev.CancelRequested(at=now, actor=actor, reason=reason), now)

    def _begin_child(self, live: Live, index: int, now: Micros) -> None:
        key = live.state.graph.keys[index]
        try:
            inputs = live.parameters(index)
            event, graph, body = self._nursery.submission(live.state, index, inputs, now)
        except (ExpressionError, ConfigurationError) as error:
            self._apply(live, faulted(now, key, "inputs", error.message), now)
            return
        self._apply(live, ev.ChildOpened(at=now, task=key, run=event.run), now)
        child = self._accept(event, graph, now, body)
        child.missing = live.missing
        self._apply(child, ev.RunStarted(at=now), now)

    # Bookkeeping.

    def _pay(
        self, live: Live, index: int, attempt: int, cost: NanoUSD | None, now: Micros,
        *, pending: bool,
    ) -> None:  # fmt: skip
        """Book what a call cost (None: nobody knows), before its end is applied."""
        self._box.hive += self.money.pay(live, index, attempt, cost, now, pending=pending)

    def _open(self, run: str) -> Live:
        live = self.runs.get(run)
        if live is None or live.state.status in CLOSED:
            raise RunNotFound(f"there is no open run '{run}'")
        return live

    def _clock(self, now: Micros) -> Micros:
        """Hive time: goes on from where it was when the clock steps back."""
        at = now + self._skew
        if at < self._latest:
            behind = self._latest - at
            self._skew += behind
            at = self._latest
            self._box.hive.append(ev.ClockSteppedBack(at=at, by=behind))
        self._latest = at
        return at

    def _answered(self, live: Live, index: int, now: Micros, reply: Reply, draw: float) -> None:
        task, attempt = live.state.graph.keys[index], live.state.attempts[index]
        pause = self._heard(live, index, reply.fault, now, reply)
        if pause is not None:
            pause = self._spread(live, index, pause, draw)
        if reply.fault is None and live.estimates.useful:
            self._learn(live, index, now)
        if live.state.holds or reply.usage is not None:
            hold = live.state.holds.get((index, attempt))
            cost = cost_of(hold, reply.usage, reply.fault, cached=bool(reply.cached))
            self._pay(live, index, attempt, cost, now, pending=True)
        node = live.state.graph.nodes[index]
        if reply.asks and not node.offers:
            reply = unasked(reply)
        self._apply(live, outcome(now, task, attempt, reply, draw, pause), now)
        if node.cached and reply.fault is None and not reply.cached and index in live.caching:
            key, origin = live.caching.pop(index), f"{live.run}/{task}"
            self._box.next.cached.append(to_cache(node, key, origin, reply.result, now))

    def _join(self, run: str, state: RunState, now: Micros) -> Live:
        live = Live(run, state, self._snapshot_every)
        self.runs[run] = live
        self.queue.join(run, state.graph.spec.max_parallel)
        for lane, agent in state.graph.lane_agents.items():
            self.queue.lane(lane, agent.max_concurrency)
            self.breakers.attach(agent.where, lane, agent.circuit_breaker, now)
            self.limits.attach(agent.where, lane, agent.rate_limit)
        return live

    def _current(self, live: Live | None, task: str, attempt: int) -> int | None:
        """The index of a task whose call of that attempt is under way; else None."""
        index = live.state.graph.index.get(task) if live is not None else None
        if live is None or index is None:
            return None
        return index if live.state.under_way(index, attempt) else None

    def _late(self, now: Micros, run: str, task: str, attempt: int, reply: Reply) -> None:
        live = self.runs.get(run)
        if live is None or live.state.status in CLOSED:
            owed = self._unpaid.settle(now, run, task, attempt, reply.usage)
            if owed is not None:
                self._box.hive.append(owed[0])
                self.money.correct(run, owed[1].scopes, owed[1].booked, owed[0].usage)
            return
        fact = late(live.state, now, task, attempt, reply)
        if fact is not None:
            index = live.state.graph.index[task]
            cost = cost_of(live.state.holds.get((index, attempt)), fact.usage)
            self._pay(live, index, attempt, cost, now, pending=False)
            self._apply(live, fact, now)

    def _spread(self, live: Live, index: int, pause: Micros, draw: float) -> Micros | None:
        """Not all at once after a pause; none for who has been put off too often."""
        if live.state.losses.get(index, 0) >= MAX_LOSSES:
            return None
        return pause + round(draw * min(pause, SECOND))

    def _heard(
        self, live: Live, index: int, fault: Fault | None, now: Micros, reply: Reply | None = None
    ) -> Micros | None:
        """Free the slots of a call, and let its endpoint's breaker and limit know.

        The pause if the endpoint was asked too often.
        """
        node = live.state.graph.nodes[index]
        pause: Micros | None = None
        if fault is not None or node.endpoint in self.limits.gates:
            call = (live.run, live.state.graph.keys[index], live.state.attempts[index])
            usage, headroom = (None, None) if reply is None else (reply.usage, reply.headroom)
            pause = self.limits.heard(node.endpoint, call, fault, usage, headroom, now)
        if live.stopping:
            live.stopping.discard((live.state.graph.keys[index], live.state.attempts[index]))
        if fault is None:
            self._box.hive += self.breakers.succeeded(node.endpoint, now)
        else:
            self._box.hive += self.breakers.failed(node.endpoint, fault, now)
        self.queue.release(live.run, live.state.graph.lanes[index])
        return pause

    def _learn(self, live: Live, index: int, now: Micros) -> None:
        ranks = live.estimates.observe(index, (now - live.state.since[index]) / SECOND)
        if ranks is not None:
            live.rank = ranks
            self.queue.rerank(live.run, live.rank_of)
