"""Handling of failures: the retry policy of this design, and a handler for other code.

In a workflow the hive retries, by the same policy; the handler makes the same decisions for
programs that call agents themselves. It retries nothing by itself. To add a strategy: see
`core.policies.retry`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from agenthive.core.policies import retry as house
from agenthive.core.policies.retry import RetryStrategy
from agenthive.errors import InvalidValue
from agenthive.facades.orchestration.agents import Agent, AgentResult

__all__ = ["FailureHandler", "RetryPolicy", "RetryStrategy"]

T = TypeVar("T")


class _ArgumentTranslator(msgspec.StructMeta):
    """Accepts the arguments of this design, and passes those of agenthive."""

    def __call__(
        cls,
        max_retries: int | None = None,
        strategy: RetryStrategy = RetryStrategy.EXPONENTIAL_BACKOFF,
        base_delay: float | None = None,
        max_delay: float = 60.0,
        exponential_base: float = 2.0,
        jitter: bool = True,
        *,
        max_attempts: int | None = None,
        initial_delay: float | None = None,
    ) -> Any:
        attempts = None if max_retries is None else max_retries + 1
        tries = _resolve_alias("max_retries + 1 and max_attempts", attempts, max_attempts, 4)
        first_delay = _resolve_alias("base_delay and initial_delay", base_delay, initial_delay, 1.0)
        if not isinstance(tries, int) or tries < 1:
            raise InvalidValue(f"max_retries must be a whole number from 0, not {tries - 1}")
        for delay in (first_delay, max_delay, exponential_base):
            if not (math.isfinite(delay) and delay >= 0):
                raise InvalidValue(f"a delay must be seconds from 0, not {delay}")
        return super().__call__(
            max_attempts=tries,
            strategy=RetryStrategy(strategy),
            initial_delay=first_delay,
            max_delay=max_delay,
            exponential_base=exponential_base,
            jitter=jitter,
        )


def _resolve_alias(names: str, first: T | None, second: T | None, default: T) -> T:
    """The value of an argument with two names: from either, or from both if they agree."""
    values = [value for value in (first, second) if value is not None]
    if len(values) == 2 and values[0] != values[1]:
        raise InvalidValue(f"{names} are aliases, and have different values")
    return values[0] if values else default


class RetryPolicy(house.RetryPolicy, frozen=True, kw_only=True, metaclass=_ArgumentTranslator):
    """The retry policy of agenthive with the arguments of this design. Delays are in seconds.

    ``max_retries`` (3) counts the attempts after the first: ``max_attempts`` less one.
    ``base_delay`` (1.0) is the ``initial_delay`` of agenthive. Both names are accepted.
    """


class FailureHandler:
    """Decides whether a failed agent is retried, and whether a workflow has failed.

    ``default_policy`` applies where no policy is passed; without it, the ``max_retries`` of the
    agent. ``on_failure(agent, result)`` is called with every failure.
    """

    def __init__(
        self,
        default_policy: house.RetryPolicy | None = None,
        on_failure: Callable[[Agent, AgentResult], object] | None = None,
    ) -> None:
        self.default_policy = default_policy
        self.on_failure = on_failure

    def handle_failure(
        self, agent: Agent, result: AgentResult, policy: house.RetryPolicy | None = None
    ) -> bool:
        """Whether the agent should be retried."""
        if self.on_failure is not None:
            self.on_failure(agent, result)
        policy = policy or self.default_policy
        max_retries = agent.max_retries if policy is None else policy.max_retries
        return result.is_retriable() and result.retry_count < max_retries

    def should_fail_workflow(
        self,
        failed_agents: Sequence[object],
        total_agents: int,
        allow_partial: bool | None = None,
        *,
        allow_partial_completion: bool | None = None,
    ) -> bool:
        """Whether a workflow fails: after one failure, or, with partial completion, if all failed.

        Partial completion is allowed unless it is disabled, under either name.
        """
        names = "allow_partial and allow_partial_completion"
        partial = _resolve_alias(names, allow_partial, allow_partial_completion, True)
        return len(failed_agents) >= (max(total_agents, 1) if partial else 1)
