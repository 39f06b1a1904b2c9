"""The engine: workflows of agents, run on a hive."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from agenthive.agents.directory import Directory
from agenthive.core.report import NANO
from agenthive.core.spec import AgentSpec, WorkflowSpec
from agenthive.errors import Conflict, WorkflowNotFound
from agenthive.facades.orchestration.calls import KIND, ClientAgent
from agenthive.facades.orchestration.clients import LLMClient
from agenthive.facades.orchestration.costs import CostConfig, CostTracker
from agenthive.facades.orchestration.failures import FailureHandler, RetryPolicy
from agenthive.facades.orchestration.limiter import RateLimitConfig
from agenthive.facades.orchestration.monitor import Monitor, MonitorConfig
from agenthive.facades.orchestration.translate import spec_of, tell
from agenthive.facades.orchestration.values import AgentStatus, Workflow, WorkflowStatus
from agenthive.hive import Hive
from agenthive.infra.ids import uuid7
from agenthive.stores.archive import Fact

_TOLD: Final = {
    "run.started": "workflow_started",
    "task.started": "agent_started",
    "task.succeeded": "agent_completed",
    "task.failed": "agent_attempt_failed",
}
"""A fact of the journal -> what the monitor calls it."""


_GIVEN_UP: Final = (AgentStatus.FAILED, AgentStatus.RATE_LIMITED, AgentStatus.BUDGET_EXCEEDED)


@dataclass
class EngineConfig:
    """How an engine paces, prices, watches and retries."""

    rate_limit_config: RateLimitConfig = field(default_factory=RateLimitConfig)
    cost_config: CostConfig = field(default_factory=CostConfig)
    monitor_config: MonitorConfig = field(default_factory=MonitorConfig)
    default_retry_policy: RetryPolicy = field(default_factory=RetryPolicy)
    max_concurrent_workflows: int = 50


@dataclass
class _Known:
    workflow: Workflow
    run: str = ""
    busy: bool = False


class OrchestrationEngine:
    """Runs workflows of agents with one client of a language model.

    Without ``hive`` it opens one in memory at its first run, which is gone after `shutdown`; one
    that is given stays open. Budgets, rate limits and retries are the hive's.
    """

    def __init__(
        self, llm_client: LLMClient, config: EngineConfig | None = None, *, hive: Hive | None = None
    ) -> None:
        self.llm_client = llm_client
        self.config = config or EngineConfig()
        self.cost_tracker = CostTracker(self.config.cost_config)
        self.monitor = Monitor(self.config.monitor_config)
        self.failure_handler = FailureHandler(self.config.default_retry_policy)
        self._endpoint = f"{KIND}://{uuid7()}"
        self._given = hive is not None
        self._hive = hive or Hive.open("memory:", agents=Directory())
        self._hive.agents.register_kind(KIND, self._agent)
        self._workflows: dict[str, _Known] = {}
        self._slots = asyncio.Semaphore(self.config.max_concurrent_workflows)
        self._open = False
        self._opening = asyncio.Lock()
        self._began: dict[tuple[str, Any], int] = {}

    async def register_workflow(self, workflow: Workflow) -> str:
        """Accept a workflow; its id. Raises ConfigurationError with every problem."""
        self._spec(workflow)
        ident = uuid7()
        self._workflows[ident] = _Known(workflow)
        self.cost_tracker.set_workflow_budget(ident, workflow.cost_budget)
        for agent in workflow.agents:
            self.cost_tracker.set_agent_budget(f"{ident}/{agent.name}", agent.cost_limit)
        return ident

    async def execute_workflow(
        self, workflow_id: str, inputs: Mapping[str, Any] | None = None
    ) -> Workflow:
        """Run a workflow to its end; the same object, with results.

        ``inputs`` are what its prompts may name besides agents. Raises ValueError if there is no
        such workflow, Conflict if it is being run, what `Hive.submit` raises.
        """
        known = self._known(workflow_id)
        if known.busy:
            raise Conflict(f"workflow {workflow_id} is being run")
        known.busy = True
        try:
            async with self._slots:
                return await self._run(workflow_id, known, dict(inputs or {}))
        finally:
            known.busy = False

    async def execute_multiple_workflows(self, workflow_ids: Sequence[str]) -> list[Workflow]:
        """Run several at once, as many as may be; in the order of their ids."""
        for ident in workflow_ids:
            self._known(ident)
        return list(await asyncio.gather(*map(self.execute_workflow, workflow_ids)))

    def get_workflow_status(self, workflow_id: str) -> dict[str, Any] | None:
        """Where a workflow stands; None if there is no such one."""
        known = self._workflows.get(workflow_id)
        if known is None:
            return None
        workflow = known.workflow
        return {
            "workflow_id": workflow_id,
            "name": workflow.name,
            "status": workflow.status.value,
            "total_cost": workflow.total_cost,
            "run_id": known.run,
            "agents": {agent.name: agent.status.value for agent in workflow.agents},
            "statistics": workflow.get_statistics(),
        }

    def get_system_status(self) -> dict[str, Any]:
        """What has happened in all: ``monitoring``, ``rate_limiting``, ``cost_tracking``."""
        summary = self.monitor.get_summary()
        costs = self.cost_tracker.get_statistics()
        return {
            "monitoring": summary,
            "rate_limiting": {
                "total_requests": summary["agents"]["started"],
                "total_tokens": costs["total_tokens"],
                **vars(self.config.rate_limit_config),
            },
            "cost_tracking": costs,
            "registered_workflows": len(self._workflows),
            "max_concurrent_workflows": self.config.max_concurrent_workflows,
        }

    async def shutdown(self) -> None:
        """Let the calls under way end, and let go of the client. May be called twice."""
        if self._open and not self._given:
            await self._hive.close(drain=True)
        self._open = False
        await self.llm_client.close()

    # Inside.

    def _agent(self, spec: AgentSpec) -> ClientAgent:
        return ClientAgent(spec, self.llm_client, self.cost_tracker.prices)

    def _spec(self, workflow: Workflow) -> WorkflowSpec:
        config = self.config
        return spec_of(
            workflow, config.default_retry_policy, config.rate_limit_config, self._endpoint
        )

    def _known(self, workflow_id: str) -> _Known:
        if workflow_id not in self._workflows:
            raise WorkflowNotFound(f"there is no workflow {workflow_id}")
        return self._workflows[workflow_id]

    async def _opened(self) -> Hive:
        async with self._opening:
            if not self._open and not self._given:
                await self._hive
            self._open = True
        return self._hive

    async def _run(self, ident: str, known: _Known, inputs: dict[str, Any]) -> Workflow:
        hive, workflow = await self._opened(), known.workflow
        for agent in workflow.agents:
            agent.reset()
        known.run = await hive.submit(self._spec(workflow), inputs)
        workflow.status = WorkflowStatus.RUNNING
        async for fact in hive.watch(known.run):
            self._told(ident, fact)
        tell(workflow, await hive.report(known.run), await hive.archive.state(known.run))
        for agent in workflow.agents:
            if agent.status in _GIVEN_UP:
                self.monitor.record_event("agent_failed", agent.name, ident)
        self.monitor.record_event(f"workflow_{workflow.status.value}", None, ident)
        return workflow

    def _told(self, ident: str, fact: Fact) -> None:
        """The monitor and the tracker are told what the journal says."""
        data = msgspec.json.decode(fact.data)
        about: dict[str, Any] = {}
        usage = data.get("usage")
        agent = data.get("task")
        if usage is not None:
            tokens = (usage.get("input_tokens", 0), usage.get("output_tokens", 0))
            cost = usage.get("cost", 0)
            self.cost_tracker.record_cost(
                f"{ident}/{agent}", agent, ident, usage.get("model", ""), *tokens,
                {"cost_nano_usd": cost},
            )  # fmt: skip
            about = {"cost": cost / NANO, "tokens": sum(tokens)}
        if fact.type == "task.started":
            self._began[ident, agent] = fact.at
        elif agent is not None and (ident, agent) in self._began:
            about["execution_time"] = (fact.at - self._began.pop((ident, agent))) / 1e6
        if fact.type == "task.started" and data["attempt"] > 1:
            self.monitor.record_event("agent_retried", agent, ident)
        if fact.type in _TOLD:
            self.monitor.record_event(_TOLD[fact.type], agent, ident, about)
