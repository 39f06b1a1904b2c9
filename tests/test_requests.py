"""Requests with an id: carried out once, answered the same way again, refused for another one."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agenthive import AgentRegistry, Hive, TaskState, WorkflowSpec
from agenthive.authoring import from_mapping
from agenthive.core.history.migration import Migration
from agenthive.core.history.retention import older_than
from agenthive.core.journal.records import Batch
from agenthive.core.values import SECOND
from agenthive.errors import Conflict, InvalidValue, NotFound, StoreUnavailable
from agenthive.hive.requests import KEPT
from agenthive.infra.home import Home
from agenthive.ipc import protocol
from agenthive.ipc.client import ControlClient
from tests.agents.peers import until
from tests.planted.bugs import copy_with_bug, find_bug

DOLLAR = 10**9
Request = Callable[[Hive, str], Awaitable[Any]]


async def work() -> str:
    """Ends at once."""
    return "done"


async def hang() -> None:
    """Never ends."""
    await asyncio.Event().wait()


def agents() -> AgentRegistry:
    known = AgentRegistry()
    known.register("work", work)
    known.register("hang", hang)
    return known


AGENTS = [
    {"name": name, "type": "custom", "endpoint": f"custom://{name}", "max_cost": 0.01}
    for name in ("work", "hang")
]


def flow(more: str = "") -> WorkflowSpec:
    """Waits for an approval, for two signals, and for the outcome of a call that is cut off."""
    tasks: list[dict[str, Any]] = [
        {"name": "a", "agent": "work", "action": "go"},
        {"name": "once", "agent": "hang", "action": "go", "effect": "once"},
        {"name": "ap", "agent": "work", "action": "go", "approval": {"approvers": ["ann"]}},
        {"name": "s1", "wait_for": "go"},
        {"name": "s2", "wait_for": "go", "depends_on": ["s1"]},
    ]
    if more:
        tasks.append({"name": more, "agent": "work", "action": "go", "depends_on": ["s2"]})
    budget = {"limit": 1.0, "on_exceeded": "wait"}
    document = {"agenthive": 1, "name": "flow", "budget": budget, "agents": AGENTS, "tasks": tasks}
    return from_mapping(document).spec


def short() -> WorkflowSpec:
    """One task, which ends at once."""
    tasks = [{"name": "a", "agent": "work", "action": "go"}]
    return from_mapping(
        {"agenthive": 1, "name": "short", "agents": AGENTS[:1], "tasks": tasks}
    ).spec


def open_home(folder: Path, *, recover: bool = False) -> Hive:
    return Hive.open(folder / "home", agents=agents(), recover=recover)


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """A folder with a home that has the run ``r``, the ended run ``old`` and the schedule ``x``."""
    async with open_home(tmp_path) as hive:
        ended = await hive.submit(short(), run_id="old")
        await hive.wait_for_end(ended)
        await hive.submit(flow(), run_id="r")
        await until(lambda: is_running(hive, "once"))
        await hive.schedules.set("x", flow(), every="1d", start="2130-01-01T00:00:00Z")
        async with Hive.open(tmp_path / "other", agents=agents()) as other:
            foreign = await other.submit(short(), run_id="foreign")
            await other.wait_for_end(foreign)
            lines = [line async for line in other.retention.export_run(foreign)]
        for name in ("foreign.jsonl", "again.jsonl"):
            (tmp_path / name).write_bytes(b"".join(lines))
    return tmp_path


async def prune(hive: Hive, key: str, seconds: int) -> Any:
    policy = older_than(seconds * SECOND)
    return [done async for done in hive.retention.prune(policy, request_id=key)][-1]


def import_file(hive: Hive, key: str, name: str) -> Awaitable[Any]:
    assert hive.home is not None
    return hive.retention.import_run(hive.home.path.parent / name, request_id=key)


REQUESTS: dict[str, tuple[Request, Request]] = {
    "submit": (
        lambda hive, key: hive.submit(short(), request_id=key),
        lambda hive, key: hive.submit(flow(), request_id=key),
    ),
    "cancel": (
        lambda hive, key: hive.cancel("r", reason="no", request_id=key),
        lambda hive, key: hive.cancel("r", reason="yes", request_id=key),
    ),
    "resolve": (
        lambda hive, key: hive.resolve_outcome("r", "once", "succeeded", 1, request_id=key),
        lambda hive, key: hive.resolve_outcome("r", "once", "succeeded", 2, request_id=key),
    ),
    "approve": (
        lambda hive, key: hive.approvals.approve("r", "ap", actor="ann", request_id=key),
        lambda hive, key: hive.approvals.reject("r", "ap", actor="ann", request_id=key),
    ),
    "signal": (
        lambda hive, key: hive.signals.send("r", "go", {"n": 1}, request_id=key),
        lambda hive, key: hive.signals.send("r", "go", {"n": 1.0}, request_id=key),
    ),
    "set_budget": (
        lambda hive, key: hive.budgets.top_up("run r", DOLLAR, request_id=key),
        lambda hive, key: hive.budgets.set_limit("run r", DOLLAR, request_id=key),
    ),
    "settle": (
        lambda hive, key: hive.budgets.settle("r", "once", 5, request_id=key),
        lambda hive, key: hive.budgets.settle("r", "once", 6, request_id=key),
    ),
    "schedule": (
        lambda hive, key: hive.schedules.trigger("x", request_id=key),
        lambda hive, key: hive.schedules.pause("x", request_id=key),
    ),
    "migrate": (
        lambda hive, key: hive.migrations.migrate("r", flow(more="z"), request_id=key),
        lambda hive, key: hive.migrations.migrate("r", flow(more="y"), request_id=key),
    ),
    "fork": (
        lambda hive, key: hive.forks.create("r", "a", again=True, request_id=key),
        lambda hive, key: hive.forks.create("r", "s1", again=True, request_id=key),
    ),
    "collect": (
        lambda hive, key: prune(hive, key, 0),
        lambda hive, key: prune(hive, key, 1),
    ),
    "take_in": (
        lambda hive, key: import_file(hive, key, "foreign.jsonl"),
        lambda hive, key: import_file(hive, key, "again.jsonl"),
    ),
}
"""Verb -> a request, and another one of the same verb."""


def test_every_verb_with_an_id_has_an_example() -> None:
    with_id = {v.name for v in protocol.VERBS.values() if "request_id" in v.arguments}
    assert REQUESTS.keys() == with_id


async def count_events(hive: Hive) -> int:
    """The position of the last event of the journal."""
    records = await hive._resources.store.scan_records(limit=10_000)
    return records[-1].pos + records[-1].count


async def settle_down(hive: Hive) -> None:
    """Wait until every run waits for something from outside."""
    await until(lambda: hive.is_idle and not hive._resources.driver.has_work)


def is_running(hive: Hive, task: str) -> bool:
    state = hive._resources.driver.runs["r"].state
    return state.state[state.graph.index[task]] is TaskState.RUNNING


@pytest.mark.parametrize("verb", REQUESTS)
async def test_done_once_across_owners(verb: str, folder: Path) -> None:
    request, other_request = REQUESTS[verb]
    async with open_home(folder, recover=True) as hive:
        await settle_down(hive)
        before = await count_events(hive)
        answer = await request(hive, "k-1")
        assert await count_events(hive) > before
    async with open_home(folder) as hive:
        after = await count_events(hive)
        assert await request(hive, "k-1") == answer
        with pytest.raises(Conflict, match=r"'k-1' belongs to another request.*not carried out"):
            await other_request(hive, "k-1")
        assert await count_events(hive) == after, "only the first call changed something"


async def test_a_rejected_request_is_rejected_again(folder: Path) -> None:
    async with open_home(folder, recover=True) as hive:
        with pytest.raises(Conflict, match="'bob' is not an approver"):
            await hive.approvals.approve("r", "ap", actor="bob", request_id="k")
    async with open_home(folder) as hive:
        after = await count_events(hive)
        with pytest.raises(Conflict, match="'bob' is not an approver"):
            await hive.approvals.approve("r", "ap", actor="bob", request_id="k")
        assert await count_events(hive) == after, "the decision is recorded once"


async def test_a_request_that_raised_is_carried_out_when_it_comes_again(folder: Path) -> None:
    async with open_home(folder, recover=True) as hive:
        with pytest.raises(NotFound):
            await hive.signals.send("r", "never", request_id="k")
        with pytest.raises(NotFound):
            await hive.signals.send("r", "never", request_id="k")
        await hive.signals.send("r", "go", request_id="k")


async def test_without_an_id_each_call_counts() -> None:
    async with Hive.open(agents=agents()) as hive:
        assert await hive.submit(short()) != await hive.submit(short())
        assert hive._resources.store._requests == {}  # type: ignore[attr-defined]


async def test_requests_at_the_same_time_are_one(folder: Path) -> None:
    async with open_home(folder, recover=True) as hive:
        answers = await asyncio.gather(*(hive.submit(short(), request_id="k") for _ in range(20)))
        assert len(set(answers)) == 1
        results = await asyncio.gather(
            hive.signals.send("r", "go", 1, request_id="s"),
            hive.signals.send("r", "go", 2, request_id="s"),
            return_exceptions=True,
        )
        assert results[0] is None
        assert isinstance(results[1], Conflict)
        assert "at this moment" in str(results[1])


async def test_a_caller_that_gives_up_takes_nothing_back(folder: Path) -> None:
    async with open_home(folder, recover=True) as hive:
        await settle_down(hive)
        first = asyncio.ensure_future(hive.signals.send("r", "go", request_id="k"))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await hive.signals.send("r", "go", request_id="k")
        await settle_down(hive)
        events = [event.type async for event in hive.journal.read_events("r")]
        assert events.count("run.signal_received") == 1


async def test_an_id_is_forgotten_after_a_day(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_home(folder, recover=True) as hive:
        now = hive._resources.clock.now()
        monkeypatch.setattr(hive._resources.clock, "now", lambda: now)
        first = await hive.submit(short(), request_id="k")
        now += KEPT
        assert await hive.submit(short(), request_id="k") == first
        now += 1
        second = await hive.submit(flow(), request_id="k")
        assert second != first, "it may be used for any request again"
        assert await hive.submit(flow(), request_id="k") == second


async def test_pruning_goes_on_where_it_ended(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agenthive.queries.retention.CHUNK", 1)
    policy = older_than(0)
    async with open_home(folder, recover=True) as hive:
        for number in range(3):
            await hive.wait_for_end(await hive.submit(short(), run_id=f"more-{number}"))
        async for progress in hive.retention.prune(policy, request_id="k"):
            if progress.runs == 2:
                break
    async with open_home(folder) as hive:
        done = [progress async for progress in hive.retention.prune(policy, request_id="k")]
        assert (done[0].runs, done[0].due) == (2, 4)
        assert (done[-1].runs, done[-1].due) == (4, 4)
        assert [p async for p in hive.retention.prune(policy, request_id="k")] == [done[-1]]


@pytest.mark.parametrize("key", ["", "a b", "x" * 129, "\u00fc", "a\n", 7])
async def test_what_cannot_be_an_id(key: Any) -> None:
    async with Hive.open(agents=agents()) as hive:
        with pytest.raises(InvalidValue, match="cannot be a request id"):
            await hive.submit(short(), request_id=key)


async def test_a_run_that_the_store_refuses_keeps_no_id(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_home(folder) as hive:
        store = hive._resources.store
        append = store.append

        async def refuse(batch: Batch) -> None:
            raise StoreUnavailable("full")

        monkeypatch.setattr(store, "append", refuse)
        with pytest.raises(StoreUnavailable):
            await hive.submit(short(), request_id="k")
        assert await store.find_request("k") is None
        monkeypatch.setattr(store, "append", append)
        await until(lambda: not hive.store_error)
        run = await hive.submit(short(), request_id="k")
        assert (await hive.wait(run)).status == "completed"
        assert await hive.submit(short(), request_id="k") == run


async def test_over_the_socket(folder: Path) -> None:
    async with open_home(folder, recover=True) as hive:
        assert hive.home is not None
        remote = ControlClient(Home(hive.home.path)).proxy_for(Hive)
        run = await remote.submit(short(), {}, request_id="k")
        assert await remote.submit(short(), {}, request_id="k") == run
        assert await hive.submit(short(), request_id="k") == run, "the same from here"
        with pytest.raises(Conflict, match="belongs to another request with other arguments"):
            await remote.submit(flow(), {}, request_id="k")
        with pytest.raises(Conflict, match="belongs to another request of 'submit'"):
            await remote.signals.send("r", "go", request_id="k")
        migration = await remote.migrations.migrate("r", flow(more="z"), request_id="m")
        assert await remote.migrations.migrate("r", flow(more="z"), request_id="m") == migration
        assert isinstance(migration, Migration)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bug", "says"),
    [
        ("do_not_compare_the_payload", "DID NOT RAISE"),
        ("forget_the_request_id", "AssertionError|NotFound"),
        ("keep_the_request_of_a_refused_run", "RunNotFound"),
    ],
)
def test_planted_bug_is_caught(bug: str, says: str, tmp_path: Path) -> None:
    source = copy_with_bug(find_bug(bug), tmp_path)
    env = dict(os.environ, PYTHONPATH=f"{source}:{Path(__file__).parents[1]}")
    tests = ("across_owners and signal", "at_the_same_time", "store_refuses")
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", " or ".join(tests), __file__]
    done = subprocess.run([sys.executable, *command], env=env, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout
    assert re.search(says, done.stdout)
