"""What stands around a call in the embedded runtime: schemas of results, caches, signs of life."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from agenthive.agents.registry import AgentRegistry
from agenthive.core.history.report import RunReport
from agenthive.core.journal import run_events as ev
from agenthive.core.model.calls import Call
from agenthive.core.model.control_flow import CacheSpec, EachSpec
from agenthive.core.model.workflow import AgentSpec, Effect, TaskSpec, WorkflowSpec
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.policies.retry import RetryPolicy, RetryStrategy
from agenthive.hive import Hive
from agenthive.infra.heartbeat import heartbeat

NAMED = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
AT_ONCE = RetryPolicy(max_attempts=2, strategy=RetryStrategy.IMMEDIATE)


def workflow(**more: Any) -> WorkflowSpec:
    agent = AgentSpec(name="a", type="custom", endpoint="custom://f")
    task = TaskSpec(name="t", agent="a", action="do", retry=AT_ONCE, **more)
    return WorkflowSpec(name="w", agents=(agent,), tasks=(task,))


async def played(function: Any, *specs: WorkflowSpec) -> tuple[list[RunReport], list[ev.RunEvent]]:
    """The reports of these workflows, run one after the other, and the facts of the last."""
    directory = AgentRegistry()
    directory.register("f", function)
    async with Hive.open(agents=directory) as hive:
        reports = [await hive.run(spec) for spec in specs]
        records = await hive.journal.read_records(reports[-1].run_id)
        return reports, [
            event for record in records for event in ev.decode_run_events(record.payload)
        ]


@pytest.mark.parametrize("retry_on", [None, (FaultClass.BAD_END,)])
async def test_a_result_that_is_not_as_the_schema_says_is_a_bad_end(retry_on: Any) -> None:
    answers: list[Any] = [{"nam": "x"}, {"name": "x"}]
    spec = workflow(output_schema=NAMED)
    if retry_on is not None:
        retry = msgspec.structs.replace(AT_ONCE, retry_on=retry_on)
        spec = msgspec.structs.replace(
            spec, tasks=(msgspec.structs.replace(spec.tasks[0], retry=retry),)
        )
    reports, facts = await played(lambda: answers.pop(0), spec)
    assert reports[0].results == ({} if retry_on is None else {"t": {"name": "x"}})
    failed = next(fact for fact in facts if isinstance(fact, ev.TaskFailed))
    assert (failed.fault.kind, failed.fault.class_) == ("invalid_output", FaultClass.BAD_END)
    assert '"name" is a required property' in failed.fault.message


async def test_a_result_that_never_fits_fails_the_task() -> None:
    reports, _ = await played(lambda: 3, workflow(output_schema=NAMED))
    assert reports[0].status == "failed"
    assert "output_schema" in reports[0].errors["t"]


async def test_equal_calls_are_made_once() -> None:
    calls: list[Any] = []

    def function(parameters: dict[str, Any]) -> int:
        calls.append(parameters)
        return len(calls)

    one = workflow(cache=CacheSpec(), parameters={"x": 1})
    other = workflow(cache=CacheSpec(), parameters={"x": 2})
    reports, facts = await played(function, one, other, one)
    assert [report.results["t"] for report in reports] == [1, 2, 1]
    assert len(calls) == 2
    succeeded = next(fact for fact in facts if isinstance(fact, ev.TaskSucceeded))
    assert succeeded.cached == f"{reports[0].run_id}/t"


async def test_what_is_kept_has_its_time() -> None:
    calls: list[int] = []
    spec = workflow(cache=CacheSpec(ttl=0.000001))
    await played(lambda: calls.append(1), spec, spec)
    assert len(calls) == 2


async def test_a_call_without_a_sign_of_life_is_ended_and_the_next_knows_how_far_it_was() -> None:
    seen: list[Any] = []

    async def function(call: Call) -> str:
        seen.append(call.progress)
        if call.attempt == 1:
            for step in range(4):
                heartbeat({"step": step})
                await asyncio.sleep(0.06)
            await asyncio.sleep(10)
        return "done"

    reports, facts = await played(function, workflow(heartbeat_timeout=0.1, effect=Effect.ANY))
    assert reports[0].results == {"t": "done"}
    assert seen[0] is None
    assert seen[1]["step"] >= 1
    told = [fact for fact in facts if isinstance(fact, ev.TaskProgressed)]
    assert 1 <= len(told) <= 4
    assert "no heartbeat" in next(f for f in facts if isinstance(f, ev.TaskFailed)).fault.message


async def test_a_sync_function_beats_from_its_thread() -> None:
    import time

    def function() -> str:
        for _ in range(4):
            heartbeat()
            time.sleep(0.06)
        return "done"

    reports, _ = await played(function, workflow(heartbeat_timeout=0.15))
    assert reports[0].results == {"t": "done"}


async def test_items_are_begun_though_nothing_else_moves() -> None:
    agent = AgentSpec(name="a", type="custom", endpoint="custom://f")
    each = TaskSpec(name="t", agent="a", action="do", for_each=EachSpec(items=[1, 2]))
    alone = WorkflowSpec(name="w", agents=(agent,), tasks=(each,), timeout=None)
    reports, _ = await asyncio.wait_for(played(lambda: 3, alone), 10)
    assert reports[0].results == {"t": [3, 3]}
