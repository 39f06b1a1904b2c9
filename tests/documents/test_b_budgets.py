"""B1, B5, B9, B29: what a workflow may cost is never passed, however many ask at once."""

from __future__ import annotations

import asyncio

import pytest

from agenthive.errors import ConfigurationError
from agenthive.facades.orchestration import (
    Agent,
    AgentStatus,
    CostConfig,
    LLMClient,
    LLMResponse,
    RateLimitConfig,
    Workflow,
    WorkflowStatus,
)
from agenthive.facades.orchestration.calls import ClientAgent
from tests.documents.rig_b import FakeClient, agent, engine, executed, workflow

PRICES = CostConfig(model_costs={"m": {"input": 0.001, "output": 1.0}})


class Till(LLMClient):
    """A model that charges what it says, and counts it itself."""

    def __init__(self) -> None:
        self.charged = self.calls = 0

    async def complete(  # type: ignore[no-untyped-def,override]
        self, prompt: str, model: str, temperature: float, max_tokens: int, tools=None, **kwargs
    ) -> LLMResponse:
        self.calls += 1
        await asyncio.sleep(0.001 * (self.calls % 7))
        used = max_tokens - self.calls % 50
        self.charged += len(prompt.encode()) + used * 1000
        return LLMResponse("x", model, len(prompt.encode()), used, "stop")


async def overspent(budget: float, agents: int = 60) -> tuple[float, Workflow, Till]:
    """US dollars that were charged beyond the budget, by the till's own account."""
    till = Till()
    flow = workflow(
        *(agent(str(n), llm_config={"model": "m", "max_tokens": 100}) for n in range(agents)),
        max_parallel_agents=50,
        cost_budget=budget,
    )
    done = await executed(till, flow, cost_config=PRICES)
    return till.charged / 1e6 - budget, done, till


async def test_b9_parallel_agents_cannot_pass_the_budget() -> None:
    """60 calls of at most ten cents, 50 at once, two dollars: it is used up, and no cent more."""
    over, done, till = await overspent(2.0)
    assert over <= 0
    assert done.status is WorkflowStatus.PARTIALLY_COMPLETED
    statuses = {each.status for each in done.agents}
    assert statuses == {AgentStatus.COMPLETED, AgentStatus.BUDGET_EXCEEDED}
    assert over > -0.2, "what is left is too little for another call"
    assert done.total_cost == pytest.approx(till.charged / 1e6)
    refused = next(each for each in done.agents if each.status is AgentStatus.BUDGET_EXCEEDED)
    assert refused.result is not None
    assert "left of run" in str(refused.result.error)
    assert not refused.result.is_retriable()


async def test_b9_a_client_that_holds_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bug that would let it pass the budget, planted: the check above sees it."""
    monkeypatch.setattr(ClientAgent, "estimate_max_cost", lambda self, call: 0)
    over, _, _ = await overspent(2.0)
    assert over > 1


async def test_b9_an_unpriced_kind_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from agenthive.agents.registry import AgentRegistry

    monkeypatch.setattr(AgentRegistry, "is_priced", lambda self, spec: False)
    over, _, _ = await overspent(2.0)
    assert over > 1


async def test_b1_the_cost_limit_of_an_agent_counts_for_all_its_tries() -> None:
    """Each try may cost ten cents, and nobody knows whether it did: the third does not fit."""
    client = FakeClient(lambda prompt: OSError("down"))
    one = agent(llm_config={"model": "m", "max_tokens": 100}, cost_limit=0.25, max_retries=9)
    done = await executed(client, workflow(one), cost_config=PRICES)
    assert len(client.asked) == 2
    assert one.status is AgentStatus.BUDGET_EXCEEDED
    assert done.status is WorkflowStatus.FAILED


async def test_b9_budgets_of_workflows_are_their_own() -> None:
    client = FakeClient(tokens=(10, 90))
    one = engine(client, cost_config=PRICES)
    flows = [
        workflow(agent(llm_config={"model": "m", "max_tokens": 100}), cost_budget=budget)
        for budget in (0.2, 0.05)
    ]
    ids = [await one.register_workflow(flow) for flow in flows]
    await one.execute_multiple_workflows(ids)
    assert [flow.status.value for flow in flows] == ["completed", "failed"]
    assert flows[1].agents[0].status is AgentStatus.BUDGET_EXCEEDED
    assert flows[1].total_cost == 0
    await one.shutdown()


async def test_b35_what_has_no_price_is_not_called_within_a_budget() -> None:
    client = FakeClient()
    nameless = CostConfig(default_output_cost=None)
    flow = workflow(agent(llm_config={"model": "nobody-knows-it"}))
    with pytest.raises(ConfigurationError, match="the cost of a call of agent 'a' is unknown"):
        await executed(client, flow, cost_config=nameless)
    assert client.asked == []
    assert (await executed(client, workflow(agent()), cost_config=nameless)).total_cost == 0.006


async def test_b35_a_model_that_answers_for_another_costs_its_own_price() -> None:
    said = LLMResponse("x", "m", 1000, 1000, "stop")
    done = await executed(FakeClient(lambda prompt: said), workflow(agent()), cost_config=PRICES)
    assert done.total_cost == 1.001
    said = LLMResponse("x", "some-alias", 1000, 1000, "stop")
    done = await executed(FakeClient(lambda prompt: said), workflow(agent()), cost_config=PRICES)
    assert done.total_cost == 0.09


class TooMany(Exception):
    status_code = 429


async def test_b5_rate_limited_is_seen_while_it_waits() -> None:
    """A pause that the other side asks for is told as such, and is no try."""
    busy = [True]
    one = agent(max_retries=0)
    client = FakeClient(lambda prompt: TooMany("slow down") if busy.pop() else "well")
    busy[:] = [False, True]
    started = engine(client, rate_limit_config=RateLimitConfig())
    flow = await started.register_workflow(workflow(one))
    running = asyncio.create_task(started.execute_workflow(flow))
    seen: set[AgentStatus] = set()
    while not running.done():
        seen.add(one.status)
        await asyncio.sleep(0.01)
    await running
    assert AgentStatus.RATE_LIMITED in seen
    assert one.status is AgentStatus.COMPLETED
    await started.shutdown()


async def test_b5_every_status_can_be_reached() -> None:
    """Pending and running are seen in the engine's tests, rate limited above."""
    found = {
        (await executed(FakeClient(answer), workflow(one))).agents[0].status
        for one, answer in (
            (agent(), lambda prompt: "well"),
            (agent(max_retries=0), lambda prompt: OSError("down")),
            (agent(cost_limit=0.0), lambda prompt: "well"),
        )
    }
    assert found == {AgentStatus.COMPLETED, AgentStatus.FAILED, AgentStatus.BUDGET_EXCEEDED}
    last: Agent = agent("b", dependencies=["a"])
    await executed(
        FakeClient(lambda prompt: OSError("down")), workflow(agent("a", max_retries=0), last)
    )
    assert last.status is AgentStatus.CANCELLED
