"""The ledger: what was captured and what is held, for every scope that money is spent in.

A hold is the worst case of a call, put aside before the call is made; a capture is what it cost.
``captured + held`` never passes a scope's limit by a hold: `fits` looks at every scope before
`hold` touches one. Only a provider that reports more than it was allowed can pass it, and then the
scope takes no more holds until somebody sets its limit again. Amounts are nano-dollars. Pure: knows
no runs and no clock; what changes is noted as entries, which go to disk with the facts behind them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from agenthive.core.journal.records import Entry, Standing
from agenthive.core.values import NanoUSD

ALERTS: Final = (50, 80, 95)
"""Per cent of a limit that are told when they are captured."""


class Account:
    """One scope. ``pending`` is the part of ``held`` whose calls are under way.

    The rest of it is in doubt: nobody knows what those calls cost. ``own`` is the limit that
    somebody set, ``given`` what files say without that; None is no limit.
    """

    __slots__ = ("captured", "frozen", "given", "held", "own", "pending", "scope")

    def __init__(self, scope: str, own: NanoUSD | None = None) -> None:
        self.scope = scope
        self.own = own
        self.given: NanoUSD | None = None
        self.captured: NanoUSD = 0
        self.held: NanoUSD = 0
        self.pending: NanoUSD = 0
        self.frozen = False

    @property
    def limit(self) -> NanoUSD | None:
        """The limit that counts."""
        return self.given if self.own is None else self.own

    def takes(self, amount: NanoUSD) -> bool:
        """Whether a hold of that much fits."""
        return self.limit is None or (not self.frozen and self.short(amount) <= 0)

    def short(self, amount: NanoUSD) -> NanoUSD:
        """By how much a hold of ``amount`` does not fit; 0 or less if it does."""
        limit = self.limit
        return 0 if limit is None else self.captured + self.held + amount - limit

    def crossed(self, before: NanoUSD) -> int:
        """The highest per cent of the limit that was captured since ``before``; 0 for none."""
        limit = self.limit
        if not limit:
            return 0
        passed = [p for p in ALERTS if before * 100 < p * limit <= self.captured * 100]
        return max(passed, default=0)


class Settled(msgspec.Struct, frozen=True):
    """What a capture led to: scopes with the per cent that were crossed, and those now frozen."""

    alerts: list[tuple[str, int]]
    frozen: list[str]


class Ledger:
    """All accounts, by scope."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self._entries: dict[tuple[str, str], list[NanoUSD]] = {}
        self._standings: dict[str, Account] = {}

    def remember(self, standing: Standing) -> None:
        """Take in an account from before the restart: what it holds is in doubt until it is not."""
        account = self.accounts[standing.scope] = Account(standing.scope, standing.limit)
        account.captured, account.held = standing.captured, standing.held
        account.frozen = standing.frozen

    def account(self, scope: str, given: NanoUSD | None = None) -> Account:
        """The account of a scope, made if need be, with the limit that files give it."""
        account = self.accounts.get(scope)
        if account is None:
            account = self.accounts[scope] = Account(scope)
        account.given = given
        return account

    def lacks(self, scopes: Iterable[str], amount: NanoUSD) -> list[Account]:
        """Those of the scopes that do not take a hold of ``amount``."""
        found = [self.accounts[scope] for scope in scopes]
        return [account for account in found if not account.takes(amount)]

    def hold(self, run: str, scopes: Iterable[str], amount: NanoUSD) -> None:
        """Put that much aside in every scope, for a call of ``run``. Look at `lacks` first."""
        for scope in scopes:
            account = self.accounts[scope]
            account.held += amount
            account.pending += amount
            self._note(run, scope, 0, amount)

    def doubt(self, scopes: Iterable[str], amount: NanoUSD) -> None:
        """The call has ended, and nobody knows what it cost: what it holds stays held."""
        for scope in scopes:
            self.accounts[scope].pending -= amount

    def settle(
        self, run: str, scopes: Iterable[str], held: NanoUSD, cost: NanoUSD, *, pending: bool
    ) -> Settled:
        """A hold becomes what its call cost, in every scope. ``pending``: it was not in doubt."""
        alerts, frozen = list[tuple[str, int]](), list[str]()
        for scope in scopes:
            account = self.accounts[scope]
            before = account.captured
            account.held -= held
            account.captured += cost
            if pending:
                account.pending -= held
            self._note(run, scope, cost, -held)
            percent = account.crossed(before)
            if percent:
                alerts.append((scope, percent))
            if cost > held and account.short(0) > 0 and not account.frozen:
                account.frozen = True
                self._standings[scope] = account
                frozen.append(scope)
        return Settled(alerts, frozen)

    def set_limit(self, account: Account, limit: NanoUSD | None) -> None:
        """Somebody sets the limit of a scope, which takes holds again if it was frozen."""
        account.own, account.frozen = limit, False
        self._standings[account.scope] = account

    def release(self, run: str, scopes: Iterable[str], amount: NanoUSD) -> None:
        """What is held in doubt is not any more; a negative amount is held again."""
        for scope in scopes:
            self.accounts[scope].held -= amount
            self._note(run, scope, 0, -amount)

    def correct(self, run: str, scopes: Iterable[str], cost: NanoUSD) -> None:
        """What was captured is that much more, or less; what is held stays."""
        for scope in scopes:
            self.accounts[scope].captured += cost
            self._note(run, scope, cost, 0)

    def forget(self, run: str, scopes: Iterable[str], amount: NanoUSD) -> None:
        """A hold of a run that was never accepted: as if it had not been."""
        for scope in scopes:
            account = self.accounts[scope]
            account.held -= amount
            account.pending -= amount
            self._entries.pop((run, scope), None)

    def entries(self) -> tuple[list[Entry], list[Standing]]:
        """What has changed since this was asked last: to be added, and limits that were set."""
        moved = [
            Entry(run=run, scope=scope, captured=captured, held=held)
            for (run, scope), (captured, held) in self._entries.items()
            if captured or held
        ]
        stood = [
            Standing(scope=a.scope, limit=a.own, frozen=a.frozen) for a in self._standings.values()
        ]
        self._entries, self._standings = {}, {}
        return moved, stood

    def _note(self, run: str, scope: str, captured: NanoUSD, held: NanoUSD) -> None:
        entry = self._entries.get((run, scope))
        if entry is None:
            self._entries[run, scope] = [captured, held]
        else:
            entry[0] += captured
            entry[1] += held
