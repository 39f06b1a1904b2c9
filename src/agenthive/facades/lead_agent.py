"""The names of the Lead Agent design: LeadAgent, WorkflowEngine, AgentFactory and the rest.

Translation only. A LeadAgent runs workflows in the configured home, so accepted workflows survive
the process; its engine notifies observers of the events in the run's journal. Nothing here decides,
and no other package imports it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from agenthive import authoring
from agenthive.agents.base import AgentResponse, AgentType, BaseAgent
from agenthive.agents.llm.prices import Prices
from agenthive.agents.registry import AgentRegistry
from agenthive.core.history.report import RunReport
from agenthive.core.model.calls import Call
from agenthive.core.model.workflow import AgentSpec, FailureStrategy, TaskSpec, WorkflowSpec
from agenthive.errors import ConfigurationError
from agenthive.facades.patterns import (
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitState,
    Observer,
    RetryConfig,
    Subject,
    retry,
)
from agenthive.hive import Hive
from agenthive.infra.ids import uuid7
from agenthive.infra.secrets import Secrets
from agenthive.queries.journal_reader import EventView
from agenthive.settings import Settings

__all__ = [
    "AgentConfig",
    "AgentFactory",
    "AgentResponse",
    "AgentType",
    "BaseAgent",
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "CircuitState",
    "ConfigLoader",
    "ConfigurationError",
    "FailureStrategy",
    "LeadAgent",
    "Observer",
    "RetryConfig",
    "Subject",
    "TaskConfig",
    "TaskExecution",
    "TaskExecutor",
    "TaskStatus",
    "WorkflowConfig",
    "WorkflowEngine",
    "WorkflowExecution",
    "WorkflowStateMachine",
    "WorkflowStatus",
    "main",
    "retry",
]

AgentConfig = AgentSpec
TaskConfig = TaskSpec
WorkflowConfig = WorkflowSpec


class WorkflowStatus(StrEnum):
    """The five states of a workflow in this design."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: Status of a run -> its status in this design.
_STATUSES = {
    "queued": WorkflowStatus.QUEUED,
    "completed": WorkflowStatus.COMPLETED,
    "partially_completed": WorkflowStatus.COMPLETED,
    "cancelled": WorkflowStatus.CANCELLED,
    "failed": WorkflowStatus.FAILED,
    "compensated": WorkflowStatus.FAILED,
    "compensation_failed": WorkflowStatus.FAILED,
}


