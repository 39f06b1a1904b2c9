"""Plans: never below what is then paid, not far above it, and what they say of a workflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agenthive import authoring
from agenthive.agents.llm.prices import Prices
from agenthive.agents.registry import AgentRegistry
from agenthive.core.model.control_flow import ApprovalSpec, EachSpec, ReconcileSpec, RepeatSpec
from agenthive.core.model.workflow import (
    AgentSpec,
    BudgetSpec,
    Effect,
    FallbackSpec,
    TaskSpec,
    ToolSpec,
    WorkflowSpec,
)
from agenthive.core.policies.rate_limit import RateLimit
from agenthive.core.policies.retry import RetryPolicy
from agenthive.infra.price_list import parse_prices
from agenthive.insights import cost_bounds as bounds
from agenthive.insights.plan import Plan, plan_workflow
from tests.core.rig import agent, flow, task, undo
from tests.fuzz.plan_vs_actual import compare_plans

EXAMPLES = Path(__file__).parents[2] / "examples"
TRY = RetryPolicy(max_attempts=2)
INPUTS = {"topic": "x", "topics": ["a"], "reviews": [], "repository": "."}


def quoter() -> AgentRegistry:
    return AgentRegistry(prices=Prices(parse_prices({"m": {"input": 1.0, "output": 10.0}})))


def model(name: str = "m", **more: Any) -> AgentSpec:
    custom = {"model": "m"}
    return AgentSpec(
        name=name, type="ai_agent", endpoint="https://x.example", custom_params=custom, **more
    )


def asks(name: str, *after: str, **more: Any) -> TaskSpec:
    given = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 100}
    given |= more.pop("parameters", {})
    about = {"retry": TRY} | more
    return TaskSpec(
        name=name, agent="m", action="chat_completion", parameters=given, depends_on=after, **about
    )


def of(*tasks: TaskSpec, agents: tuple[AgentSpec, ...] = (), **more: Any) -> Plan:
    spec = flow(*tasks, agents=agents or (agent("a", max_cost=10), model()), **more)
    return plan_workflow(spec, quoter(), {"who": "ann"})


def worst(*tasks: TaskSpec, **more: Any) -> int | None:
    return of(*tasks, **more).worst


# Against what is then paid.


@pytest.mark.slow
def test_never_below_and_at_most_three_times_above() -> None:
    found = compare_plans(range(40))
    ratios = [one.ratio for one in found if one.ratio is not None]
    assert [one.seed for one in found if one.is_below] == []
    assert len(ratios) >= 15
    assert max(ratios) <= 3


@pytest.mark.slow
@pytest.mark.parametrize("forgets", ["retries", "items", "compensations", "sub-workflows"])
def test_what_a_plan_forgets_is_found(forgets: str, monkeypatch: pytest.MonkeyPatch) -> None:
    book = bounds._BoundCalculator
    if forgets == "retries":
        monkeypatch.setattr(bounds, "count_attempts", lambda node: 1)
    elif forgets == "items":
        monkeypatch.setattr(book, "_render_items", lambda self, node: [0])
    elif forgets == "compensations":
        monkeypatch.setattr(book, "_bound_recovery", lambda self, task, node, times: iter(()))
    else:
        monkeypatch.setattr(book, "_bound_child", lambda self, task, node, times: iter(()))
    assert any(one.is_below for seed in range(60) for one in compare_plans([seed]))


# How it is counted.


def test_every_attempt_counts() -> None:
    assert worst(task("t", retry=TRY)) == 20
    assert worst(task("t", retry=TRY, effect=Effect.ONCE)) == 10
    question = ReconcileSpec(agent="a", action="was")
    assert worst(task("t", retry=TRY, effect=Effect.ONCE, reconcile=question)) == 110 + 10 * 30


def test_items_rounds_and_compensations() -> None:
    assert worst(task("t", retry=TRY, for_each=EachSpec(items=[1, 2, 3]))) == 60
    assert worst(task("t", retry=TRY, for_each=EachSpec(items="inputs.who", max_items=4))) == 80
    rounds = RepeatSpec(until="result", max_rounds=5)
    assert worst(task("t", retry=TRY, repeat_until=rounds)) == 100
    assert worst(task("t", retry=TRY, compensate=undo(retry=TRY))) == 40


def test_a_sub_workflow_and_its_own_budget() -> None:
    inner = flow(task("x", retry=TRY), agents=[agent("a", max_cost=10)])
    assert worst(TaskSpec(name="t", workflow=inner, for_each=EachSpec(items=[1, 2]))) == 40
    cheap = flow(task("x"), agents=[agent("a", max_cost=10)], budget=BudgetSpec(limit=5))
    assert worst(TaskSpec(name="t", workflow=cheap)) == 5


def test_limits_bound_it() -> None:
    one = task("t", retry=TRY, cost_limit=7, compensate=undo(retry=TRY))
    assert worst(one) == 7 + 20
    two = (task("t", retry=TRY), task("u", retry=TRY))
    limited = (agent("a", max_cost=10, cost_limit=15), model())
    found = of(*two, agents=limited)
    assert (found.worst, found.by) == (15, "the agents' cost_limit")
    found = of(*two, budget=BudgetSpec(limit=12))
    assert (found.worst, found.by) == (12, "budget")
    spec = flow(*two, agents=(agent("a", max_cost=10),))
    found = plan_workflow(spec, limits={"tenant": 3, "day": 1})
    assert (found.worst, found.by) == (3, "tenant")


def test_a_model_by_its_question_and_the_longest_answer() -> None:
    found = of(asks("q"))
    assert found.worst is not None
    # Twice: 100 tokens out at $10 a million, and some input at $1.
    assert 2 * 1_000_000 < found.worst < 2 * 1_500_000
    longer = of(asks("q", parameters={"max_tokens": 200}))
    assert longer.worst == found.worst + 2 * 1_000_000
    schema = of(asks("q", output_schema={"type": "object"}))
    assert schema.worst is not None
    assert schema.worst > found.worst + 1_000_000


def test_inputs_are_known() -> None:
    told = {"messages": [{"role": "user", "content": "{{ inputs.who }}"}]}
    assert worst(asks("q", parameters=told)) is not None


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (asks("q", "t", parameters={"x": "{{ tasks.t.result }}"}), "is not known before the run"),
        (TaskSpec(name="q", agent="m", action="sum up", depends_on=("t",)), "result of 't'"),
        (
            asks("q", tools=(ToolSpec(name="f", agent="a", action="f"),)),
            "the length of its conversation",
        ),
        (
            asks(
                "q", "t", parameters={"x": "{{ item }}"}, for_each=EachSpec(items="tasks.t.result")
            ),
            "is not known before the run",
        ),
    ],
)
def test_what_nobody_bounds(second: TaskSpec, why: str) -> None:
    found = of(task("t"), second)
    assert found.worst is None
    (concern,) = found.unbounded
    assert concern.task == "q"
    assert why in concern.why
    limited = of(task("t"), second, budget=BudgetSpec(limit=99))
    assert (limited.worst, limited.by) == (99, "budget")


def test_a_price_that_nobody_knows() -> None:
    spec = flow(asks("q", parameters={"model": "?"}), agents=[model()])
    assert (
        "model '?' at https://x.example is in no price list"
        in plan_workflow(spec, quoter()).unbounded[0].why
    )


def test_tools_and_those_who_go_on() -> None:
    free = ToolSpec(name="f", agent="free", action="f")
    agents = (agent("a", max_cost=10), agent("b", max_cost=1), agent("free"))
    one = task("t", retry=TRY, tools=(free,), max_turns=3)
    assert worst(one, agents=agents) == 60
    both = task("t", retry=TRY, fallback=(FallbackSpec(agent="b"),))
    assert worst(both, agents=agents) == 22
    dear = ToolSpec(name="f", agent="b", action="f")
    found = of(task("t", tools=(dear,)), agents=agents)
    assert "the number of its tool calls" in found.unbounded[0].why


# What else it says.


def test_time_and_the_critical_path() -> None:
    slow = task("slow", estimated_duration=10.0, retry=TRY, timeout=20.0)
    last = task("last", "slow", "quick", estimated_duration=1.0, retry=TRY, timeout=20.0)
    found = of(slow, task("quick", estimated_duration=2.0, timeout=20.0), last, timeout=None)
    assert (found.path, found.typical_seconds) == (("slow", "last"), 11.0)
    assert found.worst_seconds is not None
    assert found.worst_seconds > 2 * 40
    one = of(task("t", timeout=None), agents=(agent("a", timeout=None), model()), timeout=None)
    assert one.worst_seconds is None
    bounded = of(task("t", timeout=None), agents=(agent("a", timeout=None), model()), timeout=9.0)
    assert bounded.worst_seconds == 9.0


def test_what_it_usually_costs_is_guessed_of_what_is_known_of_its_question() -> None:
    summed = TaskSpec(name="q", agent="m", action="sum up", depends_on=("t",))
    found = of(task("t"), summed)
    assert found.worst is None
    assert found.typical is not None
    assert found.typical > 5
    dark = of(task("t"), asks("q", "t", parameters={"x": "{{ tasks.t.result }}"}))
    assert dark.typical is None, "not 0: nobody knows"
    assert [one.typical for one in dark.tasks] == [5, None]
    assert of(asks("q", when="inputs.who == 'bob'")).typical == 0


def test_how_many_runs_rate_limits_allow() -> None:
    limit = RateLimit(requests_per_minute=60, requests_per_hour=600, tokens_per_minute=10**6)
    agents = (agent("a", max_cost=1, rate_limit=limit), model())
    found = of(task("t"), task("u", for_each=EachSpec(items=[1, 2, 3, 4])), agents=agents)
    flow_ = found.throughput
    assert flow_ is not None
    assert (flow_.runs_per_minute, flow_.agent, flow_.tier) == (2.0, "a", "requests_per_hour")
    tight = model(rate_limit=RateLimit(tokens_per_minute=1000))
    told = of(asks("q"), agents=(tight,)).throughput
    assert told is not None
    assert told.tier == "tokens_per_minute"
    assert of(task("t")).throughput is None


def test_what_nobody_can_take_back() -> None:
    tools = (ToolSpec(name="f", agent="a", action="f", effect=Effect.ONCE),)
    found = of(
        task("read", effect=Effect.NONE),
        task("acts"),
        task("once", effect=Effect.ONCE),
        task("asked", approval=ApprovalSpec()),
        task("undone", compensate=undo()),
        task("talks", tools=tools),
        asks("question"),
        asks("sends", effect=Effect.ONCE),
    )
    assert [one.task for one in found.irreversible] == ["acts", "once", "talks: f", "sends"]
    assert "declare effect: none" in found.irreversible[0].why


def test_what_is_never_done() -> None:
    found = of(
        task("no", when="inputs.who == 'bob'"),
        task("after", "no"),
        task("both", "no", "yes"),
        task("yes", when="inputs.who == 'ann'"),
        task("who knows", "yes", when="tasks.yes.result"),
    )
    assert [one.task for one in found.unreachable] == ["no", "after"]
    assert found.tasks[0].worst == 0


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_example_has_a_plan(file: Path) -> None:
    spec: WorkflowSpec = authoring.load(file, keep_secret=authoring.placeholder).spec
    given = {name: value for name, value in INPUTS.items() if name in spec.inputs}
    found = plan_workflow(spec, quoter(), given)  # type: ignore[arg-type]
    assert [one.task for one in found.tasks] == [one.name for one in spec.tasks]
    assert found.worst is not None or found.unbounded
    assert found.path
