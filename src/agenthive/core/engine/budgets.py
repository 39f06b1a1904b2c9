"""Who pays for a call: the scopes it is spent from, what is put aside for it, and who waits for it.

A call is spent from every scope around it at once: its task, its agent and its run, those of the
runs above, then the agent, the tenant and the day. What may be asked of it is what the driver does
with money; what it tells back are decisions and facts of the hive's stream. Never calls anybody,
never reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from heapq import heappop, heappush
from typing import Final, TypeAlias

import msgspec

from agenthive.core.budget.holds import DAY
from agenthive.core.budget.ledger import Account, Ledger, Settled
from agenthive.core.budget.scopes import run_of, written
from agenthive.core.engine.active_run import Live
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Standing
from agenthive.core.model.calls import Call, Usage
from agenthive.core.model.states import CLOSED, TaskState
from agenthive.core.model.workflow import Effect, OnExceeded
from agenthive.core.ports import Quoter
from agenthive.core.values import Micros, NanoUSD

Waiter: TypeAlias = tuple[str, int]
"""A run, and the index of its task."""


class Granted(msgspec.Struct, frozen=True):
    """The call may be made, spent from ``scopes``. ``max_tokens``: its answer was cut to that."""

    amount: NanoUSD = 0
    scopes: tuple[str, ...] = ()
    max_tokens: int | None = None


class Waits(msgspec.Struct, frozen=True):
    """Other calls hold what it needs: it is looked at again when one of them has ended."""

    scope: str


class Exceeded(msgspec.Struct, frozen=True):
    """The scope has less left than the call may cost, whatever becomes of other calls."""

    scope: str
    amount: NanoUSD
    short: NanoUSD
    frozen: bool
    policy: OnExceeded


class Unpriced(msgspec.Struct, frozen=True):
    """There is a limit, and nobody knows what the call may cost."""

    scope: str


Decision: TypeAlias = Granted | Waits | Exceeded | Unpriced
FREE: Final = Granted()


def day_of(at: Micros) -> int:
    """The number of the UTC day."""
    return at // DAY


class Treasury:
    """The budgets of a hive. ``limits`` are those of all runs, by ``tenant``, ``day``, ``agent N``.

    ``runs`` are those that are open, ``quoter`` knows what calls cost at most.
    """

    def __init__(
        self,
        runs: Mapping[str, Live],
        quoter: Quoter | None = None,
        limits: Mapping[str, NanoUSD] | None = None,
    ) -> None:
        self.ledger = Ledger()
        self._runs, self._quoter, self._limits = runs, quoter, dict(limits or {})
        self._lines: dict[str, dict[Waiter, NanoUSD]] = {}
        self._blocked: dict[Waiter, str] = {}
        self._overdue: list[tuple[Micros, str, int, int]] = []
        self._roused: list[Waiter] = []
        self._day = 0

    def remember(self, standings: Iterable[Standing]) -> None:
        """Take in the accounts from before the restart, before any run."""
        for standing in standings:
            self.ledger.remember(standing)

    # Before a call.

    def prices(self, live: Live, index: int) -> bool:
        """Whether the call of a task can cost anything."""
        node = live.state.graph.nodes[index]
        agent = node.agent
        # Asked for every task, and the same for all that one agent does.
        priced = live.priced.get(agent.name)
        if priced is None:
            priced = self._quoter is not None and self._quoter.priced(agent)
            live.priced[agent.name] = priced = priced or agent.max_cost is not None
        return priced or (node.task is not None and node.task.max_cost is not None)

    def ask(self, live: Live, index: int, call: Call, now: Micros) -> Decision:
        """Whether a call may be made, as things stand. Nothing is put aside yet."""
        amount = self._worst(live, index, call)
        scopes = self.scopes(live, index, now)
        if amount is None:
            accounts = [self.ledger.accounts[scope] for scope in scopes]
            limited = next((one.scope for one in accounts if one.limit is not None), None)
            return FREE if limited is None else Unpriced(limited)
        freed = self._freed(live, index, back=False)
        lacks = self.ledger.lacks(scopes, amount)
        wanted = Granted(amount, scopes)
        found = self._decided(live, index, call, wanted, lacks) if lacks else wanted
        if freed:
            self._freed(live, index, back=True)
        return found

    def _decided(
        self, live: Live, index: int, call: Call, wanted: Granted, lacks: list[Account]
    ) -> Decision:
        """What becomes of a call that some of its scopes have too little for."""
        amount = wanted.amount
        busy = next((one for one in lacks if one.pending > 0), None)
        stuck = next((one for one in lacks if one.pending <= 0), None)
        shrinks = self._shrinks(live, index)
        if busy is not None and (stuck is None or shrinks):
            self._lines.setdefault(busy.scope, {})[live.run, index] = amount
            return Waits(busy.scope)
        assert stuck is not None
        room = min(-one.short(0) for one in lacks)
        if shrinks and room > 0 and self._quoter is not None:
            cut = self._quoter.cut(live.agent(index), call, room)
            if cut is not None:
                return Granted(cut[1], wanted.scopes, cut[0])
        policy = self._policy(live)
        return Exceeded(stuck.scope, amount, stuck.short(amount), stuck.frozen, policy)

    def hold(self, live: Live, index: int, attempt: int, granted: Granted) -> tuple[int, ...]:
        """Put aside what a call may cost, before its intent; the attempts that it takes over."""
        over = taken_over(live, index)
        if over:
            self._freed(live, index, back=False)
            for old in over:
                live.purses.pop((index, old), None)
        if granted.amount:
            self.ledger.hold(live.run, granted.scopes, granted.amount)
            live.purses[index, attempt] = granted.scopes
        return over

    def _worst(self, live: Live, index: int, call: Call) -> NanoUSD | None:
        declared = _declared(live, index)
        if declared is not None:
            return declared
        assert self._quoter is not None
        return self._quoter.worst(live.agent(index), call)

    def _freed(self, live: Live, index: int, *, back: bool) -> bool:
        """Give up what a call takes over, or put it back; whether there is any."""
        attempts = taken_over(live, index)
        for attempt in attempts:
            amount = live.state.holds[index, attempt].amount
            scopes = self.purse(live, index, attempt, 0)
            self.ledger.release(live.run, scopes, -amount if back else amount)
        return bool(attempts)

    def _shrinks(self, live: Live, index: int) -> bool:
        """Whether the call's answer may be cut to what is left."""
        budget = live.state.graph.spec.budget
        return budget is not None and budget.shrink and _declared(live, index) is None

    def _policy(self, live: Live) -> OnExceeded:
        """What the nearest run that has a budget says; without one, the task fails."""
        budgets = (one.state.graph.spec.budget for one, _ in self._upwards(live))
        return next((b.on_exceeded for b in budgets if b is not None), OnExceeded.FAIL)

    def _upwards(self, live: Live) -> Iterator[tuple[Live, int | None]]:
        """The run and those above it, each with that task of its which the one below is."""
        above: Live | None = live
        task: int | None = None
        while above is not None:
            yield above, task
            parent = above.state.parent
            above = None if parent is None else self._runs.get(parent.run)
            if above is not None and parent is not None:
                task = above.state.graph.index[parent.task]

    # Scopes.

    def scopes(self, live: Live, index: int, at: Micros) -> tuple[str, ...]:
        """What a call of that time is spent from, the narrowest first."""
        state = live.state
        tenant, agent = state.tenant, live.agent(index)
        found = [*self._of_task(live, index)]
        if agent.cost_limit is not None:
            found.append(self._scope(f"run {live.run} agent {agent.name}", agent.cost_limit))
        found += self._of_run(live)
        named = self._limits.get(f"agent {agent.name}")
        found.append(self._scope(f"agent {tenant}/{agent.name}", named))
        found.append(self._scope(f"tenant {tenant}", self._limits.get("tenant")))
        every = self.ledger.accounts.get(f"day {tenant}")
        daily = self._limits.get("day") if every is None or every.own is None else every.own
        found.append(self._scope(f"day {tenant}/{day_of(at)}", daily))
        return tuple(found)

    def _of_task(self, live: Live, index: int) -> list[str]:
        task = live.state.graph.nodes[index].task
        if task is None or task.cost_limit is None:
            return []
        return [self._scope(f"run {live.run} task {task.name}", task.cost_limit)]

    def _of_run(self, live: Live) -> list[str]:
        """The run, and what the task that it is is spent from, all the way up."""
        found = list[str]()
        for one, task in self._upwards(live):
            if task is not None:
                found += self._of_task(one, task)
            budget = one.state.graph.spec.budget
            found.append(self._scope(f"run {one.run}", None if budget is None else budget.limit))
        return found

    def _scope(self, scope: str, given: NanoUSD | None) -> str:
        self.ledger.account(scope, given)
        return scope

    def purse(self, live: Live, index: int, attempt: int, now: Micros) -> tuple[str, ...]:
        """What the call of that attempt is spent from."""
        known = live.purses.get((index, attempt))
        if known is not None:
            return known
        hold = live.state.holds.get((index, attempt))
        return self.scopes(live, index, now if hold is None else hold.at)

    # After a call.

    def pay(
        self, live: Live, index: int, attempt: int, cost: NanoUSD | None, now: Micros,
        *, pending: bool,
    ) -> list[ev.HiveEvent]:  # fmt: skip
        """Book what a call cost (None: nobody knows), before its end is applied.

        ``pending``: it was under way until now. Gives what the hive's stream has to tell of it.
        """
        told: list[ev.HiveEvent] = []
        hold = live.state.holds.get((index, attempt))
        if hold is None and not cost:
            return told
        scopes = self.purse(live, index, attempt, now)
        amount = 0 if hold is None else hold.amount
        if cost is None:
            self.ledger.doubt(scopes, amount)
            self.worry(live, index, attempt)
        else:
            live.purses.pop((index, attempt), None)
            settled = self.ledger.settle(live.run, scopes, amount, cost, pending=pending)
            told += self._alerts(live, index, settled, now)
            if cost > amount and (hold is not None or settled.frozen):
                breached = ev.BudgetBreached(
                    at=now, run=live.run, task=live.state.graph.keys[index], attempt=attempt,
                    over=cost - amount, frozen=settled.frozen,
                )  # fmt: skip
                told.append(breached)
        self._rouse(scopes)
        return told

    def _alerts(
        self, live: Live, index: int, settled: Settled, now: Micros
    ) -> Iterator[ev.BudgetAlerted]:
        for scope, percent in settled.alerts:
            account = self.ledger.accounts[scope]
            assert account.limit is not None
            yield ev.BudgetAlerted(
                at=now,
                scope=scope,
                percent=percent,
                captured=account.captured,
                limit=account.limit,
                run=live.run,
                task=live.state.graph.keys[index],
            )

    def worry(self, live: Live, index: int, attempt: int) -> None:
        """What a call cost is in doubt: a day after it was made, it cost what is held."""
        hold = live.state.holds[index, attempt]
        heappush(self._overdue, (hold.at + DAY, live.run, index, attempt))

    def purses(self, live: Live, now: Micros) -> dict[tuple[int, int], tuple[str, ...]]:
        """What each call of a run that has not said what it used is spent from."""
        return {call: self.purse(live, *call, now) for call in live.state.unpaid}

    def correct(self, run: str, scopes: tuple[str, ...], booked: NanoUSD, usage: Usage) -> None:
        """A call of a run that has ended says what it cost after all."""
        cost = booked if usage.cost is None else usage.cost
        self.ledger.correct(run, scopes, cost - booked)
        self._rouse(scopes)

    def forget(self, live: Live) -> None:
        """A run that was never accepted: what its calls hold is free."""
        for (index, attempt), hold in live.state.holds.items():
            scopes = self.purse(live, index, attempt, 0)
            self.ledger.forget(live.run, scopes, hold.amount)
            self._rouse(scopes)

    # Who waits.

    def block(self, live: Live, index: int, now: Micros) -> bool:
        """A task waits until its call fits the scope it lacks, or the scope's next day begins.

        Not if it fits by now.
        """
        scope, amount = live.state.lacks[index]
        scopes = self.scopes(live, index, now)
        if scope.startswith("day "):
            scope = scopes[-1]
        if (account := self.ledger.accounts.get(scope)) is None or account.takes(amount):
            return False
        self._blocked[live.run, index] = scope
        self._day = day_of(now)
        return True

    def enough(self, live: Live, index: int) -> tuple[str, NanoUSD]:
        """The scope that a blocked task lacks, and the limit with which its call fits."""
        scope, amount = live.state.lacks[index]
        account = self.ledger.accounts[scope]
        return scope, (account.limit or 0) + max(account.short(amount), 0)

    def waits_for(self, run: str, index: int) -> str:
        """The scope whose other calls a ready task waits for; empty if for none."""
        return next((scope for scope, line in self._lines.items() if (run, index) in line), "")

    def set_limit(self, scope: str, limit: NanoUSD | None) -> None:
        """Somebody sets the limit of a scope."""
        account = self.ledger.accounts.get(scope)
        if account is None:
            account = self.ledger.account(scope)
        self.ledger.set_limit(account, limit)
        # What is set for every day counts for those that there are already.
        dated = [name for name in self.ledger.accounts if _covers(scope, name)]
        for name in dated:
            if name != scope:
                self.ledger.account(name, self._limits.get("day") if limit is None else limit)
        self._rouse(dated)

    def limit_of(self, scope: str) -> NanoUSD | None:
        """The limit of a scope, which nobody need have spent from."""
        account = self.ledger.accounts.get(scope)
        if account is not None and account.own is not None:
            return account.own
        live = self._runs.get(run_of(scope))
        spec = None if live is None else live.state.graph.spec
        return written(scope, spec, self._limits)

    def _rouse(self, scopes: Iterable[str]) -> None:
        """Whoever may go on now: the first in the line, and all if nothing else is held."""
        for scope in scopes:
            line = self._lines.get(scope)
            if line:
                account = self.ledger.accounts[scope]
                room = -account.short(0)
                free = account.limit is None or account.pending <= 0
                for waiter, amount in list(line.items()):
                    if not self._is_ready(waiter):
                        del line[waiter]
                        continue
                    room -= amount
                    if room < 0 and not free:
                        break
                    del line[waiter]
                    self._roused.append(waiter)
            if self._blocked:
                self._unblock(scope)

    def _unblock(self, scope: str) -> None:
        """Those that are blocked for this scope, if it takes their calls now."""
        for waiter, lacking in list(self._blocked.items()):
            fits = self.ledger.accounts[lacking].takes(self._lack_of(waiter))
            if _covers(scope, lacking) and fits:
                del self._blocked[waiter]
                self._roused.append(waiter)

    def _await_tomorrow(self) -> list[Waiter]:
        """Those that lack money of today. What is more than a whole day's never fits one."""
        accounts = self.ledger.accounts
        return [
            waiter
            for waiter, scope in self._blocked.items()
            if scope.startswith("day ")
            and ((most := accounts[scope].limit) is None or self._lack_of(waiter) <= most)
        ]

    def _lack_of(self, waiter: Waiter) -> NanoUSD:
        live = self._runs.get(waiter[0])
        return 0 if live is None else live.state.lacks.get(waiter[1], ("", 0))[1]

    def _is_ready(self, waiter: Waiter) -> bool:
        live = self._runs.get(waiter[0])
        return live is not None and live.state.state[waiter[1]] is TaskState.READY

    def roused(self, now: Micros) -> list[Waiter]:
        """Those to be looked at again, once."""
        if self._blocked and day_of(now) > self._day:
            for waiter in self._await_tomorrow():
                del self._blocked[waiter]
                self._roused.append(waiter)
            self._day = day_of(now)
        found, self._roused = self._roused, []
        return found

    @property
    def has_roused(self) -> bool:
        """Whether somebody is to be looked at again."""
        return bool(self._roused)

    def overdue(self, now: Micros) -> list[tuple[Live, ev.HoldSettled]]:
        """What nobody has told the cost of for a day: it cost what is held."""
        found = []
        while self._overdue and self._overdue[0][0] <= now:
            _, run, index, attempt = heappop(self._overdue)
            live = self._runs.get(run)
            if live is None or (index, attempt) not in live.state.holds:
                continue
            if live.state.status in CLOSED:
                continue  # its end in this very turn has booked it
            amount = live.state.holds[index, attempt].amount
            key, why = live.state.graph.keys[index], "nobody has said what it cost for a day"
            settled = ev.HoldSettled(
                at=now, task=key, attempt=attempt, cost=amount, actor="engine", reason=why
            )
            found.append((live, settled))
        return found

    def next_wake(self) -> Micros | None:
        """When something is due, though nothing is reported."""
        times = [self._overdue[0][0]] if self._overdue else []
        if self._blocked and self._await_tomorrow():
            times.append((self._day + 1) * DAY)
        return min(times, default=None)


def _declared(live: Live, index: int) -> NanoUSD | None:
    """What one call of a task costs at most, by what its workflow says."""
    node = live.state.graph.nodes[index]
    own = None if node.task is None else node.task.max_cost
    return node.agent.max_cost if own is None else own


def taken_over(live: Live, index: int) -> tuple[int, ...]:
    """The attempts whose holds the next one takes over: who honours keys charges a call once."""
    state = live.state
    if not state.holds or state.graph.nodes[index].effect is not Effect.KEYED:
        return ()
    return tuple([attempt for held, attempt in state.holds if held == index])


def _covers(scope: str, name: str) -> bool:
    """Whether what is set for ``scope`` counts for ``name``: every day for each one."""
    return name == scope or (scope.startswith("day ") and name.startswith(f"{scope}/"))
