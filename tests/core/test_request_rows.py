"""Requests with an id in the driver: their rows are in the transaction of their events."""

from __future__ import annotations

from agenthive.core.engine.human_input import ApprovalDecision
from agenthive.core.journal.records import MAX_REQUESTS, Batch, RequestRow
from agenthive.core.model.control_flow import ApprovalSpec
from agenthive.stores.memory import MemoryStore
from tests.core.rig import START, Bench, flow, task


def row(key: str) -> RequestRow:
    return RequestRow(key=key, verb="v", fingerprint="f", at=START, expires=START + 1)


def keys(batch: Batch | None) -> list[str]:
    assert batch is not None
    return [request.key for request in batch.requests]


def test_a_row_is_in_the_batch_of_its_events() -> None:
    bench = Bench()
    bench.run(flow(task("a")))
    token = bench.cancel()
    bench.driver.keep_request(token, row("k"))
    batch = bench.decide()
    assert batch is not None
    assert batch.requests == [row("k")]
    assert b"run.cancel_requested" in batch.records[0].payload
    bench.commit(batch)
    assert bench.disk._requests == {("default", "k"): row("k")}
    bench.submit(flow(task("a")), "other")
    assert keys(bench.decide()) == [], "it is written once"


def test_a_rejection_is_kept_with_its_reason() -> None:
    bench = Bench()
    bench.run(flow(task("a", approval=ApprovalSpec(approvers=("ann",)))))
    decision = ApprovalDecision(actor="bob", approved=True)
    bench.driver.answer(bench.now, "r", "a", decision, 77)
    bench.driver.keep_request(77, row("k"))
    batch = bench.decide()
    assert batch is not None
    assert "'bob' is not an approver" in batch.requests[0].rejection
    assert b"approval_refused" in batch.records[0].payload


def test_a_request_that_is_lost_with_its_run_has_no_row() -> None:
    bench = Bench()
    bench.run(flow(task("a")), "old")
    lost = bench.submit(flow(task("a")), "new")
    bench.driver.keep_request(lost, row("lost"))
    kept = bench.cancel("old")
    bench.driver.keep_request(kept, row("kept"))
    batch = bench.decide()
    later = bench.submit(flow(task("a")), "later")
    bench.driver.keep_request(later, row("later"))
    assert keys(batch) == ["lost", "kept"]
    assert batch is not None
    assert bench.driver.withdraw_runs(batch) == [lost, later]
    assert keys(batch) == ["kept"]
    bench.commit(batch)
    bench.submit(flow(task("a")), "next")
    assert keys(bench.decide()) == []


def test_memory_keeps_the_latest() -> None:
    store = MemoryStore()
    store.write(Batch(requests=[row(f"k-{number}") for number in range(MAX_REQUESTS + 2)]))
    store.write(Batch(requests=[row("k-2")]))
    assert len(store._requests) == MAX_REQUESTS
    assert next(iter(store._requests)) == ("default", "k-3"), "written again, it is the latest"
