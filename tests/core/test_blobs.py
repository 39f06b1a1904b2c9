"""Large values apart from the records: what is lifted, what replays, what damage shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from agenthive.core.history import blobs
from agenthive.core.history.replay import decode_events, replay
from agenthive.core.history.report import build_report
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Batch, Blob
from agenthive.core.machine.run_state import INPUTS
from agenthive.core.model.calls import Usage
from agenthive.core.values import JSONValue
from agenthive.errors import StoreCorrupt
from agenthive.simulation.runtime import SimulatedRuntime
from tests.core.rig import Bench, flow, task
from tests.fuzz import campaign

TEXT = "x" * blobs.LARGE_BYTES
BODY = msgspec.json.encode(TEXT)


def succeeded(result: JSONValue) -> ev.TaskSucceeded:
    return ev.TaskSucceeded(at=1, task="a", attempt=1, result=result)


def written(events: list[ev.RunEvent], batch: Batch) -> list[ev.RunEvent]:
    """What comes back of what is written."""
    return ev.decode_run_events(blobs.encode_events("r", events, batch))


def test_what_is_large_is_lifted() -> None:
    batch = Batch()
    usage = Usage(model="m")
    large = ev.TaskSucceeded(at=1, task="a", attempt=1, result=TEXT, usage=usage)
    other = ev.RunStarted(at=2)
    given: list[ev.RunEvent] = [large, other, succeeded("small")]
    found = written(given, batch)
    assert found[1:] == given[1:]
    name = blobs.digest(BODY)
    assert batch == Batch(blobs=[(name, BODY)], uses=[("r", name)])
    assert found[0] == ev.TaskSucceeded(
        at=1, task="a", attempt=1, usage=usage, blob=Blob(digest=name, size=len(BODY))
    )
    assert len(ev.encode(found)) < 400
    assert blobs.fill_event(found[0], {name: BODY}) == large
    assert blobs.fill_event(other, {}) is other


def test_the_bound() -> None:
    batch = Batch()
    at_most = "x" * (blobs.LARGE_BYTES - 2)
    assert written([succeeded(at_most)], batch) == [succeeded(at_most)]
    assert batch == Batch()
    (found,) = written([succeeded(at_most + "x")], batch)
    assert found.blob == Blob(digest=batch.blobs[0][0], size=blobs.LARGE_BYTES + 1)
    assert blobs.LARGE_BYTES == 65_536


def test_results_and_inputs_apart() -> None:
    bench = Bench()
    inputs = {"text": TEXT}
    bench.run(flow(task("a"), task("b", "a"), task("c", "b")), inputs=inputs)
    bench.answer("a", TEXT)
    assert sum(len(one.payload) for one in bench.disk.records("r")) < 2000
    assert len(bench.disk.contents) == 2
    bench.crash()
    live = bench.driver.runs["r"].state
    assert live.inputs == inputs
    assert live.results == {0: TEXT}
    assert live.blobs == {}
    bench.turn()
    assert bench.calls["r", "b"].call.dependencies == {"a": TEXT}
    bench.answer("b", TEXT)
    bench.answer("c")
    assert len(bench.disk.contents) == 2, "an equal result is kept once"
    assert bench.status() == "completed"
    found = build_report(bench.graphs["r"], bench.disk.records("r"), bench.disk.contents)
    assert found.results == {"a": TEXT, "b": TEXT, "c": None}


def test_replay_keeps_references_to_what_is_still_read() -> None:
    bench = Bench()
    bench.run(flow(task("a"), task("b", "a"), task("c", "b")), inputs={"text": TEXT})
    bench.answer("a", TEXT)
    size = len(BODY)
    state = replay(bench.graphs["r"], bench.disk.records("r"))
    assert state.results == {0: state.blobs[0]}
    assert sorted(state.blobs) == [INPUTS, 0]
    assert state.blobs[0].size == size
    bench.answer("b", "small")
    state = replay(bench.graphs["r"], bench.disk.records("r"))
    assert list(state.blobs) == [INPUTS], "nobody reads it any more"
    assert state.results == {1: "small"}
    records = bench.disk.records("r")
    assert [one.digest for one in blobs.list_references(records)] == [
        blobs.digest(msgspec.json.encode({"text": TEXT})),
        blobs.digest(BODY),
    ]
    whole = dict(decode_events(records, bench.disk.contents))
    assert [e.result for e in whole.values() if isinstance(e, ev.TaskSucceeded)] == [TEXT, "small"]


def test_text_that_looks_like_a_reference_is_none() -> None:
    bench = Bench()
    lookalike = {"blob": {"digest": "0" * 64, "size": 3}}
    bench.run(flow(task("a"), task("b", "a")))
    bench.answer("a", lookalike)
    assert blobs.list_references(bench.disk.records("r")) == []
    bench.crash()
    assert bench.driver.runs["r"].state.results == {0: lookalike}


@pytest.mark.parametrize(
    ("body", "says"),
    [(None, "is missing"), (b"{}", "was changed"), (b"y" + BODY[1:], "was changed")],
)
def test_damage_shows(body: bytes | None, says: str) -> None:
    blob = Blob(digest=blobs.digest(BODY), size=len(BODY))
    assert blobs.verify_body(blob, BODY) == BODY
    with pytest.raises(StoreCorrupt, match=says):
        blobs.verify_body(blob, body)
    with pytest.raises(StoreCorrupt, match=says):
        blobs.load_value(blob, {} if body is None else {blob.digest: body})
    longer = Blob(digest=blob.digest, size=blob.size + 1)
    with pytest.raises(StoreCorrupt, match="was changed"):
        blobs.verify_body(longer, BODY)


def test_inputs_that_are_no_object_are_left_out() -> None:
    bench = Bench()
    bench.run(flow(task("a")), inputs={"text": TEXT})
    state = bench.state()
    state.blobs[INPUTS] = Blob(digest=blobs.digest(BODY), size=len(BODY))
    blobs.fill_state(state, {blobs.digest(BODY): BODY})
    assert state.inputs == {}


def test_withdrawn_runs_use_nothing() -> None:
    """A run that was never accepted must not keep a definition in the journal."""
    bench = Bench()
    bench.submit(flow(task("a")), "early", inputs={"text": TEXT})
    batch = bench.decide()
    assert batch is not None
    bench.submit(flow(task("b")), "late")
    assert {run for run, _ in batch.uses} == {"early"}
    assert len(bench.driver.withdraw_runs(batch)) == 2
    assert batch.uses == []
    bench.commit(batch)
    bench.run(flow(task("c")), "third")
    assert set(bench.disk._uses) == {"third"}


@pytest.mark.slow
def test_simulated_with_everything_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Crashes and all: a world in which every result is kept apart goes the same way."""
    expected = [campaign.simulate_seed(seed).trace for seed in range(40)]
    made: list[SimulatedRuntime] = []
    build: Callable[..., None] = SimulatedRuntime.__init__

    def noted(self: SimulatedRuntime, *arguments: Any) -> None:
        build(self, *arguments)
        made.append(self)

    monkeypatch.setattr(SimulatedRuntime, "__init__", noted)
    monkeypatch.setattr(blobs, "LARGE_BYTES", 0)
    assert [campaign.simulate_seed(seed).trace for seed in range(40)] == expected
    apart = [runtime for runtime in made if runtime.disk.contents and runtime.crashes]
    assert len(apart) > 10
