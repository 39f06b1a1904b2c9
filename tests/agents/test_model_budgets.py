"""Budgets against a real server that counts by itself: many calls at once, none beyond a limit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agenthive import AgentRegistry, Hive
from agenthive.agents.base import AgentServices
from agenthive.agents.llm.prices import Prices
from agenthive.agents.llm.router import make
from agenthive.agents.llm.token_bounds import LONGEST_SECRET, PER_IMAGE, max_input_tokens
from agenthive.core.model.calls import Call
from agenthive.core.model.control_flow import EachSpec
from agenthive.core.model.workflow import (
    AgentSpec,
    BudgetSpec,
    FailureStrategy,
    TaskSpec,
    WorkflowSpec,
)
from agenthive.core.policies.rate_limit import RateLimit
from agenthive.errors import ConfigurationError
from agenthive.infra import price_list
from agenthive.infra.egress import Egress
from agenthive.infra.secrets import Secrets
from tests.agents.aimock import MODELS, Aimock, serving
from tests.requires import require

pytestmark = pytest.mark.slow
"""Many of its tests start processes or wait."""

VENDORS = sorted(MODELS)
COST = {"openai": 1000 * 2500 + 200 * 10_000, "anthropic": 1000 * 3000 + 200 * 15_000}
"""Nano-dollars of a call that says hello: 1,000 tokens in, 200 out."""
AT_ONCE = 128


@pytest.fixture(scope="module")
def mock() -> Iterator[Aimock]:
    require("node")
    with serving() as running:
        yield running


def hello(agent: AgentSpec, items: int, budget: BudgetSpec, **more: Any) -> WorkflowSpec:
    said = {"messages": [{"role": "user", "content": "say hello"}], "max_tokens": 400, **more}
    said["system"] = "Be kind. " * 150  # at least as long as what is counted for it
    task = TaskSpec(
        name="t",
        agent=agent.name,
        action="chat_completion",
        parameters=said,
        for_each=EachSpec(items=list(range(items)), max_items=10_000),
    )
    return WorkflowSpec(
        name="w",
        agents=(agent,),
        tasks=(task,),
        max_parallel=AT_ONCE,
        timeout=None,
        failure_strategy=FailureStrategy.CONTINUE,
        budget=budget,
    )


async def accounts(hive: Hive) -> dict[str, tuple[int, int]]:
    found = await hive.journal.list_accounts()
    return {one.scope.split(" ")[0]: (one.captured, one.held) for one in found}


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("calls", [20, 200])
async def test_many_at_once_at_the_limit(
    mock: Aimock, vendor: str, calls: int, tmp_path: Path
) -> None:
    test = f"budget-{vendor}-{calls}"
    limit = calls * COST[vendor] + 1
    spec = hello(mock.spec(vendor, test), calls + 150, BudgetSpec(limit=limit))
    async with Hive.open(tmp_path / "home") as hive:
        report = await hive.run(spec)
        spent, held = (await accounts(hive))["run"]
    came = len(mock.journal(test))
    done = sum(task.status == "succeeded" for name, task in report.tasks.items() if name != "t")
    assert report.over_budget
    assert (came, held) == (done, 0), "its journal and ours agree on the calls"
    assert spent == came * COST[vendor] <= limit, "not a nano-dollar beyond the limit"
    assert came >= calls - 3, "what was left was used"


@pytest.mark.parametrize("vendor", VENDORS)
async def test_the_last_answer_is_cut(mock: Aimock, vendor: str) -> None:
    test = f"shrink-{vendor}"
    agent = mock.spec(vendor, test)
    budget = BudgetSpec(limit=4 * COST[vendor] + COST[vendor] // 2 + 4_000_000, shrink=True)
    async with Hive.open() as hive:
        await hive.run(hello(agent, 8, budget))
        spent, _ = (await accounts(hive))["run"]
    asked = [call["body"]["max_tokens"] for call in mock.journal(test)]
    assert spent <= budget.limit
    assert min(asked) < 400, asked


async def test_a_model_without_a_price_is_refused_under_a_limit(mock: Aimock) -> None:
    agent = mock.spec("openai", "unpriced", custom_params={"model": "bee-9000"})
    spec = hello(agent, 2, BudgetSpec(limit=10**9))
    async with Hive.open() as hive:
        with pytest.raises(ConfigurationError, match="the cost of a call of agent 'model' is unk"):
            await hive.run(spec)
    assert mock.journal("unpriced") == []
    default = price_list.parse_prices({"default": {"input": 1, "output": 2}})
    async with Hive.open(agents=AgentRegistry(prices=Prices(default))) as hive:
        report = await hive.run(spec)
    assert (report.status, len(mock.journal("unpriced"))) == ("completed", 2)


async def test_tokens_a_minute_are_counted_and_settled(mock: Aimock) -> None:
    agent = msgspec.structs.replace(
        mock.spec("openai", "tokens"), rate_limit=RateLimit(tokens_per_minute=50_000)
    )
    async with Hive.open() as hive:
        run = await hive.submit(hello(agent, 30, BudgetSpec(limit=10**9)))
        async for fact in hive.watch(run):
            if fact.type == "task.succeeded":
                break
        await hive.cancel(run)
        await hive.wait(run)
    assert 1 <= len(mock.journal("tokens")) <= 13, "a tenth of a minute's tokens at once"


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_refusal_is_no_attempt(mock: Aimock, vendor: str) -> None:
    from agenthive.core.policies.retry import RetryPolicy

    test = f"busy-{vendor}"
    agent = msgspec.structs.replace(mock.spec(vendor, test), retry=RetryPolicy(max_attempts=1))
    task = TaskSpec(
        name="t",
        agent="model",
        action="chat_completion",
        parameters={"messages": [{"role": "user", "content": "busy"}]},
    )
    async with Hive.open() as hive:
        report = await hive.run(WorkflowSpec(name="w", agents=(agent,), tasks=(task,)))
    assert report.status == "completed"
    assert len(mock.journal(test)) == 2


# What a question can be at most.


def call(**parameters: Any) -> Call:
    return Call(
        run="r",
        task="t",
        attempt=1,
        key="k",
        agent="m",
        action="chat_completion",
        parameters={"messages": [{"role": "user", "content": "say hello"}], **parameters},
    )


def spec(**custom: Any) -> AgentSpec:
    return AgentSpec(
        name="m",
        type="ai_agent",
        endpoint="https://api.openai.com/v1",
        custom_params={"model": "gpt-4o", **custom},
    )


def test_the_worst_case_is_bytes_and_a_full_answer() -> None:
    model = make(spec(), AgentServices(Secrets(), Egress()))
    worst = model.estimate_max_cost(call(max_tokens=1000))
    assert worst is not None
    assert 1000 * 10_000 < worst < 1000 * 10_000 + 400 * 2500
    longer = model.estimate_max_cost(call(max_tokens=1000, system="x" * 4000))
    assert longer is not None
    assert 4000 * 2500 <= longer - worst <= 4100 * 2500
    assert model.estimate_max_cost(call()) == worst + 3096 * 10_000, "4,096 where nobody says"
    assert model.estimate_tokens(call(max_tokens=1000)) in range(1020, 1120)


def test_what_a_question_is_made_of_counts() -> None:
    plain = max_input_tokens({"messages": [{"role": "user", "content": "x"}]})
    image = {"type": "image_url", "image_url": {"url": "https://h.example/i.png"}}
    parts = max_input_tokens({"messages": [{"role": "user", "content": [image, {"type": "text"}]}]})
    assert plain < 200
    assert PER_IMAGE < parts < PER_IMAGE + 400
    assert max_input_tokens({"messages": "odd", "tools": [1]}) > 1500
    assert max_input_tokens({}, 2) >= 2 * LONGEST_SECRET


def test_the_longest_answer_that_fits() -> None:
    model = make(spec(), AgentServices(Secrets(), Egress()))
    asked = call(max_tokens=1000)
    worst = model.estimate_max_cost(asked)
    assert worst is not None
    assert model.fit_max_tokens(asked, worst) == (1000, worst)
    cut = model.fit_max_tokens(asked, worst - 1)
    assert cut == (999, worst - 10_000)
    assert model.fit_max_tokens(asked, worst - 990 * 10_000) is None, "ten tokens are no answer"
    unknown = make(spec(model="bee-9000"), AgentServices(Secrets(), Egress()))
    assert unknown.estimate_max_cost(asked) is None
    assert unknown.fit_max_tokens(asked, 10**12) is None


def test_what_will_be_refused_costs_nothing() -> None:
    agent = AgentSpec(name="m", type="ai_agent", endpoint="https://h.example")
    model = make(agent, AgentServices(Secrets(), Egress()))
    assert (model.estimate_max_cost(call()), model.estimate_tokens(call())) == (0, 0)


def test_who_is_priced() -> None:
    directory = AgentRegistry()
    assert directory.is_priced(spec())
    offline = AgentSpec(name="o", type="ai_agent", endpoint="offline://extractive")
    custom = AgentSpec(name="c", type="custom", endpoint="custom://c")
    assert not directory.is_priced(offline)
    assert not directory.is_priced(custom)
    assert directory.estimate_max_cost(offline, call(model="offline:x")) == 0
    assert directory.estimate_tokens(offline, call(model="offline:x")) == 0
    assert directory.fit_max_tokens(offline, call(model="offline:x"), 5) is None
