"""What is read back from a journal, by id or by the beginning of one; and how it notices damage."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from agenthive.core.history import snapshots
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Batch, Record, RunRow
from agenthive.core.policies.circuit_breaker import BreakerPolicy
from agenthive.errors import NotFound, RunNotFound, RunUnusable, StoreCorrupt
from agenthive.queries.journal_reader import FEW_RECORDS, JournalReader
from agenthive.stores.memory import MemoryStore
from agenthive.stores.sql import queries
from tests.core.rig import FAULT, FINAL, NO_RETRY, Bench, agent, flow, task, undo


@pytest.fixture
def bench() -> Bench:
    """Two runs: `alpha` completed, `alpine` under way."""
    made = Bench()
    made.run(flow(task("a"), task("b", "a")), "alpha")
    made.answer("a", {"x": 1}, run="alpha")
    made.answer("b", 2, run="alpha")
    made.wait(1)
    made.run(flow(task("a"), task("b", "a")), "alpine")
    return made


async def test_rows_and_names(bench: Bench) -> None:
    archive = JournalReader(bench.disk)
    assert [row.run for row in await archive.list_runs()] == ["alpine", "alpha"]
    assert [row.run for row in await archive.list_runs(unfinished=True)] == ["alpine"]
    assert [row.run for row in await archive.list_runs(limit=1)] == ["alpine"]
    assert await archive.find_run("alpha") == "alpha"
    assert await archive.find_run("alpi") == "alpine"
    assert (await archive.read_row("alpha")).status == "completed"
    for wrong, says in (("al", "2 runs begin with"), ("beta", "no run"), ("", "no run")):
        with pytest.raises(RunNotFound, match=says):
            await archive.find_run(wrong)
    for ask in (
        archive.read_row,
        archive.read_records,
        archive.load_state,
        archive.read_report,
        archive.list_reasons,
    ):
        with pytest.raises(RunNotFound, match="no run 'beta'"):
            await ask("beta")


async def test_states_reports_reasons(bench: Bench) -> None:
    archive = JournalReader(bench.disk)
    assert (await archive.load_state("alpha")).status == "completed"
    report = await archive.read_report("alpha")
    assert (report.status, report.results) == ("completed", {"a": {"x": 1}, "b": 2})
    assert await archive.list_reasons("alpha") == []
    assert {r.task: str(r.kind) for r in await archive.list_reasons("alpine")} == {
        "a": "call",
        "b": "dependency",
    }
    assert await archive.last_seq("alpha") == len(bench.events("alpha"))
    assert await archive.last_seq("beta") == 0
    assert (await archive.count_succeeded("alpha"), await archive.count_succeeded("alpine")) == (
        2,
        0,
    )


async def test_events_and_stories(bench: Bench) -> None:
    archive = JournalReader(bench.disk)
    facts = [fact async for fact in archive.read_events("alpha")]
    assert [fact.seq for fact in facts] == list(range(1, len(facts) + 1))
    for after in range(len(facts) + 1):
        later = [fact.seq async for fact in archive.read_events("alpha", after)]
        assert later == [fact.seq for fact in facts[after:]]
    assert facts[0].type == "run.submitted"
    assert msgspec.json.decode(facts[0].data)["run"] == "alpha"
    lines = await archive.read_story("alpha", "b")
    assert len(lines) >= 3
    with pytest.raises(NotFound, match=r"run alpha has no task 'z'"):
        await archive.read_story("alpha", "z")


async def test_story_of_a_saga() -> None:
    bench = Bench()
    bench.run(flow(task("a", compensate=undo()), task("b", "a", retry=NO_RETRY)), "r")
    bench.answer("a")
    bench.answer("b", fault=FINAL)
    bench.answer("a#undo")
    archive = JournalReader(bench.disk)
    assert (await archive.read_report("r")).status == "compensated"
    assert await archive.read_story("r", "a#undo")


async def test_open_breakers_are_a_reason() -> None:
    policy = BreakerPolicy(failure_threshold=1, recovery_timeout=9)
    spec = flow(
        task("a", retry=NO_RETRY),
        task("b", retry=NO_RETRY),
        agents=[agent(circuit_breaker=policy)],
        max_parallel=1,
        failure_strategy="continue_on_failure",
    )
    bench = Bench()
    bench.run(spec, "r")
    bench.answer("a", fault=FAULT)
    (reason,) = await JournalReader(bench.disk).list_reasons("r")
    assert (reason.task, str(reason.kind)) == ("b", "breaker")
    bench.wait(10)
    bench.answer("b")
    assert await JournalReader(bench.disk).list_reasons("r") == []
    assert await JournalReader(bench.disk).verify_chains() > 3


async def test_verify_counts(bench: Bench) -> None:
    archive = JournalReader(bench.disk)
    pages = [page async for page in archive.read_pages()]
    assert await archive.verify_chains() == sum(len(page) for page in pages) > 5


async def test_graphs_are_shared_and_forgotten() -> None:
    bench = Bench()
    for number in range(103):
        bench.run(flow(task(f"t{number}")), f"r{number}")
    archive = JournalReader(bench.disk)
    first = await archive.load_graph(await archive.read_records("r0"))
    assert await archive.load_graph(await archive.read_records("r0")) is first
    for number in range(103):
        assert list((await archive.read_report(f"r{number}")).tasks) == [f"t{number}"]


class Changed(MemoryStore):
    """A journal that somebody has edited."""

    def edit(self, stream: str, number: int, **fields: object) -> None:
        records = self._streams[stream]
        old = records[number]
        records[number] = new = msgspec.structs.replace(old, **fields)
        self._records[self._records.index(old)] = new

    def drop(self, stream: str, number: int) -> None:
        self._records.remove(self._streams[stream].pop(number))

    def drop_definitions(self) -> None:
        self._definitions.clear()


@pytest.fixture
def changed(bench: Bench) -> Changed:
    made = Changed()
    made.__dict__.update(vars(bench.disk))
    return made


@pytest.mark.parametrize(
    "fields",
    [{"payload": b"[]"}, {"at": 1}, {"cause": "x"}, {"seq": 9}, {"hash": b"x" * 32}, {"count": 7}],
)
async def test_edited_record(changed: Changed, fields: dict[str, object]) -> None:
    changed.edit("alpha", 1, **fields)
    archive = JournalReader(changed)
    for ask in (
        archive.verify_chains(),
        archive.read_report("alpha"),
        archive.read_records("alpha"),
    ):
        with pytest.raises(StoreCorrupt, match="stream alpha: the chain breaks"):
            await ask


async def test_record_of_a_later_version(changed: Changed) -> None:
    changed.edit("alpha", 1, v=2)
    with pytest.raises(RunUnusable, match="record 4 has version 2"):
        await JournalReader(changed).read_report("alpha")


@pytest.mark.parametrize("what", ["the end", "all"])
async def test_missing_facts(changed: Changed, what: str) -> None:
    """A chain that is cut at its end still holds; the hive's stream knows how long it was."""
    while changed.records("alpha"):
        changed.drop("alpha", -1)
        if what == "the end":
            break
    if what == "all":
        del changed._streams["alpha"]
    with pytest.raises(StoreCorrupt, match=r"run alpha has .* events, the hive stream records"):
        await JournalReader(changed).verify_chains()


