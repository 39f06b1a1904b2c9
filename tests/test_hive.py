"""The hive as a user holds it: submit, wait, cancel, watch, close, and go on later."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import Any

import pytest

from agenthive import AgentRegistry, Hive, Workflow, WorkflowSpec
from agenthive.errors import (
    AgentUnavailable,
    BudgetExceeded,
    ConfigurationError,
    Conflict,
    HomeBusy,
    InvalidValue,
    NotFound,
    RunCancelled,
    RunError,
    RunFailed,
    RunNotFound,
    RunTimedOut,
    StoreCorrupt,
    StoreFailed,
    StoreUnavailable,
)
from agenthive.hive import open_journal
from agenthive.hive.store_urls import locate_store
from agenthive.infra.home import Home
from agenthive.testing import HANG, ScriptedAgent
from tests.stores.broken_disk import writes_fail


def flow(*tasks: str, agent: str = "work", **keys: Any) -> WorkflowSpec:
    """A chain of tasks."""
    made = Workflow("flow", **keys)
    who = made.agent(agent, type="custom", endpoint=f"custom://{agent}")
    before: list[str] = []
    for name in tasks or ("t",):
        made.task(name, agent=who, action="go", depends_on=before, retry_config={"max_attempts": 1})
        before = [name]
    return made.build()


def directory(*answers: Any, **agents: Any) -> AgentRegistry:
    known = AgentRegistry()
    known.register("work", ScriptedAgent(*answers))
    for name, agent in agents.items():
        known.register(name, agent)
    return known


async def started(hive: Hive, run: str, task: str) -> None:
    """Wait until a task's intent is on disk."""
    async for fact in hive.watch(run):
        if fact.type == "task.started" and f'"{task}"' in bytes(fact.data).decode():
            return


async def test_run_and_look_at_it() -> None:
    async with Hive.open(agents=directory("one", "two")) as hive:
        report = await hive.run(flow("a", "b"))
        assert (report.status, report.exit_code) == ("completed", 0)
        assert report.results == {"a": "one", "b": "two"}
        assert [row.run for row in await hive.runs()] == [report.run_id]
        assert await hive.runs(unfinished=True) == []
        assert await hive.why(report.run_id) == []
        lines = await hive.journal.read_story(report.run_id, "b")
        assert any("succeeded" in line.text for line in lines)
        assert hive.is_idle
        assert hive.fatal_error is None
        with pytest.raises(NotFound, match="has no task 'z'"):
            await hive.journal.read_story(report.run_id, "z")


@pytest.mark.parametrize(
    ("agent", "keys", "error"),
    [
        (ScriptedAgent(RuntimeError("no")), {}, RunFailed),
        (ScriptedAgent(HANG), {"global_timeout": 0.05}, RunTimedOut),
        (ScriptedAgent("one"), {"budget": {"limit": 0.5}, "max_cost": 1.0}, BudgetExceeded),
    ],
)
async def test_run_that_is_checked_raises(
    agent: ScriptedAgent, keys: dict[str, Any], error: type[RunError]
) -> None:
    agent_keys = {key: keys[key] for key in keys if key == "max_cost"}
    keys = {key: keys[key] for key in keys if key not in agent_keys}
    flow = Workflow("flow", **keys)
    worker = flow.agent("work", type="custom", endpoint="custom://work", **agent_keys)
    flow.task("t", agent=worker, action="go", retry_config={"max_attempts": 1})
    agents = AgentRegistry()
    agents.register("work", agent)
    async with Hive.open(agents=agents) as hive:
        with pytest.raises(error, match=r"run .* ended failed") as caught:
            await hive.run(flow.build(), check=True)
        report = (await hive.runs())[0]
    assert report.run in str(caught.value)
    assert caught.value.hint == f"See what happened: agenthive show {report.run}"


