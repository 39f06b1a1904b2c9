"""Small rules with rare branches: classes of faults, days of scopes, cached results, steps."""

from __future__ import annotations

import msgspec
import pytest

from agenthive.core.budget.holds import Hold, cost_of
from agenthive.core.budget.ledger import Ledger
from agenthive.core.budget.scopes import parse_day
from agenthive.core.engine.call_builder import reply_from_cache
from agenthive.core.engine.handled_times import HandledTimes
from agenthive.core.graph.graph import Graph
from agenthive.core.history import blobs
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Blob, CachedResult
from agenthive.core.machine.machine import step
from agenthive.core.model.calls import Fault
from agenthive.core.model.workflow import ToolSpec
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.policies.rate_limit import RateLimit, RateLimiter
from agenthive.core.policies.retry import RetryPolicy
from agenthive.core.values import MOST_AMOUNT, SECOND
from agenthive.errors import StoreCorrupt
from tests.core.purse import bench, pair
from tests.core.rig import START, Bench, flow, task


@pytest.mark.parametrize(
    ("rules", "class_", "inherited", "cost"),
    [
        (2, None, False, 0),
        (2, FaultClass.UNKNOWN, False, 0),
        (2, FaultClass.UNKNOWN, True, None),
        (3, FaultClass.UNKNOWN, False, None),
        (3, FaultClass.REFUSED, False, 0),
        (3, FaultClass.REFUSED, True, None),
        (3, FaultClass.BAD_END, False, 70),
    ],
)
def test_the_cost_of_a_fault(
    rules: int, class_: FaultClass | None, inherited: bool, cost: int | None
) -> None:
    fault = Fault(kind="overloaded", message="no", class_=class_)
    assert cost_of(Hold(70, START, inherited), None, fault, rules=rules) == cost


def test_a_scope_with_a_date() -> None:
    assert parse_day("day t/1970-01-03") == "day t/2"
    assert parse_day("day t/1970-13-03") == "day t/1970-13-03"
    assert parse_day("tenant t") == "tenant t"


def test_a_sum_of_holds_without_end_stays() -> None:
    ledger = Ledger()
    ledger.open_account("s")
    ledger.reserve("r", ["s"], MOST_AMOUNT)
    ledger.take_back_entries("r")
    assert ledger.accounts["s"].held == MOST_AMOUNT


def test_a_cached_result_and_its_time() -> None:
    def cached(at: int, expires: int | None) -> bool:
        row = CachedResult(key="k", result=b"1", origin="r/t", at=at, expires=expires)
        return reply_from_cache(row, START) is not None

    for damaged in (b"", b'{"a', b"\xff", b"[" * 100_000):
        row = CachedResult(key="k", result=damaged, origin="r/t", at=START, expires=None)
        assert reply_from_cache(row, START) is None, "the call is made"
    assert cached(START - 5, START + 5)
    assert cached(START - 5, None)
    assert not cached(START - 5, START - 1)
    assert not cached(START + 2 * SECOND, START + 9 * SECOND)


def test_a_tool_is_not_called_again_after_a_bad_end() -> None:
    retry = RetryPolicy(retry_on=(FaultClass.BAD_END, FaultClass.UNKNOWN))
    graph = Graph(flow(task("t", tools=(ToolSpec(name="f", agent="f", action="f", retry=retry),))))
    assert graph.nodes[0].tools[0].retry.retry_on == (FaultClass.UNKNOWN,)


def test_a_blob_that_is_no_json() -> None:
    body = b"{"
    blob = Blob(digest=blobs.digest(body), size=1)
    with pytest.raises(StoreCorrupt, match="cannot be decoded"):
        blobs.load_value(blob, {blob.digest: body})


def test_a_record_with_another_count() -> None:
    found = Bench()
    found.run(flow(task("a")))
    record = msgspec.structs.replace(found.disk.records("r")[0], count=99)
    with pytest.raises(StoreCorrupt, match="declares"):
        blobs.decode_record(record)


def test_a_step_of_less_than_a_second_is_not_recorded() -> None:
    found = Bench()
    found.run(flow(task("a", delay=50.0)))
    before = len(found.events("r"))
    found.driver.record_clock_step(found.now, 10)
    found.turn()
    assert len(found.events("r")) == before


def test_a_clock_that_is_behind_by_less_than_a_second_is_waited_out() -> None:
    found = Bench()
    found.run(flow(task("a")))
    found.crash(after=-SECOND // 2)
    found.turn()
    events = found.events("r")
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert not any(event.wall for event in events)


def test_a_hold_from_before_a_step_keeps_its_time() -> None:
    found = bench(tenant=1000)
    found.run(pair(100), "r")
    state = found.driver.runs["r"].state
    later = state.last_at + 10
    step(state, ev.RunClockStepped(at=later, by=-5, after=later, away=0))
    assert state.expiries == {}


def test_what_one_call_reports_blocks_for_a_day_at_most() -> None:
    limiter = RateLimiter(RateLimit(tokens_per_minute=60))
    assert limiter.acquire(START * 1000, 1) == 0
    receipt = limiter.last_receipt
    assert receipt is not None
    limiter.settle(receipt, 10**15)
    wait = limiter.acquire(START * 1000, 1)
    assert 0 < wait <= 86_400 * 10**9


def test_a_schedule_that_starts_where_it_is() -> None:
    handled = HandledTimes(10)
    handled.start_after(10)
    assert handled.until == 10
    handled.start_after(12)
    assert handled.until == 12


def test_a_time_that_did_not_wait_is_not_withdrawn() -> None:
    handled = HandledTimes(10)
    handled.record_run(11, 11)
    handled.withdraw_run(500)
    assert handled.until == 11
