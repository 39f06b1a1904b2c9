"""The end of a call: its slots, its cost, and the event that records its result.

`CallResults` frees the slots of a call that ended, reports the outcome to the endpoint's circuit
breaker and rate limit, books the cost, and records the result. It never starts a call, and never
decides what a result means for the run: the machine does that when the event is applied.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from agenthive.core.budget.holds import cost_of
from agenthive.core.engine.active_run import ActiveRun
from agenthive.core.engine.call_builder import build_cache_entry, without_tool_calls
from agenthive.core.engine.engine_state import EngineState
from agenthive.core.engine.reply_outcome import LateUsage, late_reply_event, reply_event
from agenthive.core.journal import run_events as ev
from agenthive.core.machine.guards.outcome import MAX_LOSSES, may_put_back
from agenthive.core.model.calls import Fault, Reply
from agenthive.core.model.states import CLOSED
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.values import SECOND, Micros, NanoUSD

ApplyEvent: TypeAlias = Callable[[ActiveRun, ev.RunEvent, Micros], None]
"""`CommandHandlers.apply_event`."""

CANCELLED_FAULT = Fault(
    kind="cancelled", message="stopped", counts=False, class_=FaultClass.UNKNOWN
)
"""What the circuit breaker records for a cancelled call: no failure of the endpoint."""


class CallResults:
    """Ends calls. ``apply_event`` applies an event to a run and carries out its commands."""

    def __init__(self, engine: EngineState, apply_event: ApplyEvent) -> None:
        self._engine, self._apply_event = engine, apply_event
        # None of these is ever replaced: each is looked up once, not for every call.
        self._outbox, self._queue, self._budgets = engine.outbox, engine.queue, engine.budgets
        self._breakers, self._rate_limits = engine.breakers, engine.rate_limits
        #: Calls of ended runs that have not reported their usage.
        self._late_usage = LateUsage()

    def complete_call(
        self, run: ActiveRun, index: int, now: Micros, reply: Reply, draw: float
    ) -> None:
        """Record the reply of a call in progress. ``draw`` in [0, 1) is for the jitter."""
        task, attempt = run.state.graph.keys[index], run.state.attempts[index]
        pause = self.release_call(run, index, reply.fault, now, reply)
        if pause is not None and reply.fault is not None:
            put_back = may_put_back(run.state, index, reply.fault)
            pause = self._jitter_pause(run, index, pause, draw) if put_back else None
        if reply.fault is None and run.estimates.useful:
            self._update_estimates(run, index, now)
        if run.state.holds or reply.usage is not None:
            hold = run.state.holds.get((index, attempt))
            cost = cost_of(
                hold,
                reply.usage,
                reply.fault,
                cached=bool(reply.cached),
                rules=run.state.rules,
            )
            self.book_cost(run, index, attempt, cost, now, under_way=True)
        node = run.state.graph.nodes[index]
        if reply.asks and not node.offers:
            reply = without_tool_calls(reply)
        self._apply_event(run, reply_event(now, task, attempt, reply, draw, pause), now)
        if node.cached and reply.fault is None and not reply.cached and index in run.cache_keys:
            key, origin = run.cache_keys.pop(index), f"{run.id}/{task}"
            self._outbox.next_batch.cached.append(
                build_cache_entry(node, key, origin, reply.result, now)
            )

    def record_cancellation(
        self, run: ActiveRun, index: int, attempt: int, now: Micros, *, unmade: bool
    ) -> None:
        """Record that a call in progress was cancelled; ``unmade``: before it was made."""
        self.release_call(run, index, CANCELLED_FAULT, now)
        hold = run.state.holds.get((index, attempt))
        if hold is not None:
            cost = 0 if unmade and not hold.inherited else None
            self.book_cost(run, index, attempt, cost, now, under_way=True)
        task = run.state.graph.keys[index]
        event = ev.TaskCancelled(at=now, task=task, attempt=attempt, unmade=unmade)
        self._apply_event(run, event, now)

    def record_late_reply(
        self, run_id: str, task: str, attempt: int, now: Micros, reply: Reply
    ) -> None:
        """Book what a call cost that is no longer in progress. Its result changes nothing."""
        run = self._engine.runs.get(run_id)
        if run is None or run.state.status in CLOSED:
            settlement = self._late_usage.settle_call(now, run_id, task, attempt, reply.usage)
            if settlement is not None:
                event_after_end, unsettled = settlement
                self._outbox.hive_events.append(event_after_end)
                self._budgets.correct_cost(
                    run_id, unsettled.scopes, unsettled.booked, event_after_end.usage
                )
            return
        event = late_reply_event(run.state, now, task, attempt, reply)
        if event is not None:
            index = run.state.graph.index[task]
            cost = cost_of(run.state.holds.get((index, attempt)), event.usage)
            self.book_cost(run, index, attempt, cost, now, under_way=False)
            self._apply_event(run, event, now)

    def book_open_holds(self, run: ActiveRun, now: Micros) -> None:
        """A run has ended: its calls without a known cost count with what is held for them.

        A later reply corrects that.
        """
        self._late_usage.remember_calls(run.state, self._budgets.unsettled_scopes(run, now))
        for (index, attempt), hold in run.state.holds.items():
            self.book_cost(run, index, attempt, hold.amount, now, under_way=False)

    def book_cost(
        self,
        run: ActiveRun,
        index: int,
        attempt: int,
        cost: NanoUSD | None,
        now: Micros,
        *,
        under_way: bool,
    ) -> None:
        """Book what a call cost (None: unknown), before the event that ends it is applied.

        ``under_way``: the call was in progress until now.
        """
        self._outbox.hive_events += self._budgets.book_cost(
            run, index, attempt, cost, now, under_way=under_way
        )

    def release_call(
        self,
        run: ActiveRun,
        index: int,
        fault: Fault | None,
        now: Micros,
        reply: Reply | None = None,
    ) -> Micros | None:
        """Free the slots of a call; report its outcome to the circuit breaker and rate limit.

        Returns the microseconds until the endpoint may be called again if the call was throttled,
        else None.
        """
        node = run.state.graph.nodes[index]
        pause: Micros | None = None
        if fault is not None or node.endpoint in self._rate_limits.gates:
            call_id = (run.id, run.state.graph.keys[index], run.state.attempts[index])
            usage, headroom = (None, None) if reply is None else (reply.usage, reply.headroom)
            pause = self._rate_limits.record_call_end(
                node.endpoint, call_id, fault, usage, headroom, now
            )
        if run.cancelling_calls:
            run.cancelling_calls.discard((run.state.graph.keys[index], run.state.attempts[index]))
        if fault is None:
            self._outbox.hive_events += self._breakers.record_success(node.endpoint, now)
        else:
            self._outbox.hive_events += self._breakers.record_failure(node.endpoint, fault, now)
        self._queue.release_slots(run.id, run.state.graph.lanes[index])
        return pause

    def _jitter_pause(
        self, run: ActiveRun, index: int, pause: Micros, draw: float
    ) -> Micros | None:
        """The pause with jitter, so that calls do not all return at once.

        None if the task was lost or throttled too often to be retried for free.
        """
        if run.state.losses.get(index, 0) >= MAX_LOSSES:
            return None
        return pause + round(draw * min(pause, SECOND))

    def _update_estimates(self, run: ActiveRun, index: int, now: Micros) -> None:
        ranks = run.estimates.record_duration(index, max(0, now - run.state.since[index]) / SECOND)
        if ranks is not None:
            run.ranks = ranks
            self._queue.update_ranks(run.id, run.rank_of)