async def test_cancelled_run_that_is_checked_raises() -> None:
    async with Hive.open(agents=directory(HANG)) as hive:
        running = asyncio.create_task(hive.run(flow(), check=True))
        async with asyncio.timeout(10):
            while not (rows := await hive.runs()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await started(hive, rows[0].run, "t")
        await hive.cancel(rows[0].run)
        with pytest.raises(RunCancelled, match="ended cancelled"):
            await running


async def test_run_that_reaches_its_goal_is_not_raised() -> None:
    async with Hive.open(agents=directory("one")) as hive:
        assert (await hive.run(flow(), check=True)).status == "completed"


async def test_inputs_are_checked_and_filled_in() -> None:
    made = Workflow("flow", inputs={"n": {"type": "integer", "default": 3}})
    agent = made.agent("work", type="custom", endpoint="custom://work")
    made.task("t", agent=agent, action="go", parameters={"n": "{{ inputs.n }}"})
    async with Hive.open(agents=directory(lambda call: call.parameters)) as hive:
        assert (await hive.run(made.build())).results == {"t": {"n": 3}}
        assert (await hive.run(made.build(), {"n": 4})).results == {"t": {"n": 4}}
        with pytest.raises(ConfigurationError):
            await hive.submit(made.build(), {"n": "many"})
        with pytest.raises(ConfigurationError):
            await hive.submit(made.build(), {"m": 1})
        assert len(await hive.runs()) == 2


async def test_agent_that_nobody_has_is_refused_before_anything_is_written() -> None:
    async with Hive.open(agents=directory()) as hive:
        with pytest.raises(AgentUnavailable, match="nobody"):
            await hive.submit(flow(agent="nobody"))
        assert await hive.runs() == []


async def test_same_run_id_twice(tmp_path: Path) -> None:
    """While it is open, after it has ended, and when the home is opened again."""
    home = tmp_path / "home"
    async with Hive.open(home, agents=directory(HANG)) as hive:
        assert await hive.submit(flow(), run_id="r1") == "r1"
        with pytest.raises(Conflict, match="r1"):
            await hive.submit(flow("other"), run_id="r1")
        await hive.cancel("r1")
        await hive.wait("r1")
        with pytest.raises(Conflict, match="r1"):
            await hive.submit(flow("other"), run_id="r1")
    async with Hive.open(home, agents=directory("x")) as hive:
        with pytest.raises(Conflict, match="r1"):
            await hive.submit(flow("other"), run_id="r1")
        assert (await hive.run(flow())).status == "completed"
        assert await hive.journal.verify_chains() > 0


async def test_cancel() -> None:
    agent = ScriptedAgent(HANG)
    async with Hive.open(agents=directory(work=agent)) as hive:
        run = await hive.submit(flow("a", "b"))
        await started(hive, run, "a")
        assert not hive.is_idle
        await hive.cancel(run, reason="enough", actor="ann")
        report = await hive.wait(run)
        assert (report.status, report.exit_code) == ("cancelled", 130)
        assert {task.status for task in report.tasks.values()} == {"cancelled"}
        assert len(agent.cancelled) == 1, "the call was really stopped"
        for unknown in (run, "nope"):
            with pytest.raises(RunNotFound):
                await hive.cancel(unknown)
        facts = [bytes(f.data).decode() async for f in hive.watch(run)]
        assert any('"actor":"ann","reason":"enough"' in fact for fact in facts)


async def test_what_nobody_knows() -> None:
    async with Hive.open() as hive:
        for ask in (hive.wait, hive.report, hive.why):
            with pytest.raises(RunNotFound):
                await ask("nope")
        with pytest.raises(RunNotFound):
            await anext(hive.watch("nope"))
        assert await hive.resume(["nope"]) == []


async def test_watch_gives_each_fact_once_in_order() -> None:
    async with Hive.open(agents=directory("x")) as hive:
        run = await hive.submit(flow(*(f"t{n}" for n in range(30))))
        seen = [fact.seq async for fact in hive.watch(run)]
        assert seen == list(range(1, len(seen) + 1))
        assert [f.seq async for f in hive.watch(run, after=10)] == seen[10:]


@pytest.mark.parametrize("url", ["memory:", "home"])
async def test_close_stops_what_runs(url: str, tmp_path: Path) -> None:
    agent = ScriptedAgent(HANG)
    where = url if url == "memory:" else tmp_path / url
    hive = await Hive.open(where, agents=directory(work=agent))
    run = await hive.submit(flow())
    await started(hive, run, "t")
    waiting = asyncio.ensure_future(hive.wait(run))
    ended = asyncio.ensure_future(_of(hive.wait_for_end(run)))
    watching = asyncio.ensure_future(_facts(hive, run))
    await asyncio.sleep(0.05)
    await hive.close()
    with pytest.raises(StoreFailed, match="closed"):
        await waiting
    with pytest.raises(StoreFailed, match="closed"):
        await ended
    assert len(agent.cancelled) == 1
    with pytest.raises(ConfigurationError, match="not open"):
        await watching
    await hive.close()
    for ask in (lambda: hive.submit(flow()), lambda: hive.cancel(run), hive.runs, hive.resume):
        with pytest.raises(ConfigurationError, match="not open"):
            await ask()
    with pytest.raises(ConfigurationError, match="not open"):
        _ = hive.journal
    with pytest.raises(ConfigurationError, match="not open"):
        _ = hive.fatal_error


async def _of(something: Any) -> Any:
    return await something


async def _facts(hive: Hive, run: str) -> list[str]:
    return [fact.type async for fact in hive.watch(run)]


async def test_waiting_may_be_given_up() -> None:
    async with Hive.open(agents=directory(lambda call: asyncio.sleep(0.2, "x"))) as hive:
        run = await hive.submit(flow())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(hive.wait(run), 0.02)
        given_up = asyncio.ensure_future(hive.submit(flow(), run_id="other"))
        await asyncio.sleep(0)
        given_up.cancel()
        assert (await hive.wait(run)).status == "completed"
        assert (await hive.wait("other")).status == "completed", "a request is not a promise"


async def test_close_with_drain(tmp_path: Path) -> None:
    agent = ScriptedAgent(lambda call: asyncio.sleep(0.1, call.task))
    hive = await Hive.open(tmp_path / "home", agents=directory(work=agent))
    run = await hive.submit(flow("a", "b"))
    await started(hive, run, "a")
    await hive.close(drain=True)
    assert agent.cancelled == []
    assert [call.task for call in agent.calls] == ["a"], "nothing new is started"
    async with open_journal(tmp_path / "home") as archive:
        assert (await archive.read_report(run)).results == {"a": "a"}
    async with Hive.open(tmp_path / "home", agents=directory(work=agent), recover=True) as hive:
        assert (await hive.wait(run)).results == {"a": "a", "b": "b"}
    assert [call.task for call in agent.calls] == ["a", "b"]


async def test_cut_off_and_resumed(tmp_path: Path) -> None:
    """The call that was under way is made again under its key; what was done stays done."""
    home = tmp_path / "home"
    first = ScriptedAgent("done", HANG)
    async with Hive.open(home, agents=directory(work=first)) as hive:
        run = await hive.submit(flow("a", "b", "c"))
        await started(hive, run, "b")
        other = await hive.submit(flow("x"))
    second = ScriptedAgent("again")
    async with Hive.open(home, agents=directory(work=second)) as hive:
        assert [row.run for row in await hive.runs(unfinished=True)] == [other, run]
        assert (await hive.report(run)).status in ("running", "waiting")
        assert await hive.resume(["nope", run]) == [run]
        assert await hive.resume([run]) == [], "it is here already"
        report = await hive.wait(run)
        assert report.results == {"a": "done", "b": "again", "c": "again"}
        assert await hive.resume() == [other]
        assert (await hive.wait(other)).status == "completed"
        assert await hive.resume() == []
    keys = {call.task: call.key for call in first.calls if call.run == run}
    assert [call.key for call in second.calls if call.task == "b"] == [keys["b"]]
    assert len([call for call in second.calls if call.run == run]) == 2


async def test_missing_agent_blocks_until_it_is_supplied(tmp_path: Path) -> None:
    home = tmp_path / "home"
    made = Workflow("flow")
    for name in ("work", "rare"):
        made.agent(name, type="custom", endpoint=f"custom://{name}")
    made.task("a", agent="work", action="go")
    made.task("b", agent="rare", action="go", depends_on=["a"])
    agents = directory(HANG, rare=ScriptedAgent("rare"))
    async with Hive.open(home, agents=agents) as hive:
        run = await hive.submit(made.build())
        await started(hive, run, "a")
    async with Hive.open(home, agents=directory("ok"), recover=True) as hive:
        report = await hive.wait(run)
        assert (report.status, report.exit_code) == ("waiting", 8)
        assert report.tasks["b"].status == "blocked"
        assert "rare" in report.errors["b"]
        (reason,) = await hive.why(run)
        assert (reason.task, str(reason.kind)) == ("b", "agent")
        assert reason.unblock
        facts = [fact.type async for fact in hive.watch(run)]
        assert facts[-1] == "task.blocked", "watching ends when somebody has to help"
        assert hive.is_idle
    async with Hive.open(home, agents=agents, recover=True) as hive:
        report = await hive.wait(run)
        assert report.results == {"a": "ok", "b": "rare"}


async def test_one_owner_a_home(tmp_path: Path) -> None:
    async with Hive.open(tmp_path / "home", agents=directory("x")) as hive:
        second = Hive.open(tmp_path / "home")
        with pytest.raises(HomeBusy, match="owned by process"):
            await second
        assert (await hive.run(flow())).status == "completed", "the first one is not disturbed"
    async with Hive.open(tmp_path / "home") as hive:
        assert len(await hive.runs()) == 1


async def test_opened_twice_is_opened_once(tmp_path: Path) -> None:
    hive = await Hive.open(tmp_path / "home")
    assert await hive is hive
    await hive.close()


async def test_home_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        await Hive.open(tmp_path / "file" / "home")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "journal.db").write_bytes(b"dear diary" * 1000)
    with pytest.raises(StoreCorrupt, match="not a journal"):
        await Hive.open(tmp_path / "home")
    (tmp_path / "home" / "journal.db").unlink()
    async with Hive.open(tmp_path / "home"):
        pass  # the lock was given back


