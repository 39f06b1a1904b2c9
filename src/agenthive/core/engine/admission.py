"""Admission: which runs and tasks start now. Every gate before a call is checked here, in order.

The order is documented in `agenthive.core.engine` and tested (tests/core/test_gate_order.py). The
state of a gate lives in its own file (`ready_queue`, `circuit_breakers`, `budgets`,
`rate_limits`); this file checks one after the other, and turns a refusal into an event or into a
place in a queue. Admission never makes a call: an admitted task gets its intent, and
`CommandHandlers` puts the call into the outbox.
"""

from __future__ import annotations

from typing import Final

import msgspec

from agenthive.core.budget.holds import BUDGET_EXCEEDED, BUDGET_REASONS
from agenthive.core.engine.active_run import ActiveRun
from agenthive.core.engine.budgets import FREE_GRANT, Grant, LimitExceeded, MustWait, UnpricedCall
from agenthive.core.engine.call_builder import build_call
from agenthive.core.engine.command_handlers import CommandHandlers
from agenthive.core.engine.engine_state import EngineState
from agenthive.core.engine.step_evaluation import task_faulted_event
from agenthive.core.engine.task_preparation import TaskPreparation
from agenthive.core.journal import run_events as ev
from agenthive.core.model.calls import Call
from agenthive.core.model.states import TaskState
from agenthive.core.model.workflow import OnExceeded
from agenthive.core.policies.rate_limit import NotAdmitted
from agenthive.core.values import Micros, format_dollars
from agenthive.errors import ExpressionError

# A module constant: in Python 3.11 the lookup in the enum costs more than the comparison.
_READY = TaskState.READY

UNPRICED: Final = "unpriced"
"""Fault kind of a call under a budget if the cost of the call cannot be bounded."""
TOO_LARGE: Final = "too_large"
"""Fault kind of a call that needs more tokens than its rate limit admits in a minute."""

MAX_STARTS_PER_TURN: Final = 1000
"""Intents that one batch holds at most, so that a wide run does not delay every other one."""


