"""B16-B23: workflows are registered, executed on one hive, looked at."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agenthive import Hive
from agenthive.errors import AgentHiveError, Conflict, InvalidValue, WorkflowNotFound
from agenthive.facades.orchestration import (
    AgentStatus,
    EngineConfig,
    LLMResponse,
    OrchestrationEngine,
    RateLimitConfig,
    RetryPolicy,
    Workflow,
    WorkflowStatus,
)
from tests.documents.rig_b import ROOMY, FakeClient, agent, engine, executed, workflow


async def test_b16_an_engine_needs_no_more_than_a_client() -> None:
    one = OrchestrationEngine(FakeClient())
    assert one.config == EngineConfig()
    done = await one.execute_workflow(await one.register_workflow(workflow(agent())))
    assert done.status is WorkflowStatus.COMPLETED
    await one.shutdown()


async def test_b17_each_registration_has_an_id() -> None:
    one = engine()
    first, second = [await one.register_workflow(workflow(agent())) for _ in range(2)]
    assert isinstance(first, str)
    assert first != second
    await one.shutdown()


WRONG: dict[str, tuple[Workflow, str]] = {
    "no agents": (workflow(), "there is none"),
    "two of a name": (workflow(agent("a"), agent("a")), "already a task named 'a'"),
    "unknown dependency": (workflow(agent("a", dependencies=["b"])), "undefined task 'b'"),
    "itself": (workflow(agent("a", dependencies=["a"])), "depends on itself"),
    "circle": (
        workflow(agent("a", dependencies=["b"]), agent("b", dependencies=["a"])),
        "Circular dependency detected",
    ),
    "name": (workflow(agent("a/b")), "must not contain /"),
    "no name": (workflow(agent(), name=" "), "must not be empty"),
    "budget": (workflow(agent(), cost_budget=-1.0), "cost_budget: must be"),
    "no number": (workflow(agent(), cost_budget=float("nan")), "cost_budget: must be"),
    "parallel": (workflow(agent(), max_parallel_agents=0), "max_parallel_agents: must be"),
    "timeout": (workflow(agent(timeout=0.0)), r"agents\[0\].timeout: must be"),
    "priority": (workflow(agent(priority=11)), "priority: must be a whole number from 1 to 10"),
    "retries": (workflow(agent(max_retries=-1)), "max_retries: must be"),
    "limit": (workflow(agent(cost_limit=float("inf"))), "cost_limit: must be"),
    "no model": (workflow(agent(llm_config={"model": ""})), "model: must name a model"),
    "tokens": (workflow(agent(llm_config={"max_tokens": 0})), "max_tokens: must be"),
    "taken": (workflow(agent(llm_config={"prompt": "x"})), "cannot be set here"),
    "costly": (workflow(agent(llm_config={"n": 2})), "max_tokens limits the cost of a call"),
    "no text": (
        workflow(replace(agent(), prompt_template=7)),  # type: ignore[arg-type]
        "prompt_template: must be text",
    ),
    "no map": (workflow(agent(llm_config={"inputs": ["x"]})), "inputs: must be a map"),
    "no JSON": (workflow(agent(llm_config={"stop": object()})), "must be JSON"),
}


@pytest.mark.parametrize("what", WRONG)
async def test_b17_what_cannot_run_is_refused(what: str) -> None:
    flow, told = WRONG[what]
    one = engine()
    with pytest.raises(InvalidValue, match=told) as caught:
        await one.register_workflow(flow)
    assert isinstance(caught.value, ValueError)
    assert one.get_system_status()["registered_workflows"] == 0
    await one.shutdown()


async def test_b17_all_that_is_wrong_is_told_at_once() -> None:
    flow = workflow(agent(priority=0), agent("b", dependencies=["c"]), cost_budget=-1)
    with pytest.raises(InvalidValue) as caught:
        await engine().register_workflow(flow)
    assert len(caught.value.problems) == 3


async def test_b18_unknown_workflows_are_a_value_error() -> None:
    one = engine()
    with pytest.raises(ValueError, match="no workflow has the id 'x'") as caught:
        await one.execute_workflow("x")
    assert isinstance(caught.value, WorkflowNotFound)
    known = await one.register_workflow(workflow(agent()))
    with pytest.raises(ValueError, match="no workflow has the id 'x'"):
        await one.execute_multiple_workflows([known, "x"])
    status = one.get_workflow_status(known)
    assert status is not None
    assert status["status"] == "pending", "nothing has been started"
    await one.shutdown()


async def test_b18_dependencies_are_done_first_and_their_results_handed_on() -> None:
    client = FakeClient(lambda prompt: f"<{prompt}>")
    flow = workflow(
        agent("c", "Last: {b}", dependencies=["b", "a"]),
        agent("b", "Then {a} and {a}", dependencies=["a"], llm_config={"inputs": {"a": "?"}}),
        agent("a", "First"),
    )
    await executed(client, flow)
    assert client.prompts == [
        "First",
        "Then <First> and <First>",
        "Last: <Then <First> and <First>>\n\n# Result of a\n<First>",
    ]


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        ("{x} {y}", "1 {x}"),
        ('{"x": {x}}', '{"x": 1}'),
        ("{{x}} {{ x }} {{{x}}}", "{x} {{ x }} {{x}}"),
        ("{{ tasks.a.result }} ${env:HOME}", "{{ tasks.a.result }} ${env:HOME}"),
        ("{list} {gone} {}", '[1, "é"] {gone} {}'),
        ("{shared} {own}", "run's agent's"),
    ],
)
async def test_b18_prompts_are_plain_substitution(template: str, prompt: str) -> None:
    """Known names are filled in once; nothing else is changed, and nothing is an expression."""
    client = FakeClient()
    own = {"x": 1, "y": "{x}", "list": [1, "é"], "own": "agent's"}
    one = engine(client)
    flow = workflow(agent("a", template, llm_config={"inputs": own}))
    shared = {"shared": "run's", "own": "hidden"}
    done = await one.execute_workflow(await one.register_workflow(flow), inputs=shared)
    assert client.prompts == [prompt]
    (result,) = (each.result for each in done.agents)
    assert result is not None
    assert result.metadata.get("unfilled") == (["gone"] if "{gone}" in template else None)
    await one.shutdown()


async def test_b18_what_a_client_is_asked() -> None:
    client = FakeClient()
    tool = {"name": "t", "description": "{{ x }}"}
    config = {"temperature": None, "max_tokens": 77, "top_p": 0.5}
    await executed(client, workflow(agent("a", "Hi", llm_config=config, tools=[tool])))
    await executed(client, workflow(agent("a", "Hi")))
    assert client.asked == [
        {
            "prompt": "Hi",
            "model": "gpt-4",
            "temperature": None,
            "max_tokens": 77,
            "tools": [tool],
            "top_p": 0.5,
        },
        {"prompt": "Hi", "model": "gpt-4", "temperature": 0.7, "max_tokens": 1000, "tools": None},
    ]


async def test_b18_the_result_of_an_agent() -> None:
    calls = [{"id": "1", "name": "t", "arguments": {}}]
    said = LLMResponse("text", "gpt-4", 10, 5, "tool_calls", calls, {"region": "eu"})
    done = await executed(FakeClient(lambda prompt: said, delay=0.02), workflow(agent()))
    result = done.agents[0].result
    assert result is not None
    assert result.output == {
        "content": "text",
        "model": "gpt-4",
        "finish_reason": "tool_calls",
        "tool_calls": calls,
        "metadata": {"region": "eu"},
    }
    assert (result.agent_id, result.tokens_used, result.cost) == ("a", 15, 0.0006)
    assert result.started_at is not None
    assert result.completed_at is not None
    assert 0.02 <= result.execution_time < 5
    took = (result.completed_at - result.started_at).total_seconds()
    assert took == pytest.approx(result.execution_time)


async def test_b18_tries_are_one_more_than_retries() -> None:
    """An agent says how often; where it does not, the engine's policy counts."""
    policy = RetryPolicy(max_retries=1, base_delay=0.0)
    for retries, tries in (({"max_retries": 2}, 3), ({"max_retries": 3}, 4), ({}, 2)):
        client = FakeClient(lambda prompt: OSError("down"))
        done = await executed(client, workflow(agent(**retries)), default_retry_policy=policy)
        assert len(client.asked) == tries
        result = done.agents[0].result
        assert result is not None
        assert (result.status, result.retry_count) == (AgentStatus.FAILED, tries - 1)
        assert "down" in str(result.error)


