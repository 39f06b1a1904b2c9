"""The ledger: holds are all or nothing, what is captured is booked once, and limits are kept."""

from __future__ import annotations

import pytest

from agenthive.core.budget.holds import Hold, cost_of, reported_cost
from agenthive.core.budget.ledger import ALERT_PERCENTS, Ledger
from agenthive.core.journal.records import AccountState, LedgerEntry
from agenthive.core.model.calls import Usage
from agenthive.core.values import MOST_AMOUNT

RUN, TENANT = "run r", "tenant t"
BOTH = (RUN, TENANT)


def ledger(run: int | None = 100, tenant: int | None = None) -> Ledger:
    found = Ledger()
    found.open_account(RUN, run)
    found.open_account(TENANT, tenant)
    return found


def stands(found: Ledger, scope: str = RUN) -> tuple[int, int, int]:
    account = found.accounts[scope]
    return account.captured, account.held, account.pending


def test_a_hold_fits_every_scope_or_is_not_made() -> None:
    found = ledger(100, 50)
    assert found.find_short_accounts(BOTH, 50) == []
    (lack,) = found.find_short_accounts(BOTH, 51)
    assert (lack.scope, lack.shortfall(51)) == (TENANT, 1)
    found.reserve("r", BOTH, 50)
    assert stands(found) == (0, 50, 50)
    (lack,) = found.find_short_accounts(BOTH, 1)
    assert lack.scope == TENANT
    assert found.find_short_accounts((RUN,), 50) == []


def test_the_whole_limit_can_be_held() -> None:
    found = ledger(100)
    assert found.find_short_accounts((RUN,), 100) == []
    found.reserve("r", (RUN,), 100)
    (lack,) = found.find_short_accounts((RUN,), 1)
    assert not lack.can_hold(1)
    assert lack.can_hold(0)


def test_a_capture_frees_what_was_not_used() -> None:
    found = ledger()
    found.reserve("r", BOTH, 60)
    settled = found.capture("r", BOTH, 60, 20, pending=True)
    assert stands(found) == (20, 0, 0)
    assert (settled.alerts, settled.frozen) == ([], [])


def test_doubt_keeps_the_hold_until_it_is_settled() -> None:
    found = ledger()
    found.reserve("r", (RUN,), 60)
    found.mark_in_doubt((RUN,), 60)
    assert stands(found) == (0, 60, 0)
    assert found.find_short_accounts((RUN,), 41) == [found.accounts[RUN]]
    found.capture("r", (RUN,), 60, 0, pending=False)
    assert stands(found) == (0, 0, 0)


def test_what_is_taken_over_can_be_put_back() -> None:
    found = ledger()
    found.reserve("r", (RUN,), 60)
    found.mark_in_doubt((RUN,), 60)
    found.release("r", (RUN,), 60)
    assert stands(found) == (0, 0, 0)
    found.release("r", (RUN,), -60)
    assert stands(found) == (0, 60, 0)


@pytest.mark.parametrize(
    ("before", "cost", "told"),
    [(0, 49, 0), (0, 50, 50), (49, 1, 50), (50, 29, 0), (0, 80, 80), (79, 16, 95), (95, 5, 0)],
)
def test_an_alert_is_told_when_it_is_crossed(before: int, cost: int, told: int) -> None:
    assert ALERT_PERCENTS == (50, 80, 95)
    found = ledger()
    found.capture("r", (RUN,), 0, before, pending=False)
    settled = found.capture("r", (RUN,), 0, cost, pending=False)
    assert settled.alerts == ([(RUN, told)] if told else [])


@pytest.mark.parametrize("limit", [None, 0])
def test_no_limit_is_never_crossed(limit: int | None) -> None:
    found = ledger(limit)
    assert found.capture("r", (RUN,), 0, 5, pending=False).alerts == []


def test_who_costs_more_than_was_held_is_booked_in_full() -> None:
    found = ledger(100, 1000)
    found.reserve("r", BOTH, 60)
    settled = found.capture("r", BOTH, 60, 101, pending=True)
    assert stands(found) == (101, 0, 0)
    assert settled.frozen == [RUN]
    again = found.capture("r", BOTH, 0, 1, pending=False)
    assert again.frozen == []
    assert not found.accounts[RUN].can_hold(0)


def test_more_than_was_held_does_no_harm_where_it_fits() -> None:
    found = ledger()
    found.reserve("r", (RUN,), 60)
    assert found.capture("r", (RUN,), 60, 100, pending=True).frozen == []
    assert not found.accounts[RUN].frozen