class TaskStatus(StrEnum):
    """The states of a task in this design."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class TaskExecution(msgspec.Struct, kw_only=True):
    """One task as observers see it."""

    name: str
    status: TaskStatus = TaskStatus.PENDING
    attempts: int = 0
    #: Seconds.
    execution_time: float = 0.0
    result: Any = None
    error: str | None = None


class WorkflowExecution(msgspec.Struct, kw_only=True):
    """The result of a workflow."""

    execution_id: str
    name: str
    status: WorkflowStatus
    #: Task -> result, of the tasks that succeeded.
    results: dict[str, Any]
    #: Task -> message, of the tasks that failed.
    errors: dict[str, str]
    completed_tasks: int
    total_tasks: int
    #: Seconds.
    execution_time: float

    @classmethod
    def of(cls, report: RunReport) -> WorkflowExecution:
        """Convert the report of a run."""
        return cls(
            execution_id=report.run_id,
            name=report.name,
            status=_STATUSES.get(report.status, WorkflowStatus.RUNNING),
            results=report.results,
            errors=report.errors,
            completed_tasks=report.completed_tasks,
            total_tasks=report.total_tasks,
            execution_time=report.execution_time,
        )


class ConfigLoader:
    """Reads and checks workflow files."""

    @staticmethod
    def load_from_file(path: str | Path) -> WorkflowSpec:
        """Read a YAML or JSON file. Raises ConfigurationError with every problem and its place."""
        return authoring.load(Path(path), keep_secret=_keep_secret).spec

    @staticmethod
    def load_from_dict(config: Mapping[str, Any]) -> WorkflowSpec:
        """Read a mapping with the same keys. Raises ConfigurationError."""
        return authoring.from_mapping(dict(config), keep_secret=_keep_secret).spec


def _keep_secret(label: str, value: str) -> str:
    return Secrets(Settings.load().home / "secrets").store_literal(label, value)


class AgentFactory:
    """Makes agents by type; a registered class replaces the built-in one."""

    _types: ClassVar[dict[str, type[BaseAgent]]] = {}

    @classmethod
    def register_agent_type(cls, agent_type: AgentType, agent_class: type[BaseAgent]) -> None:
        """Use this class for every agent of that type."""
        cls._types[agent_type] = agent_class

    @classmethod
    def directory(cls, secrets: Secrets | None = None) -> AgentRegistry:
        """A registry with the registered types and the custom agents of the settings."""
        settings = Settings.load()
        directory = AgentRegistry(secrets, prices=Prices(settings.prices))
        for name, where in settings.agents.items():
            directory.register_lazily(name, where)
        for agent_type, agent_class in cls._types.items():
            directory.register_kind(agent_type, agent_class)
        return directory

    @classmethod
    def create_agent(cls, config: AgentSpec) -> BaseAgent:
        """The agent for a config. Raises AgentUnavailable if no such agent is registered."""
        return cls.directory().find_agent(config)


class TaskExecutor:
    """Executes one task outside any workflow: no journal, no retries."""

    async def execute(self, task: TaskSpec, agent: BaseAgent) -> TaskExecution:
        """Make one attempt."""
        call = Call(
            run=uuid7(),
            task=task.name,
            attempt=1,
            key=uuid7(),
            agent=task.agent,
            action=task.action,
            parameters=task.parameters,
            description=task.description,
        )
        reply = await agent.perform(call)
        succeeded = reply.fault is None
        return TaskExecution(
            name=task.name,
            status=TaskStatus.COMPLETED if succeeded else TaskStatus.FAILED,
            attempts=1,
            result=reply.result,
            error=None if reply.fault is None else reply.fault.message,
        )


class WorkflowStateMachine(Subject):
    """Follows the events of a run and notifies observers: task_started, task_completed, ..."""

    def __init__(self) -> None:
        super().__init__()
        self.status = WorkflowStatus.QUEUED
        self.tasks: dict[str, TaskExecution] = {}
        self._started_at: dict[str, int] = {}

    async def follow(self, event: EventView) -> None:
        """Apply one event of the journal."""
        data = msgspec.json.decode(event.data)
        event_type = _EVENT_NAMES.get(event.type)
        if event_type is None:
            return
        if "task" not in data:
            self.status = WorkflowStatus.RUNNING
            await self.notify(event_type, self)
            return
        await self.notify(event_type, self._update_task(event, data))

    async def end(self, execution: WorkflowExecution) -> None:
        """Notify observers that the run has ended."""
        self.status = execution.status
        await self.notify(f"workflow_{execution.status}", execution)

    def _update_task(self, event: EventView, data: dict[str, Any]) -> TaskExecution:
        task = self.tasks.setdefault(data["task"], TaskExecution(name=data["task"]))
        if event.type == "task.started":
            task.status, task.attempts = TaskStatus.RUNNING, data["attempt"]
            self._started_at.setdefault(task.name, event.at)
            return task
        task.execution_time = (event.at - self._started_at.get(task.name, event.at)) / 1e6
        if event.type == "task.succeeded":
            task.status, task.result, task.error = TaskStatus.COMPLETED, data.get("result"), None
        else:
            task.status, task.error = TaskStatus.FAILED, data["fault"]["message"]
        return task


#: Event type -> the name that observers receive. Failures that will be retried are included.
_EVENT_NAMES = {
    "run.started": "workflow_started",
    "task.started": "task_started",
    "task.succeeded": "task_completed",
    "task.failed": "task_failed",
}


class WorkflowEngine:
    """Executes workflows on a hive and notifies observers."""

    def __init__(self, hive: Hive | None = None) -> None:
        self.state_machine = WorkflowStateMachine()
        self._hive = hive

    async def execute(
        self, workflow: WorkflowSpec, inputs: Mapping[str, Any] | None = None
    ) -> WorkflowExecution:
        """Run a workflow to its end. Raises what `Hive.submit` raises."""
        async with AsyncExitStack() as stack:
            hive = self._hive
            if hive is None:
                hive = await stack.enter_async_context(_open_configured_hive())
            run = await hive.submit(workflow, inputs)
            async for event in hive.watch(run):
                await self.state_machine.follow(event)
            execution = WorkflowExecution.of(await hive.report(run))
            await self.state_machine.end(execution)
            return execution


class LeadAgent:
    """Runs workflows on ``hive``, or else in the configured home (AGENTHIVE_HOME, settings)."""

    def __init__(self, hive: Hive | None = None) -> None:
        self.engine = WorkflowEngine(hive)

    async def execute_workflow_from_file(
        self, path: str | Path, inputs: Mapping[str, Any] | None = None
    ) -> WorkflowExecution:
        """Run a YAML or JSON file. Raises ConfigurationError."""
        return await self.engine.execute(ConfigLoader.load_from_file(path), inputs)

    async def execute_workflow_from_dict(
        self, config: Mapping[str, Any], inputs: Mapping[str, Any] | None = None
    ) -> WorkflowExecution:
        """Run a mapping with the keys of such a file. Raises ConfigurationError."""
        return await self.engine.execute(ConfigLoader.load_from_dict(config), inputs)


def _open_configured_hive() -> Hive:
    settings = Settings.load()
    directory = AgentFactory.directory(Secrets(settings.home / "secrets"))
    return Hive.open(settings.home, agents=directory)


async def main() -> None:
    """``python -m lead_agent.lead_agent FILE``: the same as `agenthive run FILE`.

    Raises SystemExit with the exit code of that command, unless it is 0.
    """
    from agenthive.cli.root import exit_process, has_running_functions, run_file

    code = await run_file(sys.argv[1:], prog_name="python -m lead_agent.lead_agent")
    if code or has_running_functions():
        exit_process(code)
