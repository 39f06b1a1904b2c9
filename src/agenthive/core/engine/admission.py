"""What the driver does about money: calls that fit the budget start, others wait, ask or fail.

The arithmetic is `treasury`'s; here its answers become facts. What people say about budgets comes
in here, too. Nothing is put aside, captured or given back anywhere else but where a call ends.
"""

from __future__ import annotations

from agenthive.core.budget.holds import EXCEEDED, MONEY
from agenthive.core.budget.scopes import run_of
from agenthive.core.engine import actions as act
from agenthive.core.engine.active_run import Live
from agenthive.core.engine.budgets import FREE, Exceeded, Granted, Unpriced, Waits
from agenthive.core.engine.call_builder import made
from agenthive.core.engine.command_handlers import Obeying
from agenthive.core.engine.human_input import Verdict, digest_of_lack
from agenthive.core.engine.step_evaluation import faulted
from agenthive.core.journal import run_events as ev
from agenthive.core.model.calls import Call
from agenthive.core.model.states import TaskState
from agenthive.core.model.workflow import OnExceeded
from agenthive.core.policies.rate_limit import No
from agenthive.core.values import Micros, NanoUSD, dollars
from agenthive.errors import Conflict, ExpressionError, NotFound

UNPRICED = "unpriced"
TOO_LARGE = "too_large"


