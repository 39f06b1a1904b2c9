"""The engine of this design: registers workflows, executes them on one hive, reports their status.

Each execution is a run of the hive, which decides what starts when, what it may cost and what is
retried, and keeps the journal. A run has the id of its workflow; a second run of the same workflow
has a number appended. Nothing here decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from agenthive.core.policies import retry
from agenthive.errors import Conflict, InvalidValue, RunNotFound, WorkflowNotFound
from agenthive.facades.orchestration.calls import ClientAgent, ClientAgentFactory
from agenthive.facades.orchestration.clients import LLMClient
from agenthive.facades.orchestration.compiling import check_workflow, compile_workflow
from agenthive.facades.orchestration.costs import CostConfig, CostTracker
from agenthive.facades.orchestration.failures import RetryPolicy
from agenthive.facades.orchestration.limiter import RateLimitConfig
from agenthive.facades.orchestration.monitor import Monitor, MonitorConfig
from agenthive.facades.orchestration.outcomes import Progress
from agenthive.facades.orchestration.prompts import find_unfilled
from agenthive.facades.orchestration.reading import Reading
from agenthive.facades.orchestration.workflows import Workflow, WorkflowStatus
from agenthive.hive import Hive
from agenthive.infra.ids import uuid7
from agenthive.infra.logging import log


@dataclass
class EngineConfig:
    """Configuration of an engine. Agents without their own retries use the default policy."""

    rate_limit_config: RateLimitConfig = field(default_factory=RateLimitConfig)
    cost_config: CostConfig = field(default_factory=CostConfig)
    monitor_config: MonitorConfig = field(default_factory=MonitorConfig)
    default_retry_policy: retry.RetryPolicy = field(default_factory=RetryPolicy)
    #: Runs that execute at once; further executions wait.
    max_concurrent_workflows: int = 50


class OrchestrationEngine:
    """Executes workflows with agents that call ``llm_client``.

    ``hive`` executes the runs; the default is one in memory, a hive in a home keeps them. A hive
    that is passed in is not closed. ``name`` identifies the client in the hive, by default its
    class: in another process an engine with that name can resume the runs of this one.
    """

    def __init__(
        self,
        llm_client: LLMClient,
        config: EngineConfig | None = None,
        *,
        hive: Hive | None = None,
        name: str = "",
    ) -> None:
        self.llm_client, self.config = llm_client, config or EngineConfig()
        self._hive, self._owned = Hive.open() if hive is None else hive, hive is None
        self._kind = f"{ClientAgent.kind}:{name or type(llm_client).__name__}"
        self._limit = self.config.rate_limit_config.limit()
        self._register_client()
        self._reading = Reading()
        self.monitor = Monitor(self.config.monitor_config, reading=self._reading)
        self.cost_tracker = CostTracker(self.config.cost_config, reading=self._reading)
        self._workflows: dict[str, Workflow] = {}
        self._run_counts: dict[str, int] = {}
        self._under_way: dict[str, asyncio.Future[None]] = {}
        self._slots = asyncio.Semaphore(self._max_workflows())
        self._opening = asyncio.Lock()
        self._closed = self._stopped = False

    async def register_workflow(self, workflow: Workflow) -> str:
        """Accept a workflow; returns its id.

        Raises InvalidValue (a ValueError) with every problem.
        """
        check_workflow(workflow)
        workflow_id = uuid7()
        self._workflows[workflow_id] = workflow
        self.cost_tracker.set_workflow_budget(workflow_id, workflow.cost_budget)
        return workflow_id

    async def execute_workflow(
        self, workflow_id: str, inputs: Mapping[str, Any] | None = None
    ) -> Workflow:
        """Run a workflow to its end; returns it with its results.

        ``inputs`` are values for the ``{names}`` of prompts. Raises WorkflowNotFound (a
        ValueError), Conflict if the workflow is running, and ConfigurationError if it cannot run,
        for example within its budget. Failures inside a run are in the returned workflow, not
        raised. Cancelling this coroutine cancels the run.
        """
        workflow = self._find_workflow(workflow_id)
        self._require_startable(workflow)
        end_future = self._under_way[workflow_id] = asyncio.get_running_loop().create_future()
        try:
            async with self._slots:
                await self._execute(workflow_id, workflow, dict(inputs or {}))
        finally:
            del self._under_way[workflow_id]
            end_future.set_result(None)
        return workflow

    async def execute_multiple_workflows(self, workflow_ids: Sequence[str]) -> list[Workflow]:
        """Run workflows concurrently, up to ``max_concurrent_workflows``; results in order."""
        for workflow_id in workflow_ids:
            self._find_workflow(workflow_id)
        return list(await asyncio.gather(*map(self.execute_workflow, workflow_ids)))

    def get_workflow_status(self, workflow_id: str) -> dict[str, Any] | None:
        """The progress of a workflow; None if there is no workflow with that id."""
        workflow = self._workflows.get(workflow_id)
        if workflow is None:
            return None
        return {
            "workflow_id": workflow_id,
            "name": workflow.name,
            "status": workflow.status.value,
            "total_cost": workflow.total_cost,
            "cost_budget": workflow.cost_budget,
            "agents": {agent.name: agent.status.value for agent in workflow.agents},
            "statistics": workflow.get_statistics(),
        }

    def get_system_status(self) -> dict[str, Any]:
        """The status of this engine's runs, read from the journal up to its last event."""
        costs = self.cost_tracker.get_statistics()
        calls = sum(agent.calls for agent in self._reading.metrics.agents.values())
        return {
            "monitoring": self.monitor.get_summary(),
            "rate_limiting": {
                "total_requests": calls,
                "total_tokens": costs["total_tokens"],
                "limits": asdict(self.config.rate_limit_config),
            },
            "cost_tracking": costs,
            "active_workflows": len(self._under_way),
            "registered_workflows": len(self._workflows),
        }

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Accept no more workflows, let running ones end, and close everything.

        Cancels what has not ended after ``timeout`` seconds. May be called twice.
        """
        self._closed = True
        if self._under_way:
            await asyncio.wait(list(self._under_way.values()), timeout=timeout)
        self._stopped = True
        for workflow_id in list(self._under_way):
            await self._cancel_run(self._run_id(workflow_id), "the engine is shut down")
        if self._under_way:
            await asyncio.wait(list(self._under_way.values()))
        await self.llm_client.close()
        if self._owned:
            await self._hive.close()

    # Private methods.

    def _max_workflows(self) -> int:
        maximum = self.config.max_concurrent_workflows
        if isinstance(maximum, bool) or not isinstance(maximum, int) or maximum < 1:
            raise InvalidValue(
                f"max_concurrent_workflows must be a whole number from 1, not {maximum!r}"
            )
        return maximum

    def _register_client(self) -> None:
        """Register the agents of this client with the hive."""
        factory, agents = (
            ClientAgentFactory(self.llm_client, self.config.cost_config),
            self._hive.agents,
        )
        registered = agents.find_kind(self._kind)
        if registered is not None and not factory.is_same(registered):
            raise Conflict(
                f"another client is registered with this hive as {self._kind}",
                hint="Give the engine a name of its own: OrchestrationEngine(..., name='...').",
            )
        if registered is None:
            agents.register_kind(self._kind, factory)

    def _find_workflow(self, workflow_id: str) -> Workflow:
        workflow = self._workflows.get(workflow_id)
        if workflow is None:
            raise WorkflowNotFound(f"no workflow has the id '{workflow_id}'")
        return workflow

    def _require_startable(self, workflow: Workflow) -> None:
        if self._closed:
            raise Conflict("the engine was shut down")
        if any(self._workflows[workflow_id] is workflow for workflow_id in self._under_way):
            raise Conflict(f"workflow '{workflow.name}' is running", hint="Wait for its end.")

    async def _execute(self, workflow_id: str, workflow: Workflow, inputs: dict[str, Any]) -> None:
        workflow.reset()
        if self._stopped:
            workflow.status = WorkflowStatus.CANCELLED
            return
        check_workflow(workflow)
        spec = compile_workflow(
            workflow, self._kind, self.config.default_retry_policy, self._limit, inputs
        )
        async with self._opening:
            hive = await self._hive
        self._run_counts[workflow_id] = self._run_counts.get(workflow_id, 0) + 1
        await self._reading.add_run(self._run_id(workflow_id), hive.journal)
        run = await hive.submit(spec, inputs, run_id=self._run_id(workflow_id))
        progress = Progress(workflow)
        try:
            await self._follow_run(run, progress)
        except asyncio.CancelledError:
            await self._cancel_run(run, "its caller was cancelled")
            raise
        finally:
            progress.finish(await hive.wait(run), _unfilled_notes(workflow, inputs))
            await self._reading.catch_up(hive.journal)

    async def _follow_run(self, run: str, progress: Progress) -> None:
        async for event in self._hive.watch(run):
            progress.on_event(event)
            await self._reading.catch_up(self._hive.journal)

    async def _cancel_run(self, run: str, reason: str) -> None:
        try:
            await self._hive.cancel(run, reason=reason)
        except RunNotFound:
            return  # the run has ended, or was never accepted

    def _run_id(self, workflow_id: str) -> str:
        times = self._run_counts.get(workflow_id, 1)
        return workflow_id if times == 1 else f"{workflow_id}.{times}"


def _unfilled_notes(workflow: Workflow, inputs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Agent -> a note about the names in its prompt that have no value."""
    notes: dict[str, dict[str, Any]] = {}
    for agent in workflow.agents:
        values = {
            **inputs,
            **agent.llm_config.get("inputs", {}),
            **dict.fromkeys(agent.dependencies),
        }
        missing = find_unfilled(agent.prompt_template, values)
        if missing:
            notes[agent.name] = {"unfilled": missing}
            log("warning", "a prompt has names without a value", agent=agent.name, names=missing)
    return notes
