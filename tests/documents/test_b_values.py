"""B1-B15, B28, B35, B41, B47, B51: the values of document B, against what its own text says."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest

from agenthive.facades import orchestration
from agenthive.facades.orchestration import (
    Agent,
    AgentResult,
    AgentStatus,
    CostConfig,
    FailureHandler,
    RateLimitConfig,
    RetryPolicy,
    RetryStrategy,
    WorkflowStatus,
)
from tests.documents.rig_b import AT_ONCE, FakeClient, agent, block, executed, workflow

LINES = {
    "Agent": "B1",
    "AgentResult": "B6",
    "Workflow": "B9",
    "EngineConfig": "B23",
    "RateLimitConfig": "B28",
    "CostConfig": "B35",
    "LLMResponse": "B41",
    "MonitorConfig": "B47",
    "RetryPolicy": "B51",
}
ENUMS = {"AgentStatus": "B5", "WorkflowStatus": "B15", "RetryStrategy": "B52"}
MODULES = ["HR", "Finance", "Inventory", "Compliance", "General"]


def documented(name: str) -> dict[str, str | None]:
    """The attributes that the document lists for a class, with their defaults."""
    text = block(f"class {name}:")
    found = re.findall(r"^        (\w+) \([^)]*\): (.*)$", text, flags=re.MULTILINE)
    return {field: _default(said) for field, said in found}


def _default(said: str) -> str | None:
    match = re.search(r"\(default: ([^)]*)\)", said)
    return match[1] if match else None


def defaults(kind: Any) -> dict[str, Any]:
    """The fields of a class, in order, with their defaults."""
    if kind is RetryPolicy:
        return {name: getattr(RetryPolicy(), name) for name in documented("RetryPolicy")}
    return {field.name: field.default for field in dataclasses.fields(kind)}


@pytest.mark.parametrize("name", LINES, ids=[f"{line}-{name}" for name, line in LINES.items()])
def test_fields_and_defaults(name: str) -> None:
    said, found = documented(name), defaults(getattr(orchestration, name))
    assert len(said) >= 3
    assert list(found)[: len(said)] == list(said)
    for field, default in said.items():
        if default is not None:
            there = found[field]
            assert default in (str(there), getattr(there, "name", "")), field


@pytest.mark.parametrize("name", ENUMS, ids=[f"{line}-{name}" for name, line in ENUMS.items()])
def test_enumerations(name: str) -> None:
    said = dict(re.findall(r'^    (\w+) = "(\w+)"$', block(f"class {name}(Enum)"), re.MULTILINE))
    assert len(said) >= 4
    assert {one.name: one.value for one in getattr(orchestration, name)} == said


def test_what_the_document_does_not_say_is_noticed() -> None:
    assert documented("Agent")["timeout"] == "300.0"
    assert list(documented("Workflow"))[:3] == ["name", "description", "agents"]


async def test_b1_every_module_is_a_label() -> None:
    agents = [agent(module.lower(), module=module) for module in MODULES]
    done = await executed(FakeClient(), workflow(*agents))
    assert [one.result.metadata["module"] for one in done.agents if one.result] == MODULES


def test_b1_lists_are_its_own() -> None:
    one, other = agent("one"), agent("other", tools=None, dependencies=None)
    one.dependencies.append("x")
    assert (other.tools, other.dependencies, agent("new").dependencies) == ([], [], [])


async def test_b2_reset() -> None:
    one = agent()
    await executed(FakeClient(), workflow(one))
    assert one.result is not None
    one.reset()
    assert (one.status, one.result) == (AgentStatus.PENDING, None)


def test_b3_can_execute() -> None:
    one = agent("c", dependencies=["a", "b"])
    assert agent("a").can_execute(set())
    assert not one.can_execute({"a"})
    assert one.can_execute({"a", "b", "x"})


async def test_b4_to_dict_of_an_agent() -> None:
    one = agent(tools=[{"name": "t"}], priority=7)
    await executed(FakeClient(), workflow(one))
    told = json.loads(json.dumps(one.to_dict()))
    assert (told["name"], told["priority"], told["status"]) == ("a", 7, "completed")
    assert told["result"]["output"]["content"] == "done: do a"
    one.to_dict()["tools"][0]["name"] = "changed"
    assert one.tools == [{"name": "t"}]


@pytest.mark.parametrize("status", AgentStatus)
def test_b7_is_success(status: AgentStatus) -> None:
    assert AgentResult("a", status).is_success() is (status is AgentStatus.COMPLETED)


@pytest.mark.parametrize("status", AgentStatus)
def test_b8_is_retriable(status: AgentStatus) -> None:
    again = status in (AgentStatus.FAILED, AgentStatus.RATE_LIMITED)
    assert AgentResult("a", status).is_retriable() is again
    assert not AgentResult("a", status, metadata={"retriable": False}).is_retriable()


def test_b10_get_agent_by_name() -> None:
    one = agent("one")
    flow = workflow(agent("other"), one)
    assert flow.get_agent_by_name("one") is one
    assert flow.get_agent_by_name("nobody") is None


def test_b11_get_ready_agents() -> None:
    first, second, third = agent("1"), agent("2", dependencies=["1"]), agent("3")
    flow = workflow(first, second, third)
    assert flow.get_ready_agents() == [first, third]
    first.status = AgentStatus.COMPLETED
    assert flow.get_ready_agents() == [second, third]
    third.priority = 6
    assert flow.get_ready_agents() == [third, second]
    second.status = third.status = AgentStatus.FAILED
    assert flow.get_ready_agents() == []


async def test_b12_get_statistics() -> None:
    flow = workflow(agent("1"), agent("2"), agent("bad", max_retries=2))
    assert flow.get_statistics() | {"pending": 3, "success_rate": 0.0} == flow.get_statistics()
    broken = FakeClient(lambda prompt: OSError("no") if "bad" in prompt else "well")
    told = (await executed(broken, flow)).get_statistics()
    assert (told["total_agents"], told["completed"], told["failed"]) == (3, 2, 1)
    assert told["success_rate"] == pytest.approx(200 / 3)
    assert (told["total_tokens"], told["total_retries"]) == (300, 2)
    assert told["total_cost"] == pytest.approx(2 * (0.003 + 0.003))


async def test_b13_to_dict_of_a_workflow() -> None:
    done = await executed(FakeClient(), workflow(agent(), cost_budget=2.5))
    told = json.loads(json.dumps(done.to_dict()))
    assert (told["cost_budget"], told["status"], told["total_cost"]) == (2.5, "completed", 0.006)
    assert [one["name"] for one in told["agents"]] == ["a"]


async def test_b14_status_and_total_cost_after_execution() -> None:
    flow = workflow(agent("1"), agent("2"))
    assert (flow.status, flow.total_cost) == (WorkflowStatus.PENDING, 0.0)
    done = await executed(FakeClient(tokens=(1000, 500)), flow)
    assert done is flow
    assert done.status is WorkflowStatus.COMPLETED
    assert done.total_cost == 2 * (0.03 + 0.03)


def test_b48_a_handler_can_be_made_of_nothing_or_both() -> None:
    seen: list[tuple[Agent, AgentResult]] = []
    handler = FailureHandler(RetryPolicy(1), lambda one, result: seen.append((one, result)))
    one, result = agent(), AgentResult("a", AgentStatus.FAILED)
    assert handler.handle_failure(one, result)
    assert seen == [(one, result)]
    assert FailureHandler().handle_failure(one, result)


@pytest.mark.parametrize(
    ("status", "retries", "policy", "again"),
    [
        (AgentStatus.FAILED, 0, None, True),
        (AgentStatus.FAILED, 1, None, True),
        (AgentStatus.FAILED, 2, None, False),
        (AgentStatus.FAILED, 2, RetryPolicy(5), True),
        (AgentStatus.FAILED, 0, RetryPolicy(0), False),
        (AgentStatus.RATE_LIMITED, 0, None, True),
        (AgentStatus.BUDGET_EXCEEDED, 0, None, False),
        (AgentStatus.CANCELLED, 0, None, False),
    ],
)
def test_b49_handle_failure(
    status: AgentStatus, retries: int, policy: RetryPolicy | None, again: bool
) -> None:
    result = AgentResult("a", status, retry_count=retries)
    assert FailureHandler(RetryPolicy(2)).handle_failure(agent(), result, policy) is again


def test_b49_without_any_policy_the_agent_says_how_often() -> None:
    result = AgentResult("a", AgentStatus.FAILED, retry_count=1)
    assert not FailureHandler().handle_failure(agent(max_retries=1), result)
    assert FailureHandler().handle_failure(agent(max_retries=2), result)


@pytest.mark.parametrize("name", ["allow_partial", "allow_partial_completion"])
def test_b50_should_fail_workflow(name: str) -> None:
    ask = FailureHandler().should_fail_workflow
    one, both = [agent("1")], [agent("1"), agent("2")]
    assert not ask([], 2, **{name: False})
    assert ask(one, 2, **{name: False})
    assert not ask(one, 2, **{name: True})
    assert ask(both, 2, **{name: True})
    assert ask(one, 2, False)


def test_b50_two_names_that_contradict_each_other() -> None:
    ask = FailureHandler().should_fail_workflow
    assert not ask([agent()], 2, True, allow_partial_completion=True)
    with pytest.raises(ValueError, match="different values"):
        ask([agent()], 2, True, allow_partial_completion=False)


def test_b51_both_names_of_a_retry_policy() -> None:
    policy = RetryPolicy(max_retries=5, base_delay=2.0)
    assert (policy.max_attempts, policy.initial_delay) == (6, 2.0)
    assert policy == RetryPolicy(max_attempts=6, initial_delay=2.0) == RetryPolicy(5, base_delay=2)
    assert RetryPolicy(max_retries=5, max_attempts=6).max_retries == 5
    assert (RetryPolicy().max_retries, RetryPolicy().base_delay) == (3, 1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_retries": 3, "max_attempts": 3},
        {"base_delay": 1.0, "initial_delay": 2.0},
        {"max_retries": -1},
        {"max_attempts": 0},
        {"max_retries": 1.5},
        {"base_delay": float("nan")},
        {"max_delay": -1.0},
        {"strategy": "sometimes"},
    ],
    ids=str,
)
def test_b51_a_wrong_policy_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"different values|must be|valid"):
        RetryPolicy(**wrong)


def test_b51_is_the_policy_of_the_house() -> None:
    from agenthive import RetryPolicy as House

    assert isinstance(RetryPolicy(), House)
    assert (House().max_retries, House().base_delay) == (2, 1.0)
    assert AT_ONCE.compute_delay(1, 0.9) == 0


def test_b52_strategies_differ() -> None:
    ceilings = {
        strategy: [
            RetryPolicy(strategy=strategy, base_delay=2.0).delay_ceiling(n) for n in (1, 2, 3)
        ]
        for strategy in RetryStrategy
    }
    assert list(ceilings.values()) == [[2, 4, 8], [2, 4, 6], [2, 2, 2], [0, 0, 0]]


def test_b35_examples_and_published_prices() -> None:
    listed = CostConfig(model_costs={"gpt-4": {"input": 0.03, "output": 0.06}}).prices()
    assert listed.price_source("gpt-4", "") == "settings"
    assert CostConfig().prices().price_source("gpt-4", "").startswith("genai-prices")
    assert CostConfig().prices().price_source("nobody-knows-it", "") == "default"


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(RateLimitConfig)])
def test_b28_each_tier_is_handed_on(field: str) -> None:
    assert getattr(RateLimitConfig(**{field: 7}).limit(), field) == 7
    for wrong in (0, -1, 1.5, True, None):
        with pytest.raises(ValueError, match=field):
            RateLimitConfig(**{field: wrong}).limit()


def test_every_name_of_the_document_is_at_the_door() -> None:
    """But one, which another document uses for other states."""
    import agenthive.facades as door

    own = set(orchestration.__all__) - {"WorkflowStatus"}
    assert set(door.__all__) == own | {"LeadAgent"}
    assert all(getattr(door, name) is getattr(orchestration, name) for name in own)