async def test_reading_a_home_that_is_not_there(tmp_path: Path) -> None:
    async with open_journal(tmp_path / "home") as archive:
        assert await archive.list_runs() == []
    assert not (tmp_path / "home").exists()


async def test_time_outs() -> None:
    agent = ScriptedAgent(HANG)
    async with Hive.open(agents=directory(work=agent)) as hive:
        made = Workflow("flow")
        who = made.agent("work", type="custom", endpoint="custom://work")
        made.task("t", agent=who, action="go", timeout=0.05, retry_config={"max_attempts": 1})
        report = await hive.run(made.build())
        assert (report.status, report.errors) == ("failed", {"t": "Request timeout"})
        report = await hive.run(flow("a", "b", global_timeout=0.05))
        assert (report.status, report.exit_code) == ("failed", 9)
        assert len(agent.cancelled) == 2


async def test_many_runs_share_what_there_is() -> None:
    """``max_calls`` bounds the calls under way, ``max_runs`` the runs."""
    now, most, runs = 0, 0, set[str]()
    crowd = 0

    async def work(call: Any) -> str:
        nonlocal now, most, crowd
        now += 1
        runs.add(call.run)
        most, crowd = max(most, now), max(crowd, len(runs))
        await asyncio.sleep(0.002)
        now -= 1
        if call.task == "b":
            runs.discard(call.run)
        return call.task

    async with Hive.open(agents=directory(work=work), max_runs=4, max_calls=3) as hive:
        reports = await asyncio.gather(*(hive.run(flow("a", "b")) for _ in range(120)))
        assert {report.status for report in reports} == {"completed"}
    assert most == 3
    assert crowd <= 4


