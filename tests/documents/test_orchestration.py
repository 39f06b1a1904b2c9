"""What the engine of document B does: budgets hold, failures are told, prompts are filled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from agenthive import Hive
from agenthive.errors import AgentUnavailable, APIError, ConfigurationError, Conflict
from agenthive.facades import orchestration as b
from agenthive.facades.orchestration.calls import ClientAgent
from tests.agents.aimock import MODELS, Aimock, serving
from tests.requires import require

CLIENTS = {"openai": b.OpenAIClient, "anthropic": b.AnthropicClient}
FAST = b.RetryPolicy(base_delay=0.001, jitter=False)
KEY = "sk-very-secret-key"
SCHEMA = {"name": "get_weather", "input_schema": {"type": "object"}}


@pytest.fixture(scope="module")
def mock() -> Iterator[Aimock]:
    require("node")
    with serving() as running:
        yield running


class Fake(b.LLMClient):
    """Answers by the prompt; ``fails`` raises instead, so many times."""

    def __init__(self, fails: dict[str, int] | None = None, used: int = 100) -> None:
        self.prompts: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.fails, self.used = fails or {}, used
        self.closed = 0

    async def complete(self, prompt, model, temperature=0.7, max_tokens=1000, tools=None, **more):  # type: ignore[no-untyped-def]
        self.prompts.append(prompt)
        self.asked.append(
            {"model": model, "temperature": temperature, "max_tokens": max_tokens, "tools": tools}
            | more
        )
        await asyncio.sleep(0.001)
        for name, left in self.fails.items():
            if name in prompt and left:
                self.fails[name] -= 1
                raise ConnectionError(f"no {name}")
        return b.LLMResponse(f"<{prompt.split()[1]}>", model, self.used, max_tokens, "stop")

    async def complete_with_tools(self, messages, model, tools, **more):  # type: ignore[no-untyped-def]
        raise NotImplementedError

    async def close(self) -> None:
        self.closed += 1


def agent(name: str, *after: str, **more: Any) -> b.Agent:
    config = {"model": "m", "max_tokens": 10, **more.pop("llm_config", {})}
    about: dict[str, Any] = {"module": "General", "description": name, "llm_config": config}
    about |= {"prompt_template": f"Do {name} now", "dependencies": list(after)}
    return b.Agent(name=name, **about | more)


def flow(*agents: b.Agent, **more: Any) -> b.Workflow:
    return b.Workflow(name="w", description="", agents=list(agents), **more)


def engine(client: b.LLMClient | None = None, **more: Any) -> b.OrchestrationEngine:
    costs = b.CostConfig(model_costs={"m": {"input": 0.01, "output": 0.1}})
    about = {"cost_config": costs, "default_retry_policy": FAST}
    limits = b.RateLimitConfig(requests_per_minute=100_000, tokens_per_minute=10**9)
    about |= {"rate_limit_config": limits, **more.pop("config", {})}
    return b.OrchestrationEngine(client or Fake(), b.EngineConfig(**about), **more)


async def ran(one: b.OrchestrationEngine, workflow: b.Workflow, **inputs: Any) -> b.Workflow:
    found = await one.execute_workflow(await one.register_workflow(workflow), inputs)
    await one.shutdown()
    return found


# Runs.


async def test_a_workflow_and_what_is_told_of_it() -> None:
    one = engine()
    ident = await one.register_workflow(flow(agent("a"), agent("b", "a")))
    before = one.get_workflow_status(ident)
    assert before is not None
    assert (before["status"], one.get_workflow_status("?")) == ("pending", None)
    done = await one.execute_workflow(ident)
    # 100 tokens in at $0.01 and 10 out at $0.1 a thousand, twice.
    assert (done.status, done.total_cost) == (b.WorkflowStatus.COMPLETED, 0.004)
    result = done.agents[1].result
    assert result is not None
    assert result.is_success()
    assert result.output == {"content": "<b>", "model": "m", "finish_reason": "stop"}
    assert (result.tokens_used, result.cost, result.retry_count) == (110, 0.002, 0)
    assert result.started_at is not None
    assert result.execution_time > 0
    system = one.get_system_status()
    assert system["monitoring"]["workflows"]["completed"] == 1
    assert system["cost_tracking"]["total_cost"] == 0.004
    assert system["rate_limiting"]["total_requests"] == 2
    events = [e["event_type"] for e in one.monitor.get_recent_events()]
    assert events == [
        "workflow_started", "agent_started", "agent_completed", "agent_started",
        "agent_completed", "workflow_completed",
    ]  # fmt: skip
    statistics = done.get_statistics()
    assert (statistics["completed"], statistics["total_cost"]) == (2, 0.004)
    assert done.to_dict()["agents"][0]["result"]["status"] == "completed"
    await one.shutdown()
    await one.shutdown()
    assert one.llm_client.closed == 2  # type: ignore[attr-defined]


async def test_prompts_are_filled() -> None:
    client = Fake()
    first = agent("a", prompt_template="Do {thing} as {unknown}, {not a name} {{x}}")
    second = agent("b", "a", prompt_template="Say {a} again")
    third = agent("c", "a", "b", prompt_template="Do without names, {a}")
    await ran(engine(client), flow(first, second, third), thing="it")
    assert client.prompts == [
        "Do it as {unknown}, {not a name} {{x}}",
        "Say <it> again",
        "Do without names, <it>\n\n# b\n<<it>>",
    ]


async def test_what_the_client_is_asked() -> None:
    client = Fake()
    tools = [{"name": "f"}]
    config = {"model": "m", "temperature": 0.1, "max_tokens": 7, "top_p": 0.5}
    await ran(engine(client), flow(agent("a", llm_config=config, tools=tools), agent("b")))
    assert client.asked[0] == {
        "model": "m", "temperature": 0.1, "max_tokens": 7, "tools": tools, "top_p": 0.5,
    }  # fmt: skip
    assert (client.asked[1]["temperature"], client.asked[1]["tools"]) == (0.7, None)


async def test_retries() -> None:
    client = Fake({"a": 2})
    done = await ran(engine(client), flow(agent("a")))
    assert done.agents[0].result is not None
    assert (done.agents[0].result.retry_count, len(client.prompts)) == (2, 3)
    client = Fake({"a": 9})
    one = engine(client)
    done = await ran(one, flow(agent("a", max_retries=1)))
    assert (done.status, len(client.prompts)) == (b.WorkflowStatus.FAILED, 2)
    result = done.agents[0].result
    assert result is not None
    assert (result.status, result.is_retriable()) == (b.AgentStatus.FAILED, True)
    assert "no a" in str(result.error)
    assert one.monitor.get_metrics()["agents_retried"] == 1
    assert one.monitor.get_metrics()["agents_failed"] == 1


@pytest.mark.parametrize(
    ("partial", "status", "last"),
    [(True, "partially_completed", "completed"), (False, "failed", "cancelled")],
)
async def test_partial_completion(partial: bool, status: str, last: str) -> None:
    bad, good = agent("bad", max_retries=0), agent("good", priority=1)
    workflow = flow(bad, agent("after", "bad"), good,
                    allow_partial_completion=partial, max_parallel_agents=1)  # fmt: skip
    done = await ran(engine(Fake({"bad": 1})), workflow)
    assert (done.status.value, good.status.value) == (status, last)
    assert done.agents[1].status is b.AgentStatus.CANCELLED


async def test_a_workflow_can_be_run_again() -> None:
    one, workflow = engine(Fake({"a": 1})), flow(agent("a", max_retries=0))
    ident = await one.register_workflow(workflow)
    assert (await one.execute_workflow(ident)).status is b.WorkflowStatus.FAILED
    assert (await one.execute_workflow(ident)).status is b.WorkflowStatus.COMPLETED
    first, second = await asyncio.gather(
        *[one.execute_workflow(ident)] * 1, one.execute_workflow(ident), return_exceptions=True
    )
    assert {type(first), type(second)} == {b.Workflow, Conflict}
    await one.shutdown()


async def test_several_at_once() -> None:
    one = engine(config={"max_concurrent_workflows": 2})
    ids = [await one.register_workflow(flow(agent("a"))) for _ in range(5)]
    done = await one.execute_multiple_workflows(ids)
    assert [w.status.value for w in done] == ["completed"] * 5
    with pytest.raises(ValueError, match="there is no workflow"):
        await one.execute_workflow("unknown")
    with pytest.raises(ValueError, match="there is no workflow"):
        await one.execute_multiple_workflows([ids[0], "unknown"])
    await one.shutdown()


async def test_a_hive_that_is_given_stays_open() -> None:
    async with Hive.open("memory:") as hive:
        one, two = engine(hive=hive), engine(hive=hive)
        assert (await ran(one, flow(agent("a")))).status is b.WorkflowStatus.COMPLETED
        assert (await ran(two, flow(agent("a")))).status is b.WorkflowStatus.COMPLETED
        assert len(await hive.runs()) == 2


@pytest.mark.parametrize(
    ("workflow", "why"),
    [
        (flow(agent("a"), agent("a")), "two agents are called 'a'"),
        (flow(agent("a", "b")), "'b', which is not there"),
        (flow(agent("a", llm_config={"model": ""})), "names no model"),
        (flow(agent("a"), cost_budget=-1.0), "cost_budget must be"),
        (flow(agent("a"), max_parallel_agents=0), "at least 1"),
        (flow(agent("a", "b"), agent("b", "a")), "Circular dependency"),
    ],
)
async def test_what_cannot_be_run_is_refused(workflow: b.Workflow, why: str) -> None:
    one = engine()
    with pytest.raises(ConfigurationError, match=why):
        await one.execute_workflow(await one.register_workflow(workflow))
    await one.shutdown()


@pytest.mark.parametrize(
    "wrong",
    [{"module": "Bees"}, {"priority": 11}, {"max_retries": -1}, {"timeout": 0}, {"cost_limit": -1}],
)
def test_agents_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        agent("a", **wrong)


def test_agents_that_wait_for_others() -> None:
    low, high = agent("low", priority=2), agent("high", priority=9)
    workflow = flow(low, high, agent("after", "low"))
    assert [one.name for one in workflow.get_ready_agents()] == ["high", "low"]
    low.status = b.AgentStatus.COMPLETED
    assert [one.name for one in workflow.get_ready_agents()] == ["high", "after"]
    assert workflow.get_agent_by_name("?") is None
    low.reset()
    assert low.status is b.AgentStatus.PENDING
    assert not agent("x", "a", "b").can_execute({"a"})


# Money.

K = 64


async def spent(dollars: float) -> tuple[b.Workflow, Fake]:
    """Many agents at once; each may cost $0.03 at most by what is asked, and really does."""
    client = Fake(used=1)
    agents = [agent(f"a{n}", max_retries=0, llm_config={"max_tokens": 100}) for n in range(K)]
    workflow = flow(*agents, cost_budget=dollars, max_parallel_agents=K)
    return await ran(engine(client), workflow), client


async def test_a_budget_holds_however_many_ask_at_once() -> None:
    done, client = await spent(0.1)
    assert 0 < done.total_cost <= 0.1
    assert 0 < len(client.prompts) < K
    over = [one for one in done.agents if one.status is b.AgentStatus.BUDGET_EXCEEDED]
    assert len(over) == K - len(client.prompts)
    assert all(one.result is not None and not one.result.is_retriable() for one in over)


async def test_the_check_sees_a_worst_case_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClientAgent, "worst", lambda self, call: 0)
    done, _ = await spent(0.1)
    assert done.total_cost > 0.1


async def test_the_limit_of_one_agent() -> None:
    done = await ran(engine(), flow(agent("a", cost_limit=0.0001), agent("b")))
    assert [one.status.value for one in done.agents] == ["budget_exceeded", "completed"]


async def test_costs_of_a_tracker_of_one_s_own() -> None:
    tracker = b.CostTracker(b.CostConfig(model_costs={"m": {"input": 0.01, "output": 0.1}}))
    assert tracker.calculate_cost("m", 1000, 500) == 0.06
    assert tracker.calculate_cost("no such model", 1000, 1000) == 0.04
    assert tracker.calculate_cost("gpt-4", 1000, 500) == 0.06
    tracker.set_workflow_budget("w", 0.1)
    tracker.set_agent_budget("a", 0.05)
    assert tracker.record_cost("a", "a", "w", "m", 1000, 500) == 0.06
    assert (tracker.check_workflow_budget("w"), tracker.check_agent_budget("a")) == (True, False)
    assert tracker.check_agent_budget("nobody")
    for _ in range(10_000):
        tracker.record_cost("b", "b", "v", "m", 1, 1)
    statistics = tracker.get_statistics()
    assert statistics["total_cost"] == 1.16
    assert statistics["by_workflow"] == {"w": 0.06, "v": 1.1}
    tracker.set_agent_budget("a", None)
    assert tracker.check_agent_budget("a")


@pytest.mark.parametrize("price", [-1, float("nan"), float("inf"), 1e9, "x"])
def test_absurd_prices_and_budgets(price: Any) -> None:
    with pytest.raises(ValueError, match="default"):
        b.CostConfig(default_input_cost=price)
    with pytest.raises(ValueError, match="'m'"):
        b.CostConfig(model_costs={"m": {"input": price, "output": 1}})
    if not isinstance(price, str):
        with pytest.raises(ValueError, match="a budget must be"):
            b.CostTracker().set_workflow_budget("w", price)
    with pytest.raises(ValueError, match="negative"):
        b.CostTracker().calculate_cost("m", -1, 0)


# Failures and policies.


def test_both_names_of_a_policy() -> None:
    assert b.RetryPolicy(max_attempts=5).max_retries == 4
    assert b.RetryPolicy(max_retries=2).max_attempts == 3
    assert b.RetryPolicy(initial_delay=2).base_delay == b.RetryPolicy(base_delay=2).initial_delay
    assert b.RetryPolicy(max_retries=2, max_attempts=3) == b.RetryPolicy(2)
    for wrong in ({"max_retries": 3, "max_attempts": 3}, {"base_delay": 1, "initial_delay": 2}):
        with pytest.raises(ValueError, match="both given"):
            b.RetryPolicy(**wrong)
    for wrong in ({"max_retries": -1}, {"base_delay": -1.0}, {"strategy": "x"}):
        with pytest.raises(ValueError):  # noqa: PT011
            b.RetryPolicy(**wrong)  # type: ignore[arg-type]


def test_failure_handler() -> None:
    told: list[str] = []
    handler = b.FailureHandler(
        b.RetryPolicy(max_retries=2), lambda agent, _: told.append(agent.name)
    )
    failed = b.AgentResult("a", b.AgentStatus.FAILED, retry_count=1)
    assert handler.handle_failure(agent("a"), failed, None)
    assert not handler.handle_failure(agent("a"), failed, b.RetryPolicy(max_retries=1))
    failed.metadata["retriable"] = False
    assert not handler.handle_failure(agent("a"), failed)
    over = b.AgentResult("a", b.AgentStatus.BUDGET_EXCEEDED)
    assert not handler.handle_failure(agent("a"), over)
    assert told == ["a"] * 4
    assert not handler.should_fail_workflow(["a"], 2, True)
    assert handler.should_fail_workflow(["a", "b"], 2, allow_partial=True)
    assert handler.should_fail_workflow(["a"], 2, allow_partial_completion=False)
    assert not handler.should_fail_workflow([], 2, allow_partial=False)


# Watching.


def test_a_monitor_of_one_s_own() -> None:
    now = [0]
    monitor = b.Monitor(clock=lambda: now[0])
    now[0] = 2_000_000
    monitor.record_event("agent_completed", "a", "w", {"execution_time": 3.0, "cost": 0.5})
    monitor.record_event("agent_completed", "b", "w", {"execution_time": 1.0, "cost": 0.5})
    monitor.record_event("mine", data={"x": 1})
    metrics, summary = monitor.get_metrics(), monitor.get_summary()
    assert (metrics["uptime_seconds"], metrics["total_cost"]) == (2.0, 1.0)
    assert summary["agents"]["avg_execution_time"] == 2.0
    assert summary["workflows"]["success_rate"] == 0.0
    assert [e["data"] for e in monitor.get_recent_events(event_type="mine")] == [{"x": 1}]
    assert [e["agent_id"] for e in monitor.get_recent_events(2)] == ["b", None]
    assert monitor.get_recent_events(0) == []
    silent = b.Monitor(b.MonitorConfig(enable_metrics=False, enable_logging=False))
    silent.record_event("x")
    assert (silent.get_recent_events(), silent.get_metrics()["events"]) == ([], {})


# Clients.


@pytest.mark.parametrize("vendor", sorted(CLIENTS))
async def test_a_client_alone(mock: Aimock, vendor: str) -> None:
    client = CLIENTS[vendor](KEY, base_url=mock.url)
    answer = await client.complete("say hello", MODELS[vendor], temperature=0.1, max_tokens=50)
    assert (answer.content, answer.finish_reason) == ("Hello, bees!", "stop")
    assert (answer.input_tokens, answer.output_tokens, answer.tool_calls) == (1000, 200, None)
    asked = await client.complete_with_tools(
        [{"role": "user", "content": "weather in Köln?"}], MODELS[vendor], [SCHEMA]
    )
    assert asked.finish_reason == "tool_calls"
    assert asked.tool_calls is not None
    assert asked.tool_calls[0]["arguments"] == {"city": "Köln"}
    with pytest.raises(APIError, match="HTTP 401: bad key"):
        await client.complete("no entry", MODELS[vendor])
    assert KEY not in repr(client) + str(vars(client))
    await client.close()
    nobody = CLIENTS[vendor](KEY, base_url="http://127.0.0.1:9")
    with pytest.raises(AgentUnavailable):
        await nobody.complete("x", "m")
    await nobody.close()


@pytest.mark.parametrize("vendor", sorted(CLIENTS))
async def test_a_client_in_an_engine(mock: Aimock, vendor: str) -> None:
    client = CLIENTS[vendor](KEY, base_url=mock.url)
    config = {"model": MODELS[vendor]}
    done = await ran(
        engine(client), flow(agent("a", llm_config=config, prompt_template="are you busy? {x}"))
    )
    result = done.agents[0].result
    assert result is not None
    assert result.output is not None
    assert result.output["content"] == "At last."
    hello = agent("a", llm_config=config, prompt_template="say hello")
    done = await ran(engine(CLIENTS[vendor](KEY, base_url=mock.url)), flow(hello))
    assert done.total_cost > 0.004


async def test_a_client_s_own_faults_keep_their_kind() -> None:
    class Limited(Fake):
        async def complete(self, *args, **more):  # type: ignore[no-untyped-def]
            raise ValueError("not what it should be")

    done = await ran(engine(Limited()), flow(agent("a", max_retries=0)))
    assert done.agents[0].result is not None
    assert done.agents[0].result.metadata["fault"] == "invalid_reply"


def test_the_names_are_where_they_are_looked_for() -> None:
    from agenthive import facades

    assert facades.OrchestrationEngine is b.OrchestrationEngine
    for name in facades.__all__:
        assert getattr(facades, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute"):
        _ = facades.Nothing
