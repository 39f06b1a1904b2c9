"""What is asked and what came of it: agents, their results, workflows of agents."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Final

MODULES: Final = ("HR", "Finance", "Inventory", "Compliance", "General")


class AgentStatus(Enum):
    """Where an agent stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RATE_LIMITED = "rate_limited"
    BUDGET_EXCEEDED = "budget_exceeded"


class WorkflowStatus(Enum):
    """Where a workflow stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    PARTIALLY_COMPLETED = "partially_completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


RETRIABLE: Final = frozenset({AgentStatus.FAILED, AgentStatus.RATE_LIMITED})


@dataclass
class AgentResult:
    """What came of one agent.

    ``cost`` is dollars, ``execution_time`` seconds; ``retry_count`` counts the attempts after the
    first. ``metadata["fault"]`` is the kind of fault it ended in.
    """

    agent_id: str
    status: AgentStatus
    output: dict[str, Any] | None = None
    error: str | None = None
    tokens_used: int = 0
    cost: float = 0.0
    execution_time: float = 0.0
    started_at: datetime | None = None
    completed_at: datetime | None = None
    retry_count: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)

    def is_success(self) -> bool:
        """Whether it was done."""
        return self.status is AgentStatus.COMPLETED

    def is_retriable(self) -> bool:
        """Whether trying again may help."""
        return self.status in RETRIABLE and bool(self.metadata.get("retriable", True))


@dataclass
class Agent:
    """One prompt to a model, in a workflow.

    ``{name}`` in ``prompt_template`` stands for an input, or for the result of the agent of that
    name; what is neither stays as it is. ``timeout`` is seconds for one attempt, ``cost_limit``
    dollars for all of them, ``priority`` 1 (last) to 10 (first). Raises ValueError for what makes
    no sense.
    """

    name: str
    module: str
    description: str
    llm_config: dict[str, Any]
    prompt_template: str
    tools: list[dict[str, Any]] | None = None
    dependencies: list[str] | None = None
    max_retries: int = 3
    timeout: float = 300.0
    cost_limit: float = 1.0
    priority: int = 5
    status: AgentStatus = field(default=AgentStatus.PENDING, init=False)
    result: AgentResult | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.module not in MODULES:
            raise ValueError(f"module must be one of {', '.join(MODULES)}, not {self.module!r}")
        if not 1 <= self.priority <= 10:
            raise ValueError(f"priority must be 1 to 10, not {self.priority}")
        if self.max_retries < 0 or not self.timeout > 0 or not 0 <= self.cost_limit < 1e9:
            raise ValueError(
                "max_retries and cost_limit must not be negative, timeout must be positive"
            )
        self.tools, self.dependencies = self.tools or [], self.dependencies or []

    def reset(self) -> None:
        """As it was before it was run."""
        self.status, self.result = AgentStatus.PENDING, None

    def can_execute(self, completed_agents: Collection[str]) -> bool:
        """Whether all that it depends on is among these names."""
        return set(self.dependencies or ()) <= set(completed_agents)

    def to_dict(self) -> dict[str, Any]:
        """Its fields as plain values."""
        return _fields(self)


@dataclass
class Workflow:
    """Agents and what they depend on; after a run, what came of them.

    ``cost_budget`` is dollars and a hard limit, ``timeout`` seconds. With
    ``allow_partial_completion`` the others go on when an agent has failed.
    """

    name: str
    description: str
    agents: list[Agent]
    max_parallel_agents: int = 10
    cost_budget: float = 100.0
    timeout: float = 3600.0
    allow_partial_completion: bool = True
    status: WorkflowStatus = field(default=WorkflowStatus.PENDING, init=False)
    total_cost: float = field(default=0.0, init=False)

    def get_agent_by_name(self, name: str) -> Agent | None:
        """The agent of that name."""
        return next((agent for agent in self.agents if agent.name == name), None)

    def get_ready_agents(self) -> list[Agent]:
        """Those that have not begun and wait for nobody, the most urgent first."""
        done = {agent.name for agent in self.agents if agent.status is AgentStatus.COMPLETED}
        waiting = [agent for agent in self.agents if agent.status is AgentStatus.PENDING]
        ready = [agent for agent in waiting if agent.can_execute(done)]
        return sorted(ready, key=lambda agent: -agent.priority)

    def get_statistics(self) -> dict[str, Any]:
        """Agents by status, with what they used: tokens, dollars, seconds."""
        results = [agent.result for agent in self.agents if agent.result is not None]
        by_status = {
            status.value: sum(agent.status is status for agent in self.agents)
            for status in AgentStatus
        }
        return {
            "total_agents": len(self.agents),
            **by_status,
            "total_tokens": sum(result.tokens_used for result in results),
            "total_cost": self.total_cost,
            "total_execution_time": sum(result.execution_time for result in results),
            "total_retries": sum(result.retry_count for result in results),
        }

    def to_dict(self) -> dict[str, Any]:
        """Its fields as plain values."""
        return _fields(self)


def _fields(value: Any) -> dict[str, Any]:
    """A dataclass as a dictionary of plain values."""
    return {one.name: _plain(getattr(value, one.name)) for one in dataclasses.fields(value)}


def _plain(value: Any) -> Any:
    """Dataclasses as dictionaries, statuses as texts, times as ISO 8601."""
    if dataclasses.is_dataclass(value):
        return _fields(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