async def test_b18_retries_wait_as_the_policy_says() -> None:
    client = FakeClient(lambda prompt: OSError("down"))
    policy = RetryPolicy(strategy="constant_delay", base_delay=0.1, jitter=False)  # type: ignore[arg-type]
    began = asyncio.get_running_loop().time()
    await executed(client, workflow(agent(max_retries=2)), default_retry_policy=policy)
    assert 0.2 <= asyncio.get_running_loop().time() - began < 3


def broken(prompt: str) -> Any:
    return OSError("down") if "bad" in prompt else "well"


@pytest.mark.parametrize("partial", [True, False])
async def test_b18_partial_completion(partial: bool) -> None:
    flow = workflow(
        agent("bad", max_retries=0, priority=10),
        agent("after bad", dependencies=["bad"]),
        agent("good"),
        max_parallel_agents=1,
        allow_partial_completion=partial,
    )
    done = await executed(FakeClient(broken), flow)
    statuses = [one.status.value for one in done.agents]
    if partial:
        assert done.status is WorkflowStatus.PARTIALLY_COMPLETED
        assert statuses == ["failed", "cancelled", "completed"]
    else:
        assert done.status is WorkflowStatus.FAILED
        assert statuses == ["failed", "cancelled", "cancelled"]
    skipped = done.agents[1].result
    assert skipped is not None
    assert "skipped" in str(skipped.error)


