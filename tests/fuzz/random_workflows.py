"""Random workflows of calls: any graph, effect, retry and compensation.

What may stand around the calls is added by `random_flow`. Draws nothing but from the generator it
is given; the golden journals are made with it, so what a seed gives must stay as it is.
"""

from __future__ import annotations

from random import Random

from agenthive.core.model.workflow import (
    AgentSpec,
    CompensationSpec,
    Effect,
    FailureStrategy,
    TaskSpec,
    WorkflowSpec,
)
from agenthive.core.policies.circuit_breaker import BreakerPolicy
from agenthive.core.policies.retry import RetryPolicy, RetryStrategy
from agenthive.core.values import JSONObject


def random_workflow(rng: Random, max_tasks: int = 12) -> WorkflowSpec:
    """Up to ``max_tasks`` tasks with random edges, effects, retries and compensations."""
    agents = tuple(
        AgentSpec(
            name=f"agent{i}",
            type="custom",
            endpoint=f"custom://{rng.choice('ab')}",
            max_concurrency=rng.choice((None, 1, 2)),
            circuit_breaker=BreakerPolicy(failure_threshold=rng.choice((2, 5)), recovery_timeout=9),
        )
        for i in range(rng.randint(1, 3))
    )
    size = rng.randint(0, max_tasks)
    density = rng.choice((0.1, 0.3, 0.6))
    saga = rng.random() < 0.3
    tasks = tuple(_random_task(rng, i, agents, density, saga) for i in range(size))
    return WorkflowSpec(
        name="simulated",
        agents=agents,
        tasks=tasks,
        max_parallel=rng.choice((1, 2, 10)),
        failure_strategy=rng.choice(list(FailureStrategy)),
        timeout=rng.choice((None, None, 30.0, 600.0)),
    )


def _random_task(
    rng: Random, i: int, agents: tuple[AgentSpec, ...], density: float, saga: bool
) -> TaskSpec:
    compensation = CompensationSpec(
        agent=rng.choice(agents).name,
        action="undo",
        retry=_random_retry(rng),
        timeout=20.0,
        effect=rng.choice(list(Effect)),
    )
    depends_on = tuple(f"t{j}" for j in range(i) if rng.random() < density)
    return TaskSpec(
        name=f"t{i}",
        agent=rng.choice(agents).name,
        action="do",
        parameters=_random_parameters(rng, depends_on),
        depends_on=depends_on,
        effect=rng.choice(list(Effect)),
        retry=_random_retry(rng),
        timeout=rng.choice((5.0, 20.0)),
        priority=rng.choice((5, 5, 1, 10)),
        continue_on_failure=rng.random() < 0.15,
        estimated_duration=rng.choice((None, None, 1.0, 8.0)),
        compensate=compensation if saga and rng.random() < 0.6 else None,
    )


def _random_parameters(rng: Random, depends_on: tuple[str, ...]) -> JSONObject:
    """Sometimes a result of another task; now and then one that is not there."""
    if not depends_on or rng.random() < 0.6:
        return {}
    field = "n" if rng.random() < 0.9 else "missing"
    return {field: f"{{{{ tasks.{rng.choice(depends_on)}.result.{field} }}}}"}


def _random_retry(rng: Random) -> RetryPolicy:
    return RetryPolicy(
        max_attempts=rng.randint(1, 4),
        strategy=rng.choice(list(RetryStrategy)),
        initial_delay=0.5,
        max_delay=rng.choice((2.0, 30.0)),
        jitter=rng.random() < 0.5,
    )