async def test_disk_that_breaks(tmp_path: Path) -> None:
    """Everybody is told, nothing goes on, and a new hive goes on from what is on disk."""
    agent = ScriptedAgent("first", lambda call: asyncio.sleep(0.1, "second"))
    hive = await Hive.open(tmp_path / "home", agents=directory(work=agent))
    run = await hive.submit(flow("a", "b"))
    with writes_fail(errno.EIO):
        waiting, watching = (asyncio.ensure_future(f) for f in (hive.wait(run), _facts(hive, run)))
        for told in (waiting, watching):
            with pytest.raises(StoreFailed, match="outcome unknown"):
                await asyncio.wait_for(told, 5)
    assert isinstance(hive.fatal_error, StoreFailed)
    for ask in (hive.submit(flow()), hive.cancel(run), hive.wait(run)):
        with pytest.raises(StoreFailed, match="outcome unknown"):
            await ask
    assert (await hive.report(run)).results.keys() <= {"a"}, "what is on disk can be read"
    with pytest.raises(StoreFailed, match="outcome unknown"):
        await asyncio.wait_for(_facts(hive, run), 5)
    await hive.close(drain=True)
    async with Hive.open(tmp_path / "home", agents=directory("later"), recover=True) as again:
        assert (await again.wait(run)).status == "completed"
        assert await again.journal.verify_chains() > 0


async def test_graphs_of_many_workflows() -> None:
    async with Hive.open(agents=directory("x")) as hive:
        for number in range(103):
            report = await hive.run(flow(f"t{number}"))
            assert report.results == {f"t{number}": "x"}


