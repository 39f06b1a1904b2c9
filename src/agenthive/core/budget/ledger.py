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

from agenthive.core.journal.records import AccountState, LedgerEntry
from agenthive.core.values import NanoUSD

ALERT_PERCENTS: Final = (50, 80, 95)
"""Per cent of a limit that are told when they are captured."""


class Account:
    """One scope. ``pending`` is the part of ``held`` whose calls are under way.

    The rest of it is in doubt: nobody knows what those calls cost. ``explicit_limit`` is the limit
    that somebody set, ``file_limit`` what files say without that; None is no limit.
    """

    __slots__ = ("captured", "explicit_limit", "file_limit", "frozen", "held", "pending", "scope")

    def __init__(self, scope: str, explicit_limit: NanoUSD | None = None) -> None:
        self.scope = scope
        self.explicit_limit = explicit_limit
        self.file_limit: NanoUSD | None = None
        self.captured: NanoUSD = 0
        self.held: NanoUSD = 0
        self.pending: NanoUSD = 0
        self.frozen = False

    @property
    def limit(self) -> NanoUSD | None:
        """The limit that counts."""
        return self.file_limit if self.explicit_limit is None else self.explicit_limit

    def can_hold(self, amount: NanoUSD) -> bool:
        """Whether a hold of that much fits."""
        return self.limit is None or (not self.frozen and self.shortfall(amount) <= 0)

    def shortfall(self, amount: NanoUSD) -> NanoUSD:
        """By how much a hold of ``amount`` does not fit; 0 or less if it does."""
        limit = self.limit
        return 0 if limit is None else self.captured + self.held + amount - limit

    def crossed_percent(self, before: NanoUSD) -> int:
        """The highest per cent of the limit that was captured since ``before``; 0 for none."""
        limit = self.limit
        if not limit:
            return 0
        crossings = [
            percent
            for percent in ALERT_PERCENTS
            if before * 100 < percent * limit <= self.captured * 100
        ]
        return max(crossings, default=0)


class CaptureResult(msgspec.Struct, frozen=True):
    """What a capture led to: scopes with the per cent that were crossed, and those now frozen."""

    alerts: list[tuple[str, int]]
    frozen: list[str]


class Ledger:
    """All accounts, by scope."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self._entries: dict[tuple[str, str], list[NanoUSD]] = {}
        self._changed_accounts: dict[str, Account] = {}

    def restore_account(self, account_state: AccountState) -> None:
        """Take in an account from before the restart: what it holds is in doubt until it is not."""
        account = self.accounts[account_state.scope] = Account(
            account_state.scope, account_state.limit
        )
        account.captured, account.held = account_state.captured, account_state.held
        account.frozen = account_state.frozen

    def open_account(self, scope: str, file_limit: NanoUSD | None = None) -> Account:
        """The account of a scope, made if need be, with the limit that files give it."""
        account = self.accounts.get(scope)
        if account is None:
            account = self.accounts[scope] = Account(scope)
        account.file_limit = file_limit
        return account

    def find_short_accounts(self, scopes: Iterable[str], amount: NanoUSD) -> list[Account]:
        """Those of the scopes that do not take a hold of ``amount``."""
        accounts = [self.accounts[scope] for scope in scopes]
        return [account for account in accounts if not account.can_hold(amount)]

    def reserve(self, run: str, scopes: Iterable[str], amount: NanoUSD) -> None:
        """Put that much aside in every scope, for a call of ``run``.

        Look at `find_short_accounts` first.
        """
        for scope in scopes:
            account = self.accounts[scope]
            account.held += amount
            account.pending += amount
            self._add_entry(run, scope, 0, amount)

    def mark_in_doubt(self, scopes: Iterable[str], amount: NanoUSD) -> None:
        """The call has ended, and nobody knows what it cost: what it holds stays held."""
        for scope in scopes:
            self.accounts[scope].pending -= amount

    def capture(
        self, run: str, scopes: Iterable[str], held: NanoUSD, cost: NanoUSD, *, pending: bool
    ) -> CaptureResult:
        """A hold becomes what its call cost, in every scope. ``pending``: it was not in doubt."""
        alerts, frozen = list[tuple[str, int]](), list[str]()
        for scope in scopes:
            account = self.accounts[scope]
            before = account.captured
            account.held -= held
            account.captured += cost
            if pending:
                account.pending -= held
            self._add_entry(run, scope, cost, -held)
            percent = account.crossed_percent(before)
            if percent:
                alerts.append((scope, percent))
            if cost > held and account.shortfall(0) > 0 and not account.frozen:
                account.frozen = True
                self._changed_accounts[scope] = account
                frozen.append(scope)
        return CaptureResult(alerts, frozen)

    def set_limit(self, account: Account, limit: NanoUSD | None) -> None:
        """Somebody sets the limit of a scope, which takes holds again if it was frozen."""
        account.explicit_limit, account.frozen = limit, False
        self._changed_accounts[account.scope] = account

    def release(self, run: str, scopes: Iterable[str], amount: NanoUSD) -> None:
        """What is held in doubt is not any more; a negative amount is held again."""
        for scope in scopes:
            self.accounts[scope].held -= amount
            self._add_entry(run, scope, 0, -amount)

    def adjust_captured(self, run: str, scopes: Iterable[str], cost: NanoUSD) -> None:
        """What was captured is that much more, or less; what is held stays."""
        for scope in scopes:
            self.accounts[scope].captured += cost
            self._add_entry(run, scope, cost, 0)

    def cancel_hold(self, run: str, scopes: Iterable[str], amount: NanoUSD) -> None:
        """A hold of a run that was never accepted: as if it had not been."""
        for scope in scopes:
            account = self.accounts[scope]
            account.held -= amount
            account.pending -= amount
            self._entries.pop((run, scope), None)

    def take_changes(self) -> tuple[list[LedgerEntry], list[AccountState]]:
        """What has changed since this was asked last: to be added, and limits that were set."""
        entries = [
            LedgerEntry(run=run, scope=scope, captured=captured, held=held)
            for (run, scope), (captured, held) in self._entries.items()
            if captured or held
        ]
        account_states = [
            AccountState(scope=account.scope, limit=account.explicit_limit, frozen=account.frozen)
            for account in self._changed_accounts.values()
        ]
        self._entries, self._changed_accounts = {}, {}
        return entries, account_states

    def _add_entry(self, run: str, scope: str, captured: NanoUSD, held: NanoUSD) -> None:
        entry = self._entries.get((run, scope))
        if entry is None:
            self._entries[run, scope] = [captured, held]
        else:
            entry[0] += captured
            entry[1] += held
