"""The ledger: what was captured and what is held, for every scope.

A hold is the worst case of a call, reserved before the call is made; a capture is what the call
cost. A hold never brings ``captured + held`` above the limit of a scope: the engine calls
`Ledger.find_short_accounts` for all scopes before `Ledger.reserve` changes one. Only a reply that
reports a cost above its hold can exceed a limit; the scope is then frozen and takes no holds until
its limit is set again. No sum passes `MOST_AMOUNT`: one that has reached it stays there, because it
no longer says how much is missing from it.

Amounts are nano-dollars. Pure: never knows a run's state or a clock. Changes are collected as
entries, which the engine writes in the transaction of the events that caused them. To add a
movement of money: a method that calls ``_move_amounts`` for each account.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from agenthive.core.journal.records import AccountState, LedgerEntry
from agenthive.core.values import MOST_AMOUNT, NanoUSD

ALERT_PERCENTS: Final = (50, 80, 95)
"""Percentages of a limit that cause an alert when they have been captured."""
_NOTHING: Final[dict[str, NanoUSD]] = {}


class Account:
    """The account of one scope, in nano-dollars."""

    __slots__ = ("captured", "explicit_limit", "file_limit", "frozen", "held", "pending", "scope")

    def __init__(self, scope: str, explicit_limit: NanoUSD | None = None) -> None:
        #: Name of the scope: see `core.budget.scopes`.
        self.scope = scope
        #: The limit that a user set at run time; it replaces ``file_limit``. None: not set.
        self.explicit_limit = explicit_limit
        #: The limit of the workflow or the settings; None: no limit.
        self.file_limit: NanoUSD | None = None
        #: What calls cost.
        self.captured: NanoUSD = 0
        #: What is reserved.
        self.held: NanoUSD = 0
        #: The part of ``held`` for calls in flight. The rest is in doubt.
        self.pending: NanoUSD = 0
        #: Takes no holds until its limit is set again: a call cost more than its hold.
        self.frozen = False

    @property
    def limit(self) -> NanoUSD | None:
        """The limit that applies; None: no limit."""
        return self.file_limit if self.explicit_limit is None else self.explicit_limit

    def can_hold(self, amount: NanoUSD) -> bool:
        """Whether a hold of ``amount`` fits."""
        return self.limit is None or (not self.frozen and self.shortfall(amount) <= 0)

    def shortfall(self, amount: NanoUSD) -> NanoUSD:
        """By how much a hold of ``amount`` does not fit; 0 or less if it does."""
        limit = self.limit
        return 0 if limit is None else self.captured + self.held + amount - limit

    def crossed_percent(self, before: NanoUSD) -> int:
        """The highest of `ALERT_PERCENTS` that was crossed since ``before`` was captured, or 0."""
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
    """What a capture caused."""

    #: Scopes with the percentage of their limit that was crossed.
    alerts: list[tuple[str, int]]
    #: Scopes that are frozen now and were not before.
    frozen: list[str]


class Ledger:
    """All accounts, and their changes since the last batch."""

    def __init__(self) -> None:
        #: By scope.
        self.accounts: dict[str, Account] = {}
        #: By (run, scope): captured and held that are not written yet.
        self._entries: dict[tuple[str, str], list[NanoUSD]] = {}
        #: Accounts with a new limit, or newly frozen, that are not written yet.
        self._changed_accounts: dict[str, Account] = {}

    def restore_account(self, account_state: AccountState) -> None:
        """Restore an account after a restart. All that it holds is in doubt at first."""
        account = self.accounts[account_state.scope] = Account(
            account_state.scope, account_state.limit
        )
        account.captured, account.held = account_state.captured, account_state.held
        account.frozen = account_state.frozen

    def open_account(self, scope: str, file_limit: NanoUSD | None = None) -> Account:
        """The account of a scope, created if needed, with its limit from workflow or settings."""
        account = self.accounts.get(scope)
        if account is None:
            account = self.accounts[scope] = Account(scope)
        account.file_limit = file_limit
        return account

    def find_short_accounts(
        self, scopes: Iterable[str], amount: NanoUSD, promised: Mapping[str, NanoUSD] = _NOTHING
    ) -> list[Account]:
        """The accounts of the scopes in which a hold of ``amount`` does not fit.

        ``promised``: what else counts as taken, by scope.
        """
        short_accounts = []
        # Every call under a budget comes here: `Account.can_hold` in place, without a helper.
        for scope in scopes:
            account = self.accounts[scope]
            limit = account.explicit_limit
            if limit is None:
                limit = account.file_limit
            if limit is None:
                continue
            taken = account.captured + account.held + promised.get(scope, 0)
            if account.frozen or taken + amount > limit:
                short_accounts.append(account)
        return short_accounts

    def reserve(self, run: str, scopes: Iterable[str], amount: NanoUSD) -> None:
        """Reserve ``amount`` in every scope for a call of ``run``.

        Does not check the limits: `find_short_accounts` must have returned nothing.
        """
        for scope in scopes:
            account = self.accounts[scope]
            account.pending += amount
            self._move_amounts(run, account, 0, amount)

    def mark_in_doubt(self, scopes: Iterable[str], amount: NanoUSD) -> None:
        """The call has ended and its cost is in doubt: its hold stays."""
        for scope in scopes:
            self.accounts[scope].pending -= amount

    def capture(
        self, run: str, scopes: Iterable[str], held: NanoUSD, cost: NanoUSD, *, pending: bool
    ) -> CaptureResult:
        """Replace a hold by the cost of its call, in every scope.

        ``pending``: the call was in flight until now, so that its hold was not in doubt.
        """
        alerts, frozen = list[tuple[str, int]](), list[str]()
        for scope in scopes:
            account = self.accounts[scope]
            before = account.captured
            if pending:
                account.pending -= held
            self._move_amounts(run, account, cost, -held)
            percent = account.crossed_percent(before)
            if percent:
                alerts.append((scope, percent))
            if cost > held and account.shortfall(0) > 0 and not account.frozen:
                account.frozen = True
                self._changed_accounts[scope] = account
                frozen.append(scope)
        return CaptureResult(alerts, frozen)

    def set_limit(self, account: Account, limit: NanoUSD | None) -> None:
        """Set the limit of a scope (None: that of the files). A frozen scope takes holds again."""
        account.explicit_limit, account.frozen = limit, False
        self._changed_accounts[account.scope] = account

    def release(self, run: str, scopes: Iterable[str], amount: NanoUSD) -> None:
        """Release what is held in doubt; a negative ``amount`` holds it again."""
        for scope in scopes:
            self._move_amounts(run, self.accounts[scope], 0, -amount)

    def adjust_captured(self, run: str, scopes: Iterable[str], cost: NanoUSD) -> None:
        """Add ``cost`` (which may be negative) to what was captured; holds do not change."""
        for scope in scopes:
            self._move_amounts(run, self.accounts[scope], cost, 0)

    def cancel_hold(self, run: str, scopes: Iterable[str], amount: NanoUSD) -> None:
        """Remove the hold of a run that was not accepted, as if it had not been made."""
        for scope in scopes:
            account = self.accounts[scope]
            if account.held < MOST_AMOUNT:
                account.held -= amount
            account.pending -= amount
            self._entries.pop((run, scope), None)

    def take_back_entries(self, run: str) -> set[str]:
        """Reverse what was booked for ``run`` since the last batch; the scopes that changed.

        The run's events are not written, so that the accounts must remain what they are on disk.
        """
        scopes = {scope for entry_run, scope in self._entries if entry_run == run}
        for scope in scopes:
            captured, held = self._entries.pop((run, scope))
            account = self.accounts[scope]
            # A sum that has reached the largest amount stays there: its true value is not known.
            if account.captured < MOST_AMOUNT:
                account.captured -= captured
            if account.held < MOST_AMOUNT:
                account.held -= held
        return scopes

    def take_changes(self) -> tuple[list[LedgerEntry], list[AccountState]]:
        """The changes since the last call: amounts to add to accounts, and limits to set."""
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

    def _move_amounts(self, run: str, account: Account, captured: NanoUSD, held: NanoUSD) -> None:
        """Add to what an account has captured and holds, as far as its sums go."""
        if account.captured + captured >= MOST_AMOUNT or account.captured >= MOST_AMOUNT:
            captured = MOST_AMOUNT - account.captured
        if account.held + held >= MOST_AMOUNT or account.held >= MOST_AMOUNT:
            held = MOST_AMOUNT - account.held
        account.captured += captured
        account.held += held
        scope = account.scope
        entry = self._entries.get((run, scope))
        if entry is None:
            self._entries[run, scope] = [captured, held]
        else:
            entry[0] += captured
            entry[1] += held