async def test_b18_priorities_and_parallel_agents() -> None:
    client = FakeClient(delay=0.01)
    agents = [agent(str(number), priority=number) for number in range(1, 9)]
    await executed(client, workflow(*agents, max_parallel_agents=2))
    assert client.most_at_once == 2
    assert client.prompts == [f"do {number}" for number in range(8, 0, -1)]


async def test_b18_the_time_out_of_a_workflow() -> None:
    done = await executed(FakeClient(delay=60), workflow(agent(), timeout=0.1))
    assert done.status is WorkflowStatus.FAILED
    assert done.agents[0].status in (AgentStatus.CANCELLED, AgentStatus.FAILED)


async def test_b18_again() -> None:
    """A workflow can be executed again, not twice at the same time."""
    client = FakeClient(delay=0.05)
    one = engine(client)
    flow = await one.register_workflow(workflow(agent()))
    first = asyncio.create_task(one.execute_workflow(flow))
    await asyncio.sleep(0.02)
    with pytest.raises(Conflict, match="is running"):
        await one.execute_workflow(flow)
    await first
    done = await one.execute_workflow(flow)
    assert (done.status, len(client.asked)) == (WorkflowStatus.COMPLETED, 2)
    await one.shutdown()


async def test_b18_to_cancel_the_wait_is_to_cancel_the_run() -> None:
    client = FakeClient(delay=60)
    one = engine(client)
    flow = workflow(agent("a"), agent("b", dependencies=["a"]))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(one.execute_workflow(await one.register_workflow(flow)), 0.2)
    assert flow.status is WorkflowStatus.CANCELLED
    assert [each.status for each in flow.agents] == [AgentStatus.CANCELLED] * 2
    assert client.at_once == 0
    await one.shutdown()


async def test_b19_side_by_side_and_in_their_order() -> None:
    client = FakeClient(delay=0.05)
    one = engine(client, max_concurrent_workflows=2)
    flows = [workflow(agent(), name=f"w{number}") for number in range(5)]
    ids = [await one.register_workflow(flow) for flow in flows]
    done = await one.execute_multiple_workflows(ids)
    assert done == flows
    assert {flow.status for flow in done} == {WorkflowStatus.COMPLETED}
    assert client.most_at_once == 2
    assert await one.execute_multiple_workflows([]) == []
    await one.shutdown()


