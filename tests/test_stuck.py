"""`agenthive why` on runs that stand: one reason for each, and the right one.

The hive is real, with a home on disk; the question is asked by a process of its own, as a user
would, while the owner has the run in hand.
"""

from __future__ import annotations

import asyncio
import errno
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from agenthive import AgentRegistry, Hive, Workflow, WorkflowSpec
from agenthive.core.model.calls import Fault
from agenthive.testing import HANG, ScriptedAgent
from tests.stores.broken_disk import writes_fail

ONCE = {"effect": "once", "retry_config": {"max_attempts": 1}}
LATER = {"max_attempts": 3, "strategy": "constant_delay", "initial_delay": 30}


class Stuck(NamedTuple):
    """One way to stand still; ``kind`` and ``says`` are what `why` must tell of its task ``t``."""

    kind: str
    says: str
    answer: Any = HANG
    task: Mapping[str, Any] = MappingProxyType({})
    agent: Mapping[str, Any] = MappingProxyType({})
    unblock: str = ""
    before: tuple[str, ...] = ()


def limited(call: object) -> Fault:
    return Fault(kind="rate_limited", message="429: slow down", retry_after=60.0)


DOWN = Fault(kind="unavailable", message="503")

SITUATIONS: dict[str, Stuck] = {
    "dependency": Stuck("dependency", "waits for 'first' (running)", before=("first",)),
    "approval": Stuck(
        "approval",
        "pay the bees? (approvers: ann; 0 of 1 approvals)",
        task={"approval": {"message": "pay the bees?", "approvers": ["ann"]}},
        unblock="agenthive approve RUN t",
    ),
    "signal": Stuck(
        "signal",
        "waits for the signal 'go'",
        task={"wait_for": {"signal": "go"}},
        unblock="agenthive signal RUN go",
    ),
    "timer": Stuck(
        "timer", "waits for its time", task={"delay": 3600}, unblock="its time has come, in 36"
    ),
    "rate limit": Stuck(
        "rate_limit",
        "attempt 1 failed: 429: slow down",
        answer=limited,
        task={"retry_config": LATER},
        unblock="the next attempt is due, in 6",
    ),
    "no capable agent": Stuck(
        "agent",
        "there is no kind 'acme'",
        agent={"type": "acme"},
        unblock="the agent is available and the run is resumed: agenthive resume RUN",
    ),
    "open breaker": Stuck(
        "breaker",
        "the circuit breaker of agent 'work' is open",
        unblock="a probe call has succeeded",
    ),
    "unregistered custom agent": Stuck(
        "agent",
        "no agent is registered for custom://gone",
        agent={"endpoint": "custom://gone"},
        unblock="the agent is available and the run is resumed: agenthive resume RUN",
    ),
    "unknown outcome": Stuck(
        "outcome",
        "may or may not have acted",
        task=ONCE,
        unblock="agenthive resolve RUN t --succeeded, --failed or --retry",
    ),
    "full disk": Stuck(
        "store", "takes no writes now: database or disk is full", unblock="freed space"
    ),
}


def workflow(one: Stuck) -> WorkflowSpec:
    made = Workflow("stuck", max_parallel=10)
    about = {"type": "custom", "endpoint": "custom://work", **one.agent}
    who = made.agent("work", **about)
    for name in one.before:
        made.task(name, agent=who, action="go")
    made.task("t", agent=who, action="go", depends_on=one.before, **one.task)
    return made.build()


async def why(home: Path, run: str) -> list[dict[str, Any]]:
    """What `agenthive why` says, asked from outside."""
    words = (
        "-c",
        "from agenthive.cli import main; main()",
        "why",
        run,
        "--json",
        "--home",
        str(home),
    )
    asked = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asked.communicate()
    found = json.loads(out)
    assert found["owner"]
    return list(found["reasons"])


async def told(home: Path, run: str, kind: str) -> dict[str, Any]:
    """The one reason of ``t``, as soon as it is of that kind."""
    until = time.monotonic() + 20
    while True:
        reasons = [one for one in await why(home, run) if one["task"] == "t"]
        assert len(reasons) == 1
        if reasons[0]["kind"] == kind or time.monotonic() > until:
            return reasons[0]
        await asyncio.sleep(0.1)


async def plain(hive: Hive, home: Path, one: Stuck) -> str:
    hive.agents.register("work", ScriptedAgent(one.answer))
    return await hive.submit(workflow(one))


@pytest.mark.parametrize("name", ["dependency", "approval", "signal", "timer", "rate limit"])
async def test_while_it_goes_on(name: str, tmp_path: Path) -> None:
    one = SITUATIONS[name]
    async with Hive.open(tmp_path) as hive:
        await right(tmp_path, await plain(hive, tmp_path, one), one)


async def right(home: Path, run: str, one: Stuck) -> None:
    reason = await told(home, run, one.kind)
    assert (reason["kind"], one.says in reason["detail"]) == (one.kind, True), reason
    assert one.unblock.replace("RUN", run) in reason["unblock"], reason
    assert 0 < reason["since"] <= time.time() * 1e6


@pytest.mark.parametrize("name", ["no capable agent", "unregistered custom agent"])
async def test_nobody_can_do_it_after_a_restart(name: str, tmp_path: Path) -> None:
    one = SITUATIONS[name]
    known = AgentRegistry()
    known.register_kind("acme", ScriptedAgent(HANG).named)
    known.register("gone", ScriptedAgent(HANG))
    spec = workflow(one._replace(agent={}))
    agent = spec.agents[0]
    changed = {"agents": (type(agent)(**{**fields(agent), **one.agent}),)}
    async with Hive.open(tmp_path, agents=known) as hive:
        run = await hive.submit(type(spec)(**{**fields(spec), **changed}))
    async with Hive.open(tmp_path, recover=True):
        await right(tmp_path, run, one)


def fields(struct: Any) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


async def test_an_open_breaker(tmp_path: Path) -> None:
    one = SITUATIONS["open breaker"]
    breaker = {"circuit_breaker": {"failure_threshold": 1, "recovery_timeout": 600}}
    async with Hive.open(tmp_path) as hive:
        hive.agents.register("work", ScriptedAgent(DOWN, HANG))
        spec = workflow(one._replace(agent=breaker, task={"retry_config": {"max_attempts": 1}}))
        assert (await hive.run(spec)).status == "failed"
        await right(tmp_path, await hive.submit(spec), one)


async def test_an_unknown_outcome(tmp_path: Path) -> None:
    one = SITUATIONS["unknown outcome"]
    async with Hive.open(tmp_path) as hive:
        run = await plain(hive, tmp_path, one)
        async for fact in hive.watch(run):
            if fact.type == "task.started":
                break
    async with Hive.open(tmp_path, recover=True, agents=AgentRegistry()) as hive:
        hive.agents.register("work", ScriptedAgent(HANG))
        await right(tmp_path, run, one)


async def test_a_full_disk(tmp_path: Path) -> None:
    one = SITUATIONS["full disk"]
    async with Hive.open(tmp_path) as hive:
        hive.agents.register("work", ScriptedAgent(lambda call: asyncio.sleep(0.5, "done")))
        run = await hive.submit(workflow(one))
        with writes_fail(errno.ENOSPC):
            await right(tmp_path, run, one)
        assert (await hive.wait(run)).status == "completed"
