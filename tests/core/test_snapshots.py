"""Snapshots: what is thawed is what a replay gives, field by field."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from agenthive.core.graph.graph import Graph
from agenthive.core.history import blobs, snapshots
from agenthive.core.history.replay import replay
from agenthive.core.history.snapshots import (
    decode_snapshot,
    find_latest,
    find_reference,
    freeze_state,
    is_due,
    restore_state,
)
from agenthive.core.journal.records import Batch, Blob, Record
from agenthive.core.machine.flow_state import FlowState
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import ToolCall
from agenthive.core.model.control_flow import ApprovalSpec, EachSpec, RepeatSpec, WaitSpec
from agenthive.core.model.workflow import ToolSpec
from agenthive.simulation import runtime
from tests.core.rig import Bench, flow, task
from tests.fuzz.campaign import simulate_seed

DERIVED = {"graph", "blobs", "keep", "counts"}


def fields(state: RunState) -> dict[str, Any]:
    """All of a state, and of what its graph has grown."""
    found = {name: getattr(state, name) for name in state.__slots__ if name not in DERIVED}
    found |= {"snapshot": 0, "counts": {k: n for k, n in state.counts.items() if n}}
    if state.flow is not None:
        found["flow"] = {name: getattr(state.flow, name) for name in FlowState.__slots__}
        found["flow"]["listening"] = {n: list(w) for n, w in state.flow.listening.items() if w}
    graph = state.graph
    return found | {
        "keys": graph.keys,
        "nodes": graph.nodes,
        "owner": graph.owner,
        "undo": graph.compensations,
        "lanes": graph.lanes,
        "reads": graph.reads,
        "index": graph.index,
    }


def test_every_field_is_in_it() -> None:
    frozen = {*snapshots._FrozenRunOffClock.__struct_fields__} - {
        "format",
        "states",
        "grown",
        "apart",
    }
    assert frozen == {*RunState.__slots__} - DERIVED - {"inputs", "snapshot"}
    assert {*snapshots._FrozenFlow.__struct_fields__} == {*FlowState.__slots__}


@pytest.mark.slow
def test_in_random_simulations(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0

    def compare(graph: Graph, records: list[Record], contents: dict[str, bytes]) -> RunState:
        nonlocal compared
        compared += find_latest(records, contents) is not None
        state = restore_state(graph, records, contents)
        assert fields(state) == fields(replay(graph, records, contents))
        return state

    monkeypatch.setattr(runtime, "restore_state", compare)
    for seed in range(150):
        assert simulate_seed(seed).violations == []
    assert compared > 200


def stopped(**limits: Any) -> Bench:
    """A run with items, an approval and a signal that is waited for."""
    bench = Bench(**({"snapshot_every": 1} | limits))
    each = task("each", for_each=EachSpec(items=[1, 2, 3]))
    ask = task("ask", approval=ApprovalSpec(message="?"))
    wait = task("wait", wait_for=WaitSpec(signal="go"))
    bench.run(flow(each, ask, wait, task("end", "each", "ask", "wait")))
    return bench


def marked(bench: Bench) -> list[Record]:
    return [record for record in bench.disk.records("r") if find_reference(record) is not None]


def test_the_record_names_it_and_the_chain_covers_the_name() -> None:
    bench = stopped()
    bench.answer("each[0]", 1)
    record = marked(bench)[-1]
    assert re.fullmatch(r"snapshot:[0-9a-f]{64}:\d+", record.cause)
    blob = find_reference(record)
    assert blob is not None
    assert blobs.digest(bench.disk.contents[blob.digest]) == blob.digest
    assert find_reference(msgspec.structs.replace(record, cause="snapshot:x:y")) is None
    assert find_reference(msgspec.structs.replace(record, cause="")) is None


def test_it_is_made_when_it_is_due() -> None:
    assert marked(stopped(snapshot_every=1000)) == []
    bench = stopped(snapshot_every=8)
    for number in range(3):
        bench.answer(f"each[{number}]", number)
    found = [record.seq + record.count - 1 for record in marked(bench)]
    assert all(b - a >= 8 for a, b in zip([0, *found], found, strict=False))
    state = bench.driver.runs["r"].state
    assert state.snapshot == found[-1]
    assert is_due(state, state.seq - state.snapshot) is (state.seq - state.snapshot >= 7)


def test_large_values_stay_apart() -> None:
    large = {"text": "x" * blobs.LARGE_BYTES}
    bench = Bench(snapshot_every=1)
    each = task("each", for_each=EachSpec(items=[1, 2]))
    bench.run(
        flow(task("a"), each, task("g", "a", "each", wait_for=WaitSpec(signal="go"))), inputs=large
    )
    bench.answer("a", large)
    bench.answer("each[0]", "y" * (blobs.LARGE_BYTES + 1))
    bench.answer("each[1]", 2)
    blob = find_reference(marked(bench)[-1])
    assert blob is not None
    assert blob.size < blobs.LARGE_BYTES
    again = restore_state(bench.graph("r"), bench.disk.records("r"), bench.disk.contents)
    assert again.inputs == large
    assert fields(again) == fields(
        replay(bench.graph("r"), bench.disk.records("r"), bench.disk.contents)
    )
    bench.crash()
    bench.turn()
    bench.signal("go")
    assert bench.calls["r", "g"].call.dependencies["a"] == large


def test_large_items_of_a_list_stay_apart_one_by_one() -> None:
    bench = Bench(snapshot_every=1)
    bench.run(flow(task("a"), task("b"), task("c", "b"), task("d", "a", "c")))
    items = ["y" * (blobs.LARGE_BYTES + 1), 2, "z" * (blobs.LARGE_BYTES + 1)]
    bench.answer("a", items)
    bench.answer("b", 1)
    bench.answer("c", 1)
    records, contents = bench.disk.records("r"), bench.disk.contents
    found = find_latest(records, contents)
    assert found is not None
    inside = found[0].thaw(bench.graph("r")).results[0]
    assert isinstance(inside, list)
    assert [isinstance(one, Blob) for one in inside] == [True, False, True]
    assert restore_state(bench.graph("r"), records, contents).results[0] == items


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"[1,2,3]"])
def test_what_is_none(body: bytes) -> None:
    assert decode_snapshot(body) is None


def test_one_of_another_version_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = stopped()
    records, contents = bench.disk.records("r"), bench.disk.contents
    assert find_latest(records, contents) is not None
    monkeypatch.setattr(snapshots, "SNAPSHOT_FORMAT", 99)
    assert find_latest(records, contents) is None
    assert restore_state(bench.graph("r"), records, contents).seq == bench.state().seq


def test_one_that_is_missing_is_passed_over() -> None:
    bench = stopped()
    assert find_latest(bench.disk.records("r"), {}) is None


def test_after_a_change_of_workflow_it_is_of_no_use_before() -> None:
    bench = stopped(snapshot_every=10)
    for number in range(3):
        bench.answer(f"each[{number}]", number)
    bench.migrate(msgspec.structs.replace(bench.graph("r").spec, description="other"))
    first, records = marked(bench)[0], bench.disk.records("r")
    rest = [msgspec.structs.replace(one, cause="") for one in records[records.index(first) + 1 :]]
    assert any(b"run.migrated" in record.payload for record in rest)
    assert find_latest([first, *rest], bench.disk.contents) is None
    bench.crash()
    bench.turn()
    assert bench.states()["ask"] == "blocked"


def test_small_values_are_inside() -> None:
    state = RunState(Graph(flow(task("a"))))
    state.results[0] = [1, "two"]
    batch = Batch()
    freeze_state(state, batch)
    assert len(batch.blobs) == 1
    found = decode_snapshot(batch.blobs[0][1])
    assert found is not None
    assert found.thaw(Graph(flow(task("a")))).results == {0: [1, "two"]}
    assert batch.uses == [("", batch.blobs[0][0])]
    assert isinstance(
        find_reference(
            Record(
                stream="r",
                seq=1,
                count=1,
                at=0,
                type="run",
                payload=b"",
                cause=f"snapshot:{batch.blobs[0][0]}:1",
            )
        ),
        Blob,
    )


def test_loops_are_remembered_per_task_and_older_snapshots_still_load() -> None:
    bench = Bench()
    tool = ToolSpec(name="look", agent="eyes", action="look")
    rounds = RepeatSpec(until="round == 2")
    bench.run(flow(task("q", tools=(tool,)), task("p", repeat_until=rounds)))
    asks = (ToolCall(id="1", name="look", arguments={"at": 1}),)
    bench.answer("q~1", asks=asks)
    state = bench.driver.runs["r"].state
    batch = Batch()
    freeze_state(state, batch)
    body = dict(batch.blobs).popitem()[1]
    snapshot = decode_snapshot(body)
    assert snapshot is not None
    thawed = snapshot.thaw(Graph(state.graph.spec))
    assert thawed.ensure_flow().turns == state.ensure_flow().turns
    assert thawed.ensure_flow().turns[0].path.counts
    # A snapshot of a version before: no path of its own, and a field that nothing ever read.
    path = msgspec.json.encode(state.ensure_flow().turns[0].path)
    older = body.replace(b',"path":' + path, b"")
    older = older.replace(b'"members":', b'"exhausted":false,"members":')
    assert b"path" not in older
    snapshot = decode_snapshot(older)
    assert snapshot is not None
    again = snapshot.thaw(Graph(state.graph.spec)).ensure_flow()
    assert not again.turns[0].path.counts
    assert again.rounds[1].members == state.ensure_flow().rounds[1].members