async def test_b20_status_while_it_runs_and_after() -> None:
    client = FakeClient(delay=0.1)
    one = engine(client)
    flow = await one.register_workflow(workflow(agent("a"), agent("b", dependencies=["a"])))

    def seen() -> tuple[str, list[str]]:
        told = one.get_workflow_status(flow)
        assert told is not None
        return told["status"], list(told["agents"].values())

    assert one.get_workflow_status("unknown") is None
    assert seen() == ("pending", ["pending", "pending"])
    running = asyncio.create_task(one.execute_workflow(flow))
    await asyncio.sleep(0.05)
    assert seen() == ("running", ["running", "pending"])
    assert one.get_system_status()["active_workflows"] == 1
    await running
    assert seen() == ("completed", ["completed", "completed"])
    told = one.get_workflow_status(flow)
    assert told is not None
    assert (told["workflow_id"], told["statistics"]["completed"]) == (flow, 2)
    await one.shutdown()


async def test_b21_system_status() -> None:
    one = engine()
    flow = await one.register_workflow(workflow(agent("a"), agent("b")))
    empty = one.get_system_status()
    assert empty["monitoring"]["workflows"]["completed"] == 0
    assert empty["rate_limiting"]["total_requests"] == 0
    done = await one.execute_workflow(flow)
    told = one.get_system_status()
    assert told["monitoring"]["workflows"]["completed"] == 1
    assert told["cost_tracking"]["total_cost"] == done.total_cost == 0.012
    assert told["rate_limiting"]["total_requests"] == 2
    assert told["rate_limiting"]["total_tokens"] == 300
    await one.shutdown()
    assert one.get_system_status()["cost_tracking"] == told["cost_tracking"]


async def test_b22_shutdown_waits_and_can_be_called_twice() -> None:
    client = FakeClient(delay=0.1)
    one = engine(client)
    flow = workflow(agent("a"), agent("b", dependencies=["a"]))
    running = asyncio.create_task(one.execute_workflow(await one.register_workflow(flow)))
    await asyncio.sleep(0.02)
    await asyncio.gather(one.shutdown(), one.shutdown())
    assert (await running).status is WorkflowStatus.COMPLETED
    await one.shutdown()
    assert client.closed >= 1
    again = await one.register_workflow(workflow(agent()))
    with pytest.raises(Conflict, match="shut down"):
        await one.execute_workflow(again)


async def test_b22_shutdown_does_not_wait_for_ever() -> None:
    client = FakeClient(delay=60)
    one = engine(client, max_concurrent_workflows=1)
    flows = [workflow(agent()), workflow(agent())]
    ids = [await one.register_workflow(flow) for flow in flows]
    running = [asyncio.create_task(one.execute_workflow(each)) for each in ids]
    await asyncio.sleep(0.05)
    await asyncio.wait_for(one.shutdown(timeout=0.1), 5)
    await asyncio.gather(*running)
    assert [flow.status for flow in flows] == [WorkflowStatus.CANCELLED] * 2
    assert len(client.asked) == 1


async def test_b22_shutdown_of_an_engine_that_did_nothing() -> None:
    await engine().shutdown()


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True])
async def test_b23_what_lets_nothing_run_is_refused(wrong: int) -> None:
    with pytest.raises(ValueError, match="max_concurrent_workflows"):
        engine(max_concurrent_workflows=wrong)


async def test_b23_the_rate_limit_counts_in_the_hive() -> None:
    """One at once, as the config says, though ten could."""
    client = FakeClient(delay=0.02)
    limit = RateLimitConfig(**{**ROOMY.__dict__, "concurrent_requests": 1})
    flow = workflow(*(agent(str(number)) for number in range(5)))
    done = await executed(client, flow, rate_limit_config=limit)
    assert (client.most_at_once, done.status) == (1, WorkflowStatus.COMPLETED)