class Spending(Obeying):
    """The part of a driver that knows what things cost."""

    # Before a call.

    def _looked_at(self, live: Live, index: int, intent: ev.TaskStarted) -> Call | None:
        """The call, if its cost or its size matters; None also if it cannot be made."""
        if not self.money.prices(live, index):
            endpoint = live.state.graph.nodes[index].endpoint
            if endpoint not in self.limits.gates or not self.limits.sizes(endpoint):
                return None
        try:
            return made(live, index, intent)
        except ExpressionError:
            return None  # it will not be made, and says so itself

    def _afford(self, live: Live, index: int, call: Call, intent: ev.TaskStarted) -> Granted | None:
        """What may be put aside for a call; None if it does not start now."""
        if not self.money.prices(live, index):
            return FREE
        found = self.money.ask(live, index, call, intent.at)
        if isinstance(found, Granted):
            return found
        if not isinstance(found, Waits):
            self._refuse(live, index, found, intent.at)
        return None

    def _admitted(self, live: Live, index: int, call: Call | None, intent: ev.TaskStarted) -> bool:
        """Whether a gate lets a call start; if not, it is next again when it does."""
        node, graph = live.state.graph.nodes[index], live.state.graph
        tokens = 0
        if call is not None and self._quoter is not None and self.limits.sizes(node.endpoint):
            tokens = self._quoter.tokens(node.agent, call)
        number = (live.run, intent.task, intent.attempt)
        wait = self.limits.admit(node.endpoint, number, tokens, intent.at)
        if wait == No.NEVER:
            self.queue.release(live.run, graph.lanes[index])
            what = (
                f"a call of about {tokens:,} tokens is more than agent '{node.agent.name}' may "
                "have in a minute: make it smaller (max_tokens counts), or raise tokens_per_minute"
            )
            self._apply(live, faulted(intent.at, intent.task, TOO_LARGE, what), intent.at)
        elif wait:
            rank = live.rank_of(index)
            self.queue.put_back(live.run, index, graph.lanes[index], node.priority, rank)
        return not wait

    def _refuse(self, live: Live, index: int, lack: Exceeded | Unpriced, now: Micros) -> None:
        key, agent = live.state.graph.keys[index], live.agent(index)
        if isinstance(lack, Unpriced):
            what = (
                f"nobody knows what a call of agent '{agent.name}' may cost, and {lack.scope} has "
                "a limit: give it a max_cost, or a price in the settings, or a default price"
            )
            self._apply(live, faulted(now, key, UNPRICED, what), now)
            return
        what = _lacks(lack)
        if lack.policy is OnExceeded.FAIL:
            self._apply(live, faulted(now, key, EXCEEDED, what), now)
            return
        reason = MONEY[lack.policy is OnExceeded.ASK]
        blocked = ev.TaskBlocked(
            at=now, task=key, reason=reason, detail=what, scope=lack.scope, amount=lack.amount
        )
        self._apply(live, blocked, now)
        self.money.block(live, index, now)

    def _spend_again(self, now: Micros) -> None:
        """Look again at those for whom something may have come free."""
        for run, index in self.money.roused(now):
            live = self.runs.get(run)
            if live is None:
                continue
            if live.state.state[index] is TaskState.READY:
                self._offer(live, index, now)
            elif live.state.blocked.get(index, ("",))[0] in MONEY:
                key = live.state.graph.keys[index]
                self._apply(live, ev.TaskUnblocked(at=now, task=key), now)

    def _book_overdue(self, now: Micros) -> None:
        for live, fact in self.money.overdue(now):
            index = live.state.graph.index[fact.task]
            self._pay(live, index, fact.attempt, fact.cost, now, pending=False)
            self._apply(live, fact, now)

    # What people say.

    def set_budget(
        self, now: Micros, scope: str, amount: NanoUSD | None, actor: str, reason: str,
        token: int, *, add: bool = False,
    ) -> None:  # fmt: skip
        """Somebody sets the limit of a scope, or adds to it. None: as files say.

        Raises Conflict if it has no limit to add to.
        """
        now = self._clock(now)
        if add:
            limit = self.money.limit_of(scope)
            if limit is None or amount is None:
                raise Conflict(f"{scope} has no limit", hint="Set one: agenthive budget set.")
            amount = limit + amount
        self._set_limit(now, scope, amount, actor, reason)
        self._box.after.append(act.Acknowledge(token, about=run_of(scope)))

    def _set_limit(
        self, now: Micros, scope: str, limit: NanoUSD | None, actor: str, reason: str
    ) -> None:
        fact = ev.BudgetSet(
            at=now, scope=scope, limit=limit, run=run_of(scope), actor=actor, reason=reason
        )
        self._box.hive.append(fact)
        self.money.set_limit(scope, limit)

    def settle_hold(
        self, now: Micros, run: str, task: str, attempt: int | None, cost: NanoUSD, actor: str,
        reason: str, token: int,
    ) -> None:  # fmt: skip
        """Somebody says what a call cost whose cost is in doubt. Raises RunNotFound, NotFound."""
        live, now = self._open(run), self._clock(now)
        state = live.state
        index = state.graph.index.get(task)
        doubts = [
            tried
            for held, tried in state.holds
            if held == index and attempt in (None, tried) and not state.under_way(held, tried)
        ]
        if index is None or not doubts:
            raise NotFound(
                f"run {run}: no call of task '{task}' is in doubt",
                hint=f"See them: agenthive budget show {run}",
            )
        fact = ev.HoldSettled(
            at=now, task=task, attempt=doubts[0], cost=cost, actor=actor, reason=reason
        )
        self._pay(live, index, doubts[0], cost, now, pending=False)
        self._apply(live, fact, now)
        self._box.after.append(act.Acknowledge(token, about=run))

    def _answer_about_money(
        self, live: Live, task: str, verdict: Verdict, now: Micros, token: int
    ) -> bool:
        """Somebody agrees to a higher limit, or does not; False if that was not the question."""
        index = live.state.graph.index.get(task)
        if index is None or live.state.blocked.get(index, ("",))[0] != MONEY[1]:
            return False
        if not digest_of_lack(live.state, index).startswith(verdict.digest):
            raise Conflict("the answer is about another amount", hint="See: agenthive approvals")
        scope, limit = self.money.enough(live, index)
        if verdict.approved:
            reason = verdict.comment or f"asked by {live.run}/{task}"
            self._set_limit(now, scope, limit, verdict.actor, reason)
            self._spend_again(now)
        else:
            comment = f": {verdict.comment}" if verdict.comment else ""
            what = f"{verdict.actor} agreed to no more money{comment}"
            self._apply(live, faulted(now, task, EXCEEDED, what), now)
        self._box.after.append(act.Acknowledge(token, about=live.run))
        return True


def _lacks(lack: Exceeded) -> str:
    if lack.frozen:
        return f"{lack.scope} is frozen: a call cost more than it was to. Set its limit again"
    return (
        f"the call may cost {dollars(lack.amount)}, which is {dollars(lack.short)} more than is "
        f"left of {lack.scope}"
    )
