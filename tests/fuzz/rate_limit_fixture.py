"""The rate limits of one simulation: the same for every agent of an address, in all its runs."""

from __future__ import annotations

from random import Random
from typing import Final

import msgspec

from agenthive.core.model.workflow import AgentSpec, TaskSpec, WorkflowSpec
from agenthive.core.policies.rate_limit import RateLimit
from agenthive.simulation.case import SimulationCase

SHARE: Final = 0.25
"""How many of the simulations have rate limits."""


class RateLimitFixture:
    """Limits by address, drawn at first sight."""

    def __init__(self, seed: int) -> None:
        self._rng = Random(f"limits of {seed}")
        self._enabled = self._rng.random() < SHARE
        self._limits: dict[str, RateLimit | None] = {}

    def add_limits(self, spec: WorkflowSpec) -> WorkflowSpec:
        """A workflow whose agents have limits, with those within it."""
        if not self._enabled:
            return spec
        agents = tuple(map(self._limit_agent, spec.agents))
        return msgspec.structs.replace(
            spec, agents=agents, tasks=tuple(map(self._limit_task, spec.tasks))
        )

    def _limit_task(self, task: TaskSpec) -> TaskSpec:
        if task.workflow is None:
            return task
        return msgspec.structs.replace(task, workflow=self.add_limits(task.workflow))

    def _limit_agent(self, agent: AgentSpec) -> AgentSpec:
        limit = self._limits.get(agent.endpoint_key)
        if agent.endpoint_key not in self._limits:
            limit = self._limits[agent.endpoint_key] = self._draw_limit()
        return msgspec.structs.replace(agent, rate_limit=limit)

    def _draw_limit(self) -> RateLimit | None:
        rng = self._rng
        if rng.random() < 0.3:
            return None
        return RateLimit(
            requests_per_minute=rng.choice((None, 5, 20, 60)),
            requests_per_hour=rng.choice((None, None, 30)),
            concurrent_requests=rng.choice((None, 1, 3)),
        )

    def fill_case(self, case: SimulationCase) -> None:
        """Give the judge what it needs."""
        case.rates = {
            where: (limit.requests_per_minute, limit.requests_per_hour, limit.concurrent_requests)
            for where, limit in self._limits.items()
            if limit is not None
        }