async def test_text_that_no_journal_can_hold() -> None:
    async with asyncio.timeout(10), Hive.open() as hive:
        for inputs in ({"a": "\ud800"}, {"\ud800": 1}, {"a": [{"\ud800": 1}]}):
            with pytest.raises(ConfigurationError, match="not text"):
                await hive.submit(flow(), inputs)
        with pytest.raises(RunNotFound):
            await hive.cancel("r1", reason="\ud800")


async def test_decision_that_breaks_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async with asyncio.timeout(10), Hive.open() as hive:

        def broken(self: object, now: int) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr("agenthive.core.engine.driver.Driver.decide", broken)
        made = Workflow("flow")
        made.task("t", agent=made.agent("m", type="ai_agent", endpoint="offline://x"), action="ask")
        with pytest.raises(StoreFailed, match="ZeroDivisionError"):
            await hive.submit(made.build())


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://host/db",
        "redis://host",
        "sqllite:home",
        "memry:",
        "row_codec:x",
        "postgresql+async://host",
        "file:home",
        "MEMORI:",
    ],
)
def test_url_of_an_unknown_scheme_is_refused(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="known are memory:, sqlite:") as refused:
        Hive.open(url)
    assert "./NAME" in refused.value.hint
    assert "add-a-store-or-runtime.md" in refused.value.hint
    assert list(tmp_path.iterdir()) == [], "no folder is made"


@pytest.mark.parametrize("url", ["sqlite:", "sqlite://host/home", "sqlite:///home"])
def test_sqlite_url_without_a_folder_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="names no folder"):
        Hive.open(url)


@pytest.mark.parametrize(
    "path", ["home", "./memry:x", "a/b:c", r"C:\home", "C:home", "memory", "/tmp/home", "~:x", ":x"]
)
def test_paths_are_homes(path: str) -> None:
    home, url = locate_store(path)
    assert home is not None
    assert (home.path, url) == (Home(Path(path)).path, "")


def test_urls_of_stores(tmp_path: Path) -> None:
    home, _ = locate_store(f"sqlite:{tmp_path}")
    assert home is not None
    assert home.path == tmp_path
    home, _ = locate_store(Path("memry:x"))
    assert home is not None, "a Path is a folder"
    assert locate_store("memory:") == (None, "memory:")
    assert locate_store("Memory:") == (None, "memory:")


def test_hive_is_small_and_inherits_nothing() -> None:
    verbs = [name for name in vars(Hive) if not name.startswith("_")]
    parts = [part for part in vars(Hive.open()).values() if type(part).__name__.startswith("Hive")]
    assert len(verbs) <= 25
    for part in (Hive, *map(type, parts)):
        assert part.__bases__ == (object,)


@pytest.mark.parametrize("amount", [0.01, -1, True, "5", 10**30, None])
@pytest.mark.parametrize("verb", ["top_up", "settle"])
async def test_amount_that_is_none_harms_nothing(verb: str, amount: Any) -> None:
    async with Hive.open(agents=directory("one")) as hive:
        call = (
            hive.budgets.top_up("tenant default", amount)
            if verb == "top_up"
            else hive.budgets.settle("run", "task", amount)
        )
        with pytest.raises(InvalidValue, match="not an amount of nano-dollars") as caught:
            await call
        assert "1_000_000_000" in caught.value.hint
        assert (await hive.run(flow())).status == "completed"


@pytest.mark.parametrize(
    "scope", ["day", "day ", "moon", "run", "run ", "run r task", "agent a", "", 5, None]
)
async def test_scope_that_is_none_is_refused(scope: Any) -> None:
    async with Hive.open(agents=directory("one")) as hive:
        with pytest.raises(InvalidValue, match="is not a budget scope"):
            await hive.budgets.set_limit(scope, 1_000_000_000)
        await hive.budgets.set_limit("day default", 1_000_000_000)
        assert [account.scope for account in await hive.budgets.list()] == ["day default"]


@pytest.mark.parametrize("workflow", ["hello.yaml", None, {"name": "x"}])
async def test_workflow_that_is_none_is_refused(workflow: Any) -> None:
    async with Hive.open() as hive:
        with pytest.raises(InvalidValue, match="is not a workflow") as caught:
            await hive.run(workflow)
    assert "load(FILE).spec" in caught.value.hint
