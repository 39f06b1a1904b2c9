"""An agent of this design: one step of a workflow, the model that performs it, and its result.

Values only. ``status`` and ``result`` are filled in from the journal while a workflow runs; nothing
here reads one. To add a field: here, and where `compiling` passes it on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Final


class AgentStatus(StrEnum):
    """The states of an agent."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RATE_LIMITED = "rate_limited"
    BUDGET_EXCEEDED = "budget_exceeded"


class DefaultNumber(int):
    """A default value; an explicit value of the engine takes precedence over it."""


RETRIES: Final = DefaultNumber(3)


@dataclass
class AgentResult:
    """The result of an agent.

    ``output`` of a model has ``content``, ``model``, ``finish_reason``, and ``tool_calls`` if there
    are any.
    """

    agent_id: str
    status: AgentStatus
    output: dict[str, Any] | None = None
    error: str | None = None
    tokens_used: int = 0
    #: US dollars.
    cost: float = 0.0
    #: Seconds.
    execution_time: float = 0.0
    #: In UTC, like ``completed_at``.
    started_at: datetime | None = None
    completed_at: datetime | None = None
    #: Attempts after the first.
    retry_count: int = 0
    #: Notes, such as names in the prompt without a value.
    metadata: dict[str, Any] = field(default_factory=dict)

    def is_success(self) -> bool:
        """Whether the agent completed."""
        return self.status is AgentStatus.COMPLETED

    def is_retriable(self) -> bool:
        """Whether a retry may help: not after a refusal, a cancellation, or an exceeded budget."""
        may_retry = self.status in (AgentStatus.FAILED, AgentStatus.RATE_LIMITED)
        return may_retry and self.metadata.get("retriable", True) is not False

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON."""
        return {item.name: _to_json(getattr(self, item.name)) for item in fields(self)}


@dataclass
class Agent:
    """One step of a workflow: a prompt for a model, and its dependencies.

    ``module`` is a label: the part of an ERP system that it belongs to ("HR", "Finance",
    "Inventory", "Compliance", "General"). ``llm_config`` holds model, temperature, max_tokens, and
    ``inputs`` for the ``{names}`` of the ``prompt_template``; its other keys are passed to the
    client.
    """

    name: str
    module: str
    description: str
    llm_config: dict[str, Any]
    prompt_template: str
    tools: list[dict[str, Any]] = field(default_factory=list)
    #: Names of the agents that must complete first.
    dependencies: list[str] = field(default_factory=list)
    #: Attempts after the first.
    max_retries: int = RETRIES
    #: Seconds for each attempt.
    timeout: float = 300.0
    #: US dollars for all attempts together.
    cost_limit: float = 1.0
    #: From 1 (last) to 10 (first).
    priority: int = 5
    status: AgentStatus = field(default=AgentStatus.PENDING, init=False)
    result: AgentResult | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.tools = self.tools or []
        self.dependencies = self.dependencies or []

    def reset(self) -> None:
        """Clear status and result, so that the agent can be executed again."""
        self.status, self.result = AgentStatus.PENDING, None

    def can_execute(self, completed_agents: set[str]) -> bool:
        """Whether all its dependencies are among these names."""
        return all(name in completed_agents for name in self.dependencies)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON."""
        return {item.name: _to_json(getattr(self, item.name)) for item in fields(self)}


def _to_json(value: Any) -> Any:
    """A field as JSON; a value that is JSON already is copied, not shared."""
    if isinstance(value, AgentResult):
        return value.to_dict()
    if isinstance(value, AgentStatus):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: _to_json(item) for key, item in value.items()}
    return [_to_json(item) for item in value] if isinstance(value, list | tuple) else value
