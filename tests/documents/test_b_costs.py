"""B29-B35, B42-B47: what was spent and what has happened, of an engine and of a program's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agenthive.errors import AgentHiveError
from agenthive.facades.orchestration import CostConfig, CostTracker, Monitor, MonitorConfig
from tests.documents.rig_b import FakeClient, agent, engine, workflow

LISTED = CostConfig(
    model_costs={
        "gpt-4": {"input": 0.03, "output": 0.06},
        "gpt-3.5-turbo": {"input": 0.0005, "output": 0.0015},
    }
)


@pytest.mark.parametrize(
    ("model", "tokens", "dollars"),
    [
        ("gpt-4", (1000, 500), 0.06),
        ("gpt-3.5-turbo", (1000, 500), 0.00125),
        ("gpt-3.5-turbo", (1, 0), 0.0000005),
        ("gpt-4o", (1000, 500), 0.0075),
        ("nobody-knows-it", (1000, 500), 0.025),
        ("gpt-4", (0, 0), 0.0),
    ],
)
def test_b30_calculate_cost(model: str, tokens: tuple[int, int], dollars: float) -> None:
    """The list given, else the published ones, else the default price."""
    assert CostTracker(LISTED).calculate_cost(model, *tokens) == dollars


def test_b30_without_a_default_an_unknown_price_is_said() -> None:
    tracker = CostTracker(CostConfig(default_input_cost=None))
    assert tracker.calculate_cost("gpt-4", 1000, 0) == 0.03
    with pytest.raises(ValueError, match="is unknown"):
        tracker.calculate_cost("nobody-knows-it", 1, 1)


WRONG: list[Callable[[CostTracker], Any]] = [
    lambda tracker: tracker.calculate_cost("gpt-4", -1, 0),
    lambda tracker: tracker.calculate_cost("gpt-4", 0, float("nan")),  # type: ignore[arg-type]
    lambda tracker: tracker.record_cost("a", "a", "w", "gpt-4", 1, True),
    lambda tracker: tracker.set_workflow_budget("w", -1.0),
    lambda tracker: tracker.set_agent_budget("a", float("nan")),
    lambda tracker: CostTracker(CostConfig({"m": {"input": float("nan"), "output": 0}})),
    lambda tracker: CostTracker(CostConfig({"m": {"input": -0.1, "output": 0}})),
    lambda tracker: CostTracker(CostConfig({"m": {"input": 0.1}})),
]


@pytest.mark.parametrize("act", WRONG)
def test_b30_what_is_no_amount_is_refused(act: Callable[[CostTracker], Any]) -> None:
    tracker = CostTracker()
    with pytest.raises(AgentHiveError) as caught:
        act(tracker)
    assert isinstance(caught.value, ValueError)
    assert tracker.get_statistics()["total_cost"] == 0


def test_b31_record_cost_never_drifts() -> None:
    tracker = CostTracker(LISTED)
    for _ in range(1000):
        cost = tracker.record_cost("a", "A", "w", "gpt-3.5-turbo", 1, 0, metadata={"why": "test"})
        assert cost == 0.0000005
    assert tracker.get_statistics()["total_cost"] == 0.0005
    assert sum([0.0000005] * 1000) != 0.0005


def test_b32_b33_budgets() -> None:
    tracker = CostTracker(LISTED)
    assert tracker.check_workflow_budget("unknown")
    assert tracker.check_agent_budget("unknown")
    tracker.set_workflow_budget("w", 0.06)
    tracker.set_agent_budget("a", 0.03)
    tracker.record_cost("a", "A", "w", "gpt-4", 1000, 0)
    assert (tracker.check_workflow_budget("w"), tracker.check_agent_budget("a")) == (True, True)
    tracker.record_cost("a", "A", "w", "gpt-4", 1000, 0)
    assert (tracker.check_workflow_budget("w"), tracker.check_agent_budget("a")) == (True, False)
    tracker.record_cost("b", "B", "w", "gpt-4", 1, 0)
    assert (tracker.check_workflow_budget("w"), tracker.check_agent_budget("b")) == (False, True)
    assert tracker.check_workflow_budget("other")


def test_b34_statistics() -> None:
    tracker = CostTracker(LISTED)
    tracker.record_cost("a", "A", "w", "gpt-4", 1000, 500)
    tracker.record_cost("b", "B", "w", "gpt-3.5-turbo", 1000, 0)
    told = tracker.get_statistics()
    assert told["total_cost"] == 0.0605
    assert (told["total_calls"], told["total_tokens"]) == (2, 2500)
    assert told["cost_by_workflow"] == {"w": 0.0605}
    assert told["cost_by_agent"] == {"a": 0.06, "b": 0.0005}
    assert told["cost_by_model"] == {"gpt-4": 0.06, "gpt-3.5-turbo": 0.0005}


async def test_b29_of_an_engine_it_reads_the_journal() -> None:
    """The same sums without anybody having recorded them; what a program records is added."""
    one = engine(FakeClient(tokens=(1000, 500)), cost_config=LISTED)
    tracker = one.cost_tracker
    flow = await one.register_workflow(workflow(agent("a"), agent("b"), cost_budget=0.5))
    done = await one.execute_workflow(flow)
    assert done.total_cost == 0.12
    assert tracker.get_statistics()["cost_by_workflow"] == {flow: 0.12}
    assert tracker.get_statistics()["cost_by_agent"] == {"a": 0.06, "b": 0.06}
    assert tracker.check_workflow_budget(flow)
    await one.execute_workflow(flow)
    assert tracker.get_statistics()["cost_by_workflow"] == {flow: 0.24}
    tracker.record_cost("a", "a", flow, "gpt-4", 10_000, 0)
    assert tracker.get_statistics()["total_cost"] == pytest.approx(0.54)
    assert not tracker.check_workflow_budget(flow)
    await one.shutdown()


def test_b42_b43_events_of_its_own() -> None:
    monitor = Monitor(MonitorConfig())
    monitor.record_event("deployed")
    monitor.record_event("checked", agent_id="a", workflow_id="w", data={"n": 1})
    first, second = monitor.get_recent_events()
    assert (first["event_type"], first["agent_id"], first["data"]) == ("deployed", None, {})
    wanted = {"event_type": "checked", "agent_id": "a", "workflow_id": "w", "data": {"n": 1}}
    assert second | wanted == second
    assert second["timestamp"] >= first["timestamp"]


def test_b44_metrics_of_its_own_events() -> None:
    monitor = Monitor()
    assert monitor.get_metrics()["workflows_started"] == 0
    for name in ("workflow_started", "workflow_started", "workflow_completed"):
        monitor.record_event(name)
    for seconds in (1.0, 3.0):
        told = {"execution_time": seconds, "cost": 0.25, "tokens": 10}
        monitor.record_event("agent_completed", data=told)
    found = monitor.get_metrics()
    assert (found["workflows_started"], found["workflows_completed"]) == (2, 1)
    assert (found["total_cost"], found["total_tokens"]) == (0.5, 20)
    assert 0 <= found["uptime_seconds"] < 60
    summary = monitor.get_summary()
    assert summary["workflows"]["running"] == 1
    assert summary["agents"]["avg_execution_time"] == 2.0


async def test_b44_b45_of_an_engine_it_reads_the_journal() -> None:
    broken = FakeClient(lambda prompt: OSError("no") if "bad" in prompt else "well", delay=0.02)
    one = engine(broken)
    good = await one.register_workflow(workflow(agent("a"), agent("b", dependencies=["a"])))
    bad = await one.register_workflow(workflow(agent("bad", max_retries=1)))
    again = await one.register_workflow(workflow(agent("x"), agent("bad", max_retries=0)))
    await one.execute_multiple_workflows([good, bad, again])
    found, summary = one.monitor.get_metrics(), one.monitor.get_summary()
    assert found["workflows_started"] == 3
    assert found["total_cost"] == pytest.approx(3 * 0.006)
    assert found["total_cost"] == one.cost_tracker.get_statistics()["total_cost"]
    ends = {"completed": 1, "failed": 1, "partially_completed": 1, "running": 0}
    assert summary["workflows"] | ends == summary["workflows"]
    assert summary["workflows"]["success_rate"] == pytest.approx(100 / 3)
    counts = {"started": 6, "completed": 3, "failed": 2, "retries": 1}
    assert summary["agents"] | counts == summary["agents"]
    assert 0.02 <= summary["agents"]["avg_execution_time"] < 1
    await one.shutdown()


async def test_b46_recent_events() -> None:
    one = engine()
    flow = await one.register_workflow(workflow(agent("a")))
    await one.execute_workflow(flow)
    one.monitor.record_event("deployed")
    names = [event["event_type"] for event in one.monitor.get_recent_events()]
    wanted = ["workflow_started", "agent_started", "agent_completed", "workflow_completed"]
    assert [name for name in names if name in wanted] == wanted
    assert names[-1] == "deployed"
    (done,) = one.monitor.get_recent_events(event_type="agent_completed")
    assert (done["agent_id"], done["workflow_id"]) == ("a", flow)
    assert done["data"]["usage"]["input_tokens"] == 100
    assert len(one.monitor.get_recent_events(count=2)) == 2
    assert one.monitor.get_recent_events(count=0) == []
    await one.shutdown()


def test_b46_events_are_bounded() -> None:
    monitor = Monitor(MonitorConfig(enable_logging=False))
    for number in range(5000):
        monitor.record_event("tick", data={"n": number})
    kept = monitor.get_recent_events(count=10_000)
    assert len(kept) == 1000
    assert kept[-1]["data"] == {"n": 4999}


async def test_b47_metrics_can_be_switched_off() -> None:
    one = engine(monitor_config=MonitorConfig(enable_metrics=False))
    await one.execute_workflow(await one.register_workflow(workflow(agent())))
    one.monitor.record_event("workflow_started")
    assert one.monitor.get_metrics()["workflows_started"] == 0
    assert one.monitor.get_summary()["workflows"]["completed"] == 0
    await one.shutdown()


@pytest.mark.parametrize(("on", "lines"), [(True, 2), (False, 0)])
def test_b47_logging_and_its_interval(
    on: bool, lines: int, capsys: pytest.CaptureFixture[str]
) -> None:
    from agenthive.infra import logging as logs

    logs.configure("info", "json")
    try:
        monitor = Monitor(MonitorConfig(enable_logging=on, metrics_interval=0.0))
        monitor.record_event("deployed")
        monitor.config.metrics_interval = 60.0
        told = capsys.readouterr().err.splitlines()
        assert len(told) == lines
        assert [("deployed" in line, "uptime_seconds" in line) for line in told] == [
            (True, False),
            (False, True),
        ][:lines]
    finally:
        logs.configure()