class Admission:
    """Starts queued runs and ready tasks, as far as the gates admit them."""

    def __init__(
        self, engine: EngineState, handlers: CommandHandlers, preparation: TaskPreparation
    ) -> None:
        self._engine, self._handlers, self._preparation = engine, handlers, preparation
        # None of these is ever replaced: each is looked up once, not for every task.
        self._queue, self._budgets, self._rate_limits = (
            engine.queue,
            engine.budgets,
            engine.rate_limits,
        )

    def start_runs(self, now: Micros) -> None:
        """Start queued runs, the oldest first, while there are run slots."""
        engine = self._engine
        while engine.queued_runs and engine.used_run_slots < engine.max_runs:
            run_id = next(iter(engine.queued_runs))
            del engine.queued_runs[run_id]
            self._handlers.apply_event(engine.runs[run_id], ev.RunStarted(at=now), now)

    def start_tasks(self, now: Micros) -> None:
        """Start the tasks that the queue picks, at most `MAX_STARTS_PER_TURN`."""
        engine, queue = self._engine, self._queue
        engine.has_unpicked = False
        # Changes while tasks start: the first that does not fit is the first in it.
        money_waiters = self._budgets.queues.by_scope
        for _ in range(MAX_STARTS_PER_TURN):
            next_task = queue.pick_task()
            if next_task is None:
                if self._budgets.queues.promises:
                    self._budgets.queues.lapse_promises()
                return
            run_id, index, lane = next_task
            run = engine.runs[run_id]
            if run.state.state[index] is not _READY:
                queue.release_slots(run_id, lane)
                continue
            try:
                if money_waiters and self._budgets.must_line_up(run, index, now):
                    queue.release_slots(run_id, lane)
                else:
                    self._start_task(run, index, now)
            except Exception as error:
                self._handlers.set_apart_run(run, error, now)
        engine.has_unpicked = True

    def _start_task(self, run: ActiveRun, index: int, now: Micros) -> None:
        """Take a task that has its slots past the other gates, and record the intent to call."""
        state = run.state
        node = state.graph.nodes[index]
        if node.control_flow is not None and not self._preparation.check_approval(run, index, now):
            self._queue.release_slots(run.id, state.graph.lanes[index])
            return
        key, attempt = state.graph.keys[index], state.attempts[index] + 1
        intent = ev.TaskStarted(
            at=now, task=key, attempt=attempt, agent=node.agent.name, key=run.key_for(key)
        )
        call = self._preview_call(run, index, intent)
        grant = FREE_GRANT if call is None else self._check_budget(run, index, call, intent)
        if grant is None:
            self._queue.release_slots(run.id, state.graph.lanes[index])
            return
        if node.endpoint in self._rate_limits.gates and not self._acquire_rate_limit(
            run, index, call, intent
        ):
            return
        # Only now: a call that the rate limit delays must not hold money.
        if grant is not FREE_GRANT or state.holds:
            superseded = self._budgets.reserve_hold(run, index, attempt, grant)
            intent = msgspec.structs.replace(
                intent, hold=grant.amount, over=superseded, max_tokens=grant.max_tokens
            )
        if call is not None and grant.max_tokens is not None:
            call = msgspec.structs.replace(call, max_tokens=grant.max_tokens)
        run.prepared_call = call
        self._engine.breakers.record_start(node.endpoint, now)
        run.intent = intent
        self._handlers.apply_event(run, intent, now)

    def _preview_call(self, run: ActiveRun, index: int, intent: ev.TaskStarted) -> Call | None:
        """The call, if a gate needs its cost or its size.

        None also if its parameters cannot be evaluated: that fails the task when it is called.
        """
        if not self._budgets.can_cost(run, index):
            endpoint = run.state.graph.nodes[index].endpoint
            if endpoint not in self._rate_limits.gates or not self._rate_limits.counts_tokens(
                endpoint
            ):
                return None
        try:
            return build_call(run, index, intent)
        except ExpressionError:
            return None

    def _check_budget(
        self, run: ActiveRun, index: int, call: Call, intent: ev.TaskStarted
    ) -> Grant | None:
        """What may be reserved for a call; None if the call does not start now."""
        if not self._budgets.can_cost(run, index):
            return FREE_GRANT
        decision = self._budgets.check_hold(run, index, call, intent.at)
        if isinstance(decision, Grant):
            return decision
        if not isinstance(decision, MustWait):
            self._fail_or_block(run, index, call, decision, intent.at)
        return None

    def _acquire_rate_limit(
        self, run: ActiveRun, index: int, call: Call | None, intent: ev.TaskStarted
    ) -> bool:
        """Whether the endpoint's rate limit admits a call now.

        If not, the task is the next of its lane when the limit admits calls again.
        """
        node, graph = run.state.graph.nodes[index], run.state.graph
        quoter = self._engine.quoter
        tokens = 0
        if (
            call is not None
            and quoter is not None
            and self._rate_limits.counts_tokens(node.endpoint)
        ):
            tokens = quoter.estimate_tokens(node.agent, call)
        call_id = (run.id, intent.task, intent.attempt)
        wait = self._rate_limits.admit_call(node.endpoint, call_id, tokens, intent.at)
        if wait == NotAdmitted.NEVER:
            self._queue.release_slots(run.id, graph.lanes[index])
            message = (
                f"the call needs about {tokens:,} tokens, more than agent '{node.agent.name}' may "
                "use in a minute: make the call smaller (max_tokens counts), or raise "
                "tokens_per_minute"
            )
            self._handlers.apply_event(
                run, task_faulted_event(intent.at, intent.task, TOO_LARGE, message), intent.at
            )
        elif wait:
            rank = run.rank_of(index)
            self._queue.put_back_task(run.id, index, graph.lanes[index], node.priority, rank)
        return not wait

    def _fail_or_block(
        self,
        run: ActiveRun,
        index: int,
        call: Call,
        decision: LimitExceeded | UnpricedCall,
        now: Micros,
    ) -> None:
        """The call cannot be made under its budgets: fail the task, or block it, by its policy."""
        key, agent = run.state.graph.keys[index], run.agent_of(index)
        if isinstance(decision, UnpricedCall):
            quoter = self._engine.quoter
            why = "" if quoter is None else quoter.explain_unpriced(agent, call)
            message = describe_unpriced(agent.name, decision.scope, why)
            event: ev.RunEvent = task_faulted_event(now, key, UNPRICED, message)
            self._handlers.apply_event(run, event, now)
            return
        message = _describe_shortfall(decision)
        if decision.policy is OnExceeded.FAIL:
            event = task_faulted_event(now, key, BUDGET_EXCEEDED, message)
            self._handlers.apply_event(run, event, now)
            return
        event = ev.TaskBlocked(
            at=now,
            task=key,
            reason=BUDGET_REASONS[decision.policy is OnExceeded.ASK],
            detail=message,
            scope=decision.scope,
            amount=decision.amount,
        )
        self._handlers.apply_event(run, event, now)
        self._budgets.block_task(run, index, now)


def describe_unpriced(agent: str, scope: str, why: str) -> str:
    """The error about a call without a known worst case, under a limit of ``scope``."""
    reason = why or "give the agent or the task a max_cost"
    return f"the cost of a call of agent '{agent}' is unknown, and {scope} has a limit: {reason}"


def _describe_shortfall(exceeded: LimitExceeded) -> str:
    if exceeded.frozen:
        return (
            f"{exceeded.scope} is frozen because a call cost more than was reserved for it: set "
            "its limit again"
        )
    return (
        f"the call may cost {format_dollars(exceeded.amount)}, which is "
        f"{format_dollars(exceeded.shortfall)} more than is "
        f"left of {exceeded.scope}"
    )
