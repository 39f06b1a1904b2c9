"""An agent of this design: one step of a workflow, who does it, and what came of it.

Values only. ``status`` and ``result`` are filled in from the journal while a workflow runs; nothing
here reads one. To add a field: here, and where `compiling` hands it on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Final


class AgentStatus(StrEnum):
    """Where an agent stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RATE_LIMITED = "rate_limited"
    BUDGET_EXCEEDED = "budget_exceeded"


class DefaultNumber(int):
    """A number that nobody wrote: it counts only where nothing else was said."""


RETRIES: Final = DefaultNumber(3)


@dataclass
class AgentResult:
    """What came of an agent. ``cost`` is US dollars, ``execution_time`` seconds, times are UTC.

    ``output`` of a model: ``content``, ``model``, ``finish_reason``, and ``tool_calls`` if any.
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
        """Whether it did what it was to do."""
        return self.status is AgentStatus.COMPLETED

    def is_retriable(self) -> bool:
        """Whether trying again may help: not after a refusal, a cancel, or without money."""
        may_retry = self.status in (AgentStatus.FAILED, AgentStatus.RATE_LIMITED)
        return may_retry and self.metadata.get("retriable", True) is not False

    def to_dict(self) -> dict[str, Any]:
        """Its fields as JSON has them."""
        return {item.name: _to_json(getattr(self, item.name)) for item in fields(self)}


@dataclass
class Agent:
    """One step of a workflow: a prompt for a model, and what must be done before.

    ``module`` is the part of an ERP system that it belongs to ("HR", "Finance", "Inventory",
    "Compliance", "General"): a label. ``llm_config`` holds model, temperature, max_tokens, and
    ``inputs`` for the ``{names}`` of the ``prompt_template``; what else is in it is passed on to
    the client. ``timeout`` is seconds for each try, ``cost_limit`` US dollars for all of them.
    ``priority`` is 1 (last) to 10 (first).
    """

    name: str
    module: str
    description: str
    llm_config: dict[str, Any]
    prompt_template: str
    tools: list[dict[str, Any]] = field(default_factory=list)
    dependencies: list[str] = field(default_factory=list)
    max_retries: int = RETRIES
    timeout: float = 300.0
    cost_limit: float = 1.0
    priority: int = 5
    status: AgentStatus = field(default=AgentStatus.PENDING, init=False)
    result: AgentResult | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.tools = self.tools or []
        self.dependencies = self.dependencies or []

    def reset(self) -> None:
        """Forget what came of it: it may be done again."""
        self.status, self.result = AgentStatus.PENDING, None

    def can_execute(self, completed_agents: set[str]) -> bool:
        """Whether all it depends on is among these names."""
        return all(name in completed_agents for name in self.dependencies)

    def to_dict(self) -> dict[str, Any]:
        """Its fields as JSON has them."""
        return {item.name: _to_json(getattr(self, item.name)) for item in fields(self)}


def _to_json(value: Any) -> Any:
    """A field as JSON has it; what was given as JSON is copied, not shared."""
    if isinstance(value, AgentResult):
        return value.to_dict()
    if isinstance(value, AgentStatus):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: _to_json(item) for key, item in value.items()}
    return [_to_json(item) for item in value] if isinstance(value, list | tuple) else value