def test_a_limit_that_is_set_wins_and_thaws() -> None:
    found = ledger(100)
    found.capture("r", (RUN,), 0, 101, pending=False)
    assert found.accounts[RUN].frozen
    found.set_limit(found.accounts[RUN], 150)
    assert found.accounts[RUN].can_hold(49)
    assert not found.accounts[RUN].can_hold(50)
    found.set_limit(found.accounts[RUN], None)
    assert found.accounts[RUN].limit == 100


def test_what_goes_to_disk_adds_up() -> None:
    found = ledger()
    assert found.take_changes() == ([], [])
    found.reserve("r", BOTH, 60)
    found.reserve("s", (TENANT,), 5)
    found.capture("r", BOTH, 60, 20, pending=True)
    found.adjust_captured("r", BOTH, -1)
    found.set_limit(found.accounts[RUN], 70)
    entries, standings = found.take_changes()
    assert entries == [
        LedgerEntry(run="r", scope=RUN, captured=19),
        LedgerEntry(run="r", scope=TENANT, captured=19),
        LedgerEntry(run="s", scope=TENANT, held=5),
    ]
    assert standings == [AccountState(scope=RUN, limit=70)]
    assert found.take_changes() == ([], [])


def test_what_comes_to_nothing_is_not_written() -> None:
    found = ledger()
    found.reserve("r", BOTH, 60)
    found.capture("r", BOTH, 60, 0, pending=True)
    assert found.take_changes() == ([], [])


def test_a_frozen_account_goes_to_disk() -> None:
    found = ledger(10)
    found.capture("r", (RUN,), 0, 11, pending=False)
    assert found.take_changes()[1] == [AccountState(scope=RUN, frozen=True)]


def test_what_was_never_accepted_leaves_nothing() -> None:
    found = ledger()
    found.reserve("r", BOTH, 60)
    found.cancel_hold("r", BOTH, 60)
    assert stands(found) == stands(found, TENANT) == (0, 0, 0)
    assert found.take_changes() == ([], [])


def test_what_was_held_before_a_restart_is_in_doubt() -> None:
    found = Ledger()
    found.restore_account(AccountState(scope=RUN, limit=9, captured=1, held=4, frozen=True))
    assert stands(found) == (1, 4, 0)
    assert found.accounts[RUN].frozen
    found.open_account(RUN, 100)
    assert found.accounts[RUN].limit == 9


@pytest.mark.parametrize(
    ("before", "cost", "told"), [(0, 497, 0), (497, 2, 0), (497, 3, 50), (500, 1, 0), (0, 949, 80)]
)
def test_an_alert_is_told_neither_early_nor_twice(before: int, cost: int, told: int) -> None:
    found = ledger(1000)
    found.capture("r", (RUN,), 0, before, pending=False)
    settled = found.capture("r", (RUN,), 0, cost, pending=False)
    assert settled.alerts == ([(RUN, told)] if told else [])


def test_what_nothing_was_put_aside_for_costs_nothing_unless_it_says_so() -> None:
    assert cost_of(None, None) == 0
    assert cost_of(None, Usage(model="m", cost=7)) == 7


@pytest.mark.parametrize(
    ("cost", "at_least", "expected"),
    [(7, False, 7), (7, True, 70), (90, True, 90), (None, False, 70), (None, True, 70)],
)
def test_a_cost_that_is_the_least_takes_the_whole_hold(
    cost: int | None, at_least: bool, expected: int
) -> None:
    usage = Usage(model="m", cost=cost, at_least=at_least)
    assert reported_cost(usage, 70) == expected
    assert cost_of(Hold(70, 0), usage) == expected
    assert cost_of(None, usage) == (cost or 0)


def test_a_sum_ends_where_a_store_ends() -> None:
    found = ledger(None)
    large = MOST_AMOUNT * 6 // 10
    for _ in range(3):
        found.capture("r", (RUN,), 0, large, pending=False)
    assert stands(found)[0] == MOST_AMOUNT
    entries, _ = found.take_changes()
    assert [entry.captured for entry in entries] == [MOST_AMOUNT], "what is written is what counts"
    found.adjust_captured("r", (RUN,), -large)
    assert stands(found)[0] == MOST_AMOUNT, "how much is missing from it is not known"
    found.set_limit(found.accounts[RUN], MOST_AMOUNT)
    assert not found.accounts[RUN].can_hold(1)


def test_holds_beyond_the_largest_sum_free_nothing() -> None:
    found = ledger(None)
    large = MOST_AMOUNT * 6 // 10
    for _ in range(3):
        found.reserve("r", (RUN,), large)
    assert stands(found)[1] == MOST_AMOUNT
    found.release("r", (RUN,), large)
    assert stands(found)[1] == MOST_AMOUNT
    entries, _ = found.take_changes()
    assert [entry.held for entry in entries] == [MOST_AMOUNT]
    found.cancel_hold("r", (RUN,), large)
    assert stands(found)[1] == MOST_AMOUNT
