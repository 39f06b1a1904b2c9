"""What the driver does about money: calls that fit the budget start, others wait, ask or fail.

The arithmetic is `treasury`'s; here its answers become facts. What people say about budgets comes
in here, too. Nothing is put aside, captured or given back anywhere else but where a call ends.
"""

from __future__ import annotations

from agenthive.core.budget.holds import BUDGET_EXCEEDED, BUDGET_REASONS
from agenthive.core.budget.scopes import run_of
from agenthive.core.engine import actions as act
from agenthive.core.engine.active_run import ActiveRun
from agenthive.core.engine.budgets import FREE_GRANT, Grant, LimitExceeded, MustWait, UnpricedCall
from agenthive.core.engine.call_builder import build_call
from agenthive.core.engine.command_handlers import CommandHandlers
from agenthive.core.engine.human_input import ApprovalDecision, budget_request_digest
from agenthive.core.engine.step_evaluation import task_faulted_event
from agenthive.core.journal import run_events as ev
from agenthive.core.model.calls import Call
from agenthive.core.model.states import TaskState
from agenthive.core.model.workflow import OnExceeded
from agenthive.core.policies.rate_limit import NotAdmitted
from agenthive.core.values import Micros, NanoUSD, format_dollars
from agenthive.errors import Conflict, ExpressionError, NotFound

UNPRICED = "unpriced"
TOO_LARGE = "too_large"


