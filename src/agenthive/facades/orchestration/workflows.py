"""A workflow of this design: its agents, and their progress.

Values only, filled in from the journal while it runs. Its cost is the sum over its agents; no
second sum is kept.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from agenthive.facades.orchestration.agents import Agent, AgentResult, AgentStatus


class WorkflowStatus(StrEnum):
    """The states of a workflow."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    PARTIALLY_COMPLETED = "partially_completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass
class Workflow:
    """Agents with dependencies.

    A budget is enforced: a call with a worst case that exceeds the remaining budget is not made.
    Without ``allow_partial_completion`` the first failure stops the workflow.
    """

    name: str
    description: str
    agents: list[Agent]
    #: Agents that execute at once.
    max_parallel_agents: int = 10
    #: US dollars for the whole workflow.
    cost_budget: float = 100.0
    #: Seconds for the whole workflow.
    timeout: float = 3600.0
    allow_partial_completion: bool = True
    status: WorkflowStatus = field(default=WorkflowStatus.PENDING, init=False)

    @property
    def total_cost(self) -> float:
        """The cost of its agents so far, in US dollars."""
        return round(math.fsum(result.cost for result in self._agent_results()), 9)

    def get_agent_by_name(self, name: str) -> Agent | None:
        """The agent of that name."""
        return next((agent for agent in self.agents if agent.name == name), None)

    def get_ready_agents(self) -> list[Agent]:
        """The agents that could start now, by priority."""
        completed = {agent.name for agent in self.agents if agent.status is AgentStatus.COMPLETED}
        pending = [agent for agent in self.agents if agent.status is AgentStatus.PENDING]
        ready = [agent for agent in pending if agent.can_execute(completed)]
        return sorted(ready, key=lambda agent: -agent.priority)

    def get_statistics(self) -> dict[str, Any]:
        """The number of agents in each status, and their usage. The success rate is in per cent."""
        counts = Counter(agent.status for agent in self.agents)
        results = self._agent_results()
        ended_count = len(self.agents) - counts[AgentStatus.PENDING] - counts[AgentStatus.RUNNING]
        completed = counts[AgentStatus.COMPLETED]
        return {
            "total_agents": len(self.agents),
            **{status.value: counts[status] for status in AgentStatus},
            "success_rate": 100.0 * completed / ended_count if ended_count else 0.0,
            "total_cost": self.total_cost,
            "total_tokens": sum(result.tokens_used for result in results),
            "total_retries": sum(result.retry_count for result in results),
            "execution_time": math.fsum(result.execution_time for result in results),
        }

    def reset(self) -> None:
        """Clear status and results, so that the workflow can be executed again."""
        self.status = WorkflowStatus.PENDING
        for agent in self.agents:
            agent.reset()

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON."""
        return {
            "name": self.name,
            "description": self.description,
            "agents": [agent.to_dict() for agent in self.agents],
            "max_parallel_agents": self.max_parallel_agents,
            "cost_budget": self.cost_budget,
            "timeout": self.timeout,
            "allow_partial_completion": self.allow_partial_completion,
            "status": self.status.value,
            "total_cost": self.total_cost,
        }

    def _agent_results(self) -> list[AgentResult]:
        return [agent.result for agent in self.agents if agent.result is not None]
