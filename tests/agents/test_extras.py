"""What an installation may leave out: a workflow that needs it says which extra brings it."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec

import pytest

from agenthive import AgentRegistry, Call, Hive, RunStatus, Workflow
from agenthive.core.model.workflow import AgentSpec
from agenthive.errors import AgentUnavailable
from agenthive.infra.extras import require_package

HOME = "http://127.0.0.1:9/v1"


@pytest.fixture
def only_the_base(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no extra was installed."""
    find_spec = importlib.util.find_spec

    def without_extras(name: str, package: str | None = None) -> ModuleSpec | None:
        missing = name.split(".")[0] in ("openai", "anthropic", "mcp")
        return None if missing else find_spec(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without_extras)


def test_installed_package_is_accepted() -> None:
    require_package("msgspec", "models", "model")


@pytest.mark.usefixtures("only_the_base")
@pytest.mark.parametrize(
    ("kind", "endpoint", "extra"),
    [
        ("ai_agent", HOME, "openai"),
        ("ai_agent", "https://api.anthropic.com", "anthropic"),
        ("mcp_server", "stdio:python -m server", "mcp"),
    ],
)
def test_missing_extra_is_named(kind: str, endpoint: str, extra: str) -> None:
    spec = AgentSpec(name="writer", type=kind, endpoint=endpoint)
    with pytest.raises(AgentUnavailable, match="agent 'writer' needs the package") as caught:
        AgentRegistry().find_agent(spec)
    assert caught.value.hint == f"Install it: pip install 'agenthive-workflows[{extra}]'"


@pytest.mark.usefixtures("only_the_base")
async def test_offline_model_needs_no_extra() -> None:
    flow = Workflow("flow")
    writer = flow.agent("writer", type="ai_agent", endpoint="offline://extractive")
    flow.task("t", agent=writer, action="summarize", parameters={"text": "Bees dance."})
    async with Hive.open() as hive:
        report = await hive.run(flow.build())
    assert report.status is RunStatus.COMPLETED


@pytest.mark.usefixtures("only_the_base")
async def test_model_of_another_vendor_is_refused_before_it_is_called() -> None:
    spec = AgentSpec(name="writer", type="ai_agent", endpoint="offline://extractive")
    agent = AgentRegistry().find_agent(spec)
    call = Call(
        run="r",
        task="t",
        attempt=1,
        key="k",
        action="write",
        agent="writer",
        parameters={"model": "anthropic:claude", "text": "x"},
    )
    reply = await agent.perform(call)
    assert reply.fault is not None
    assert reply.fault.kind == "unregistered"
    assert "agenthive-workflows[anthropic]" in reply.fault.message
    assert not reply.fault.retriable
    assert agent.estimate_max_cost(call) == 0


@pytest.mark.usefixtures("only_the_base")
async def test_run_is_refused_with_the_extra_it_needs() -> None:
    flow = Workflow("flow")
    writer = flow.agent("writer", type="ai_agent", endpoint=HOME)
    flow.task("t", agent=writer, action="summarize", parameters={"text": "x"})
    async with Hive.open() as hive:
        with pytest.raises(AgentUnavailable, match=r"agenthive-workflows\[openai\]"):
            await hive.submit(flow.build())