class Admission(CommandHandlers):
    """The part of a driver that knows what things cost."""

    # Before a call.

    def _preview_call(self, run: ActiveRun, index: int, intent: ev.TaskStarted) -> Call | None:
        """The call, if its cost or its size matters; None also if it cannot be made."""
        if not self.budgets.can_cost(run, index):
            endpoint = run.state.graph.nodes[index].endpoint
            if endpoint not in self.rate_limits.gates or not self.rate_limits.counts_tokens(
                endpoint
            ):
                return None
        try:
            return build_call(run, index, intent)
        except ExpressionError:
            return None  # it will not be made, and says so itself

    def _check_budget(
        self, run: ActiveRun, index: int, call: Call, intent: ev.TaskStarted
    ) -> Grant | None:
        """What may be put aside for a call; None if it does not start now."""
        if not self.budgets.can_cost(run, index):
            return FREE_GRANT
        decision = self.budgets.check_hold(run, index, call, intent.at)
        if isinstance(decision, Grant):
            return decision
        if not isinstance(decision, MustWait):
            self._fail_or_block(run, index, decision, intent.at)
        return None

    def _acquire_rate_limit(
        self, run: ActiveRun, index: int, call: Call | None, intent: ev.TaskStarted
    ) -> bool:
        """Whether a gate lets a call start; if not, it is next again when it does."""
        node, graph = run.state.graph.nodes[index], run.state.graph
        tokens = 0
        if (
            call is not None
            and self._quoter is not None
            and self.rate_limits.counts_tokens(node.endpoint)
        ):
            tokens = self._quoter.estimate_tokens(node.agent, call)
        call_id = (run.id, intent.task, intent.attempt)
        wait = self.rate_limits.admit_call(node.endpoint, call_id, tokens, intent.at)
        if wait == NotAdmitted.NEVER:
            self.queue.release_slots(run.id, graph.lanes[index])
            message = (
                f"a call of about {tokens:,} tokens is more than agent '{node.agent.name}' may "
                "have in a minute: make it smaller (max_tokens counts), or raise tokens_per_minute"
            )
            self._apply_event(
                run, task_faulted_event(intent.at, intent.task, TOO_LARGE, message), intent.at
            )
        elif wait:
            rank = run.rank_of(index)
            self.queue.put_back_task(run.id, index, graph.lanes[index], node.priority, rank)
        return not wait

    def _fail_or_block(
        self, run: ActiveRun, index: int, decision: LimitExceeded | UnpricedCall, now: Micros
    ) -> None:
        key, agent = run.state.graph.keys[index], run.agent_of(index)
        if isinstance(decision, UnpricedCall):
            message = (
                f"nobody knows what a call of agent '{agent.name}' may cost, and "
                f"{decision.scope} has "
                "a limit: give it a max_cost, or a price in the settings, or a default price"
            )
            self._apply_event(run, task_faulted_event(now, key, UNPRICED, message), now)
            return
        message = _describe_shortfall(decision)
        if decision.policy is OnExceeded.FAIL:
            self._apply_event(run, task_faulted_event(now, key, BUDGET_EXCEEDED, message), now)
            return
        reason = BUDGET_REASONS[decision.policy is OnExceeded.ASK]
        blocked = ev.TaskBlocked(
            at=now,
            task=key,
            reason=reason,
            detail=message,
            scope=decision.scope,
            amount=decision.amount,
        )
        self._apply_event(run, blocked, now)
        self.budgets.block_task(run, index, now)

    def _wake_budget_waiters(self, now: Micros) -> None:
        """Look again at those for whom something may have come free."""
        for run_id, index in self.budgets.take_woken_waiters(now):
            active_run = self.runs.get(run_id)
            if active_run is None:
                continue
            if active_run.state.state[index] is TaskState.READY:
                self._offer_task(active_run, index, now)
            elif active_run.state.blocked.get(index, ("",))[0] in BUDGET_REASONS:
                key = active_run.state.graph.keys[index]
                self._apply_event(active_run, ev.TaskUnblocked(at=now, task=key), now)

    def _settle_overdue_holds(self, now: Micros) -> None:
        for run, event in self.budgets.take_overdue_holds(now):
            index = run.state.graph.index[event.task]
            self._book_cost(run, index, event.attempt, event.cost, now, under_way=False)
            self._apply_event(run, event, now)

    # What people say.

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
        """Somebody sets the limit of a scope, or adds to it. None: as files say.

        Raises Conflict if it has no limit to add to.
        """
        now = self._advance_clock(now)
        if add:
            limit = self.budgets.limit_of(scope)
            if limit is None or amount is None:
                raise Conflict(f"{scope} has no limit", hint="Set one: agenthive budget set.")
            amount = limit + amount
        self._set_limit(now, scope, amount, actor, reason)
        self._outbox.actions.append(act.AcknowledgeRequest(token, about=run_of(scope)))

    def _set_limit(
        self, now: Micros, scope: str, limit: NanoUSD | None, actor: str, reason: str
    ) -> None:
        event = ev.BudgetSet(
            at=now, scope=scope, limit=limit, run=run_of(scope), actor=actor, reason=reason
        )
        self._outbox.hive_events.append(event)
        self.budgets.set_limit(scope, limit)

    def settle_hold(
        self,
        now: Micros,
        run_id: str,
        task: str,
        attempt: int | None,
        cost: NanoUSD,
        actor: str,
        reason: str,
        token: int,
    ) -> None:
        """Somebody says what a call cost whose cost is in doubt. Raises RunNotFound, NotFound."""
        active_run, now = self._get_open_run(run_id), self._advance_clock(now)
        state = active_run.state
        index = state.graph.index.get(task)
        doubtful_attempts = [
            held_attempt
            for held_index, held_attempt in state.holds
            if held_index == index
            and attempt in (None, held_attempt)
            and not state.is_call_running(held_index, held_attempt)
        ]
        if index is None or not doubtful_attempts:
            raise NotFound(
                f"run {run_id}: no call of task '{task}' is in doubt",
                hint=f"See them: agenthive budget show {run_id}",
            )
        event = ev.HoldSettled(
            at=now, task=task, attempt=doubtful_attempts[0], cost=cost, actor=actor, reason=reason
        )
        self._book_cost(active_run, index, doubtful_attempts[0], cost, now, under_way=False)
        self._apply_event(active_run, event, now)
        self._outbox.actions.append(act.AcknowledgeRequest(token, about=run_id))

    def _answer_budget_request(
        self, run: ActiveRun, task: str, decision: ApprovalDecision, now: Micros, token: int
    ) -> bool:
        """Somebody agrees to a higher limit, or does not; False if that was not the question."""
        index = run.state.graph.index.get(task)
        if index is None or run.state.blocked.get(index, ("",))[0] != BUDGET_REASONS[1]:
            return False
        if not budget_request_digest(run.state, index).startswith(decision.digest):
            raise Conflict("the answer is about another amount", hint="See: agenthive approvals")
        scope, limit = self.budgets.sufficient_limit(run, index)
        if decision.approved:
            reason = decision.comment or f"asked by {run.id}/{task}"
            self._set_limit(now, scope, limit, decision.actor, reason)
            self._wake_budget_waiters(now)
        else:
            comment = f": {decision.comment}" if decision.comment else ""
            message = f"{decision.actor} agreed to no more money{comment}"
            self._apply_event(run, task_faulted_event(now, task, BUDGET_EXCEEDED, message), now)
        self._outbox.actions.append(act.AcknowledgeRequest(token, about=run.id))
        return True


def _describe_shortfall(exceeded: LimitExceeded) -> str:
    if exceeded.frozen:
        return f"{exceeded.scope} is frozen: a call cost more than it was to. Set its limit again"
    return (
        f"the call may cost {format_dollars(exceeded.amount)}, which is "
        f"{format_dollars(exceeded.shortfall)} more than is "
        f"left of {exceeded.scope}"
    )