async def test_b23_requests_a_minute_count_in_the_hive() -> None:
    """60 a minute: six at once, which is a tenth; the seventh a second later."""
    client = FakeClient()
    flow = workflow(*(agent(str(number)) for number in range(7)))
    began = asyncio.get_running_loop().time()
    await executed(client, flow, rate_limit_config=RateLimitConfig())
    assert 0.9 <= asyncio.get_running_loop().time() - began < 5


async def test_b23_a_call_larger_than_a_minute_fails_clearly() -> None:
    limit = RateLimitConfig(tokens_per_minute=500)
    done = await executed(FakeClient(), workflow(agent()), rate_limit_config=limit)
    assert done.status is WorkflowStatus.FAILED
    result = done.agents[0].result
    assert result is not None
    assert "tokens_per_minute" in str(result.error)
    assert not result.is_retriable()


async def test_a_hive_that_is_given_keeps_the_runs(tmp_path: Path) -> None:
    """They are runs like all others: reported, explained, verified; and the hive stays open."""
    async with Hive.open(tmp_path / "home") as hive:
        one = engine(hive=hive)
        flow = await one.register_workflow(workflow(agent("a"), agent("b", dependencies=["a"])))
        done = await one.execute_workflow(flow)
        await one.shutdown()
        report = await hive.report(flow)
        assert (report.status, report.cost_usd) == ("completed", done.total_cost)
        assert report.results["a"]["content"] == "done: do a"  # type: ignore[index,call-overload]
        assert await hive.journal.verify_chains() > 0


async def test_b21_engines_of_one_hive_tell_of_their_own_runs() -> None:
    async with Hive.open() as hive:
        first, second = engine(hive=hive, name="1"), engine(hive=hive, name="2")
        for one in (first, second, first):
            await one.execute_workflow(await one.register_workflow(workflow(agent())))
        told = [one.get_system_status() for one in (first, second)]
    assert [one["cost_tracking"]["total_cost"] for one in told] == [0.012, 0.006]
    assert [one["monitoring"]["workflows"]["completed"] for one in told] == [2, 1]
    assert [len(one.monitor.get_recent_events()) > 4 for one in (first, second)] == [True, True]
    assert {event["workflow_id"] for event in second.monitor.get_recent_events()} == set(
        second._workflows
    )


class Hanging(FakeClient):
    """Never answers what it is not told to; says when it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs = asyncio.Event()

    async def complete(self, prompt: str, *given: Any, **named: Any) -> LLMResponse:
        if "hang" in prompt:
            self.hangs.set()
            await asyncio.sleep(60)
        return await super().complete(prompt, *given, **named)


async def test_what_was_left_is_gone_on_with_by_an_engine_of_that_name(tmp_path: Path) -> None:
    """A process ends in the middle; in the next one the run goes on, and only what was left."""
    hanging, client = Hanging(), FakeClient()
    async with Hive.open(tmp_path / "home") as hive:
        one = engine(hanging, hive=hive, name="model")
        flow = await one.register_workflow(
            workflow(agent("a"), agent("b", "hang", dependencies=["a"]))
        )
        running = asyncio.create_task(one.execute_workflow(flow))
        await hanging.hangs.wait()
    with pytest.raises(AgentHiveError):
        await running
    async with Hive.open(tmp_path / "home") as hive:
        engine(client, hive=hive, name="model")
        assert await hive.resume() == [flow]
        report = await hive.wait(flow)
    assert report.status == "completed"
    assert [prompt[:4] for prompt in client.prompts] == ["hang"]


async def test_two_clients_of_one_hive_have_names() -> None:
    async with Hive.open() as hive:
        first, second = FakeClient(lambda prompt: "first"), FakeClient(lambda prompt: "second")
        engine(first, hive=hive)
        engine(first, hive=hive)  # the same client at the same prices is no other one
        with pytest.raises(Conflict, match="another client"):
            engine(second, hive=hive)
        other = engine(second, hive=hive, name="second")
        done = await other.execute_workflow(await other.register_workflow(workflow(agent())))
        assert done.agents[0].result is not None
        assert done.agents[0].result.output is not None
        assert done.agents[0].result.output["content"] == "second"
        await other.shutdown()