async def test_missing_definition(changed: Changed) -> None:
    changed.drop_definitions()
    with pytest.raises(StoreCorrupt, match="missing or was changed"):
        await JournalReader(changed).read_report("alpha")


async def test_stream_that_begins_with_something_else() -> None:
    store = MemoryStore()
    payload = ev.encode([ev.RunStarted(at=1)])
    record = Record(stream="r", seq=1, count=1, at=1, type="run", payload=payload)
    row = RunRow(run="r", name="w", status="running", created=1)
    await store.append(Batch(records=[record], runs=[row]))
    with pytest.raises(StoreCorrupt, match="is not its submission"):
        await JournalReader(store).read_report("r")


def test_queries_by_name() -> None:
    found = queries("sqlite")
    assert {"schema", "append", "read", "scan", "runs", "open_runs", "run"} <= set(found)
    assert all(text and not text.startswith("--") for text in found.values())
    assert queries("sqlite") is found


async def with_snapshot(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """An open run with a snapshot before its last facts."""
    monkeypatch.setattr(snapshots, "SNAPSHOT_INTERVAL", 4)
    bench = Bench(snapshot_every=4)
    bench.run(flow(*(task(f"t{i}", *([f"t{i - 1}"] if i else [])) for i in range(8))), "alpha")
    for number in range(6):
        bench.answer(f"t{number}", number, run="alpha")
    return bench


async def read_of(archive: JournalReader, run: str) -> tuple[int, list[str]]:
    state = await archive.load_state(run)
    return state.seq, [str(kind) for kind in state.state]


async def test_states_from_the_last_snapshot_on(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = await with_snapshot(monkeypatch)
    whole = bench.state("alpha")
    right = whole.seq, [str(kind) for kind in whole.state]
    assert await read_of(JournalReader(bench.disk), "alpha") == right
    before: list[int] = []
    read = bench.disk.read

    def watched(stream: str, after: int = 0) -> AsyncIterator[Record]:
        before.append(after)
        return read(stream, after)

    monkeypatch.setattr(bench.disk, "read", watched)
    assert await read_of(JournalReader(bench.disk), "alpha") == right
    # A look at how it begins, which says that it is long; then only what comes after the snapshot.
    assert before == [0, before[-1]] != [0, 0]
    # Without it, from the beginning.
    for spoilt in ({}, dict.fromkeys(bench.disk.contents, b"[1]")):
        monkeypatch.setattr(bench.disk, "contents", spoilt)
        assert await read_of(JournalReader(bench.disk), "alpha") == right
        assert before[-1] == 0


async def test_a_chain_that_breaks_after_the_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = await with_snapshot(monkeypatch)
    records = bench.disk._streams["alpha"]
    records[-1] = msgspec.structs.replace(records[-1], at=1)
    with pytest.raises(StoreCorrupt, match="the chain breaks"):
        await JournalReader(bench.disk).load_state("alpha")


async def test_another_snapshot_put_in_place_of_the_one(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = await with_snapshot(monkeypatch)
    records = bench.disk._streams["alpha"]
    at = max(i for i, record in enumerate(records) if record.cause)
    records[at] = msgspec.structs.replace(records[at], cause="snapshot:" + "0" * 64 + ":9")
    with pytest.raises(StoreCorrupt, match="the chain breaks"):
        await JournalReader(bench.disk).read_records("alpha")


async def test_a_run_of_a_few_records_takes_one_question() -> None:
    asked: list[str] = []

    class Asked(MemoryStore):
        async def last(self, stream: str) -> Record | None:
            asked.append(stream)
            return await super().read_last_record(stream)

    bench = Bench()
    bench.disk = Asked()
    bench.run(flow(task("a")))
    assert (await JournalReader(bench.disk).load_state("r")).calls_in_flight == 1
    assert asked == []


async def test_a_run_of_many_records_is_replayed_whole_without_a_snapshot() -> None:
    bench = Bench()
    bench.run(flow(*(task(f"t{i}", *([f"t{i - 1}"] if i else [])) for i in range(FEW_RECORDS + 5))))
    for i in range(FEW_RECORDS + 2):
        bench.answer(f"t{i}")
    assert len(bench.disk.records("r")) > FEW_RECORDS
    assert (await JournalReader(bench.disk).load_state("r")).succeeded_count == FEW_RECORDS + 2
