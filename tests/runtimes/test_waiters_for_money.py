"""A wide run under a tight budget in the embedded runtime: it comes to its end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agenthive.agents.base import AgentResponse, BaseAgent
from agenthive.agents.registry import AgentRegistry
from agenthive.core.model.calls import Call, Reply, Usage
from agenthive.core.model.workflow import AgentSpec, BudgetSpec, TaskSpec, WorkflowSpec
from agenthive.hive import Hive

TASKS, ROOM, HOLD = 4000, 50, 100


class Counted(BaseAgent):
    """Costs nothing in the end, and knows how many of its calls were open at once."""

    open_calls = most = 0

    async def execute(self, action: str, parameters: dict[str, Any]) -> AgentResponse:
        """Outside any run."""
        return AgentResponse(success=True)

    async def perform(self, call: Call) -> Reply:
        """Let the other calls begin, or end at once."""
        Counted.open_calls += 1
        Counted.most = max(Counted.most, Counted.open_calls)
        if call.action == "pause":
            await asyncio.sleep(0.001)
        Counted.open_calls -= 1
        return Reply(result=call.task, usage=Usage(model="m", cost=0))


@pytest.mark.slow
@pytest.mark.parametrize("action", ["pause", "end"])
async def test_thousands_of_tasks_that_wait_for_money_are_all_called(action: str) -> None:
    """More than a thousand tasks find no money in one turn, which then has nothing to write."""
    agents = AgentRegistry()
    agents.register("f", Counted)
    paid = AgentSpec(name="a", type="custom", endpoint="custom://f", max_cost=HOLD)
    spec = WorkflowSpec(
        name="wide",
        agents=(paid,),
        tasks=tuple(TaskSpec(name=f"t{i}", agent="a", action=action) for i in range(TASKS)),
        max_parallel=10_000,
        budget=BudgetSpec(limit=ROOM * HOLD),
    )
    async with Hive.open(agents=agents) as hive, asyncio.timeout(30):
        report = await hive.run(spec)
    assert report.status == "completed"
    # On a busy machine the first calls have ended before the last ones begin.
    assert Counted.most <= ROOM
    assert Counted.most > 1 or action == "end"
