"""When a failed agent is tried again, and when failures fail a workflow.

Inside an engine the hive does both, by the policy of the core; these are the same answers for code
of one's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agenthive.core.policies.retry import RetryPolicy as CorePolicy
from agenthive.core.policies.retry import RetryStrategy
from agenthive.facades.orchestration.values import Agent, AgentResult

__all__ = ["FailureHandler", "RetryPolicy", "RetryStrategy"]


@dataclass(init=False)
class RetryPolicy:
    """How often and how soon a failed attempt is tried again; delays are seconds.

    ``max_retries`` counts the tries after the first. ``max_attempts`` and ``initial_delay`` are the
    house's words for the same; both given and unequal is a ValueError.
    """

    max_retries: int
    strategy: RetryStrategy
    base_delay: float
    max_delay: float
    exponential_base: float
    jitter: bool

    def __init__(
        self,
        max_retries: int | None = None,
        strategy: RetryStrategy = RetryStrategy.EXPONENTIAL_BACKOFF,
        base_delay: float | None = None,
        max_delay: float = 60.0,
        exponential_base: float = 2.0,
        jitter: bool = True,
        *,
        max_attempts: int | None = None,
        initial_delay: float | None = None,
    ) -> None:
        retries = None if max_attempts is None else max_attempts - 1
        self.max_retries = int(_one("max_retries", "max_attempts", max_retries, retries, 3))
        self.base_delay = _one("base_delay", "initial_delay", base_delay, initial_delay, 1.0)
        self.strategy, self.jitter = RetryStrategy(strategy), jitter
        self.max_delay, self.exponential_base = max_delay, exponential_base
        if min(self.max_retries, self.base_delay, max_delay) < 0 or exponential_base < 1:
            raise ValueError("retries and delays must not be negative, nor the base less than 1")

    @property
    def max_attempts(self) -> int:
        """All tries, the first one too."""
        return self.max_retries + 1

    @property
    def initial_delay(self) -> float:
        """Another name of ``base_delay``."""
        return self.base_delay

    def native(self, max_retries: int | None = None) -> CorePolicy:
        """As the core has it; ``max_retries`` of an agent instead of its own."""
        retries = self.max_retries if max_retries is None else max_retries
        return CorePolicy(
            max_attempts=retries + 1,
            strategy=self.strategy,
            initial_delay=self.base_delay,
            max_delay=self.max_delay,
            exponential_base=self.exponential_base,
            jitter=self.jitter,
        )


def _one(name: str, other: str, given: float | None, same: float | None, usual: float) -> float:
    """One value that has two names."""
    if given is not None and same is not None and given != same:
        raise ValueError(f"{name} and {other} are both given, and differ")
    found = same if given is None else given
    return usual if found is None else found


class FailureHandler:
    """Answers whether to go on after a failure. ``on_failure(agent, result)`` is told of each."""

    def __init__(
        self,
        default_policy: RetryPolicy | None = None,
        on_failure: Callable[[Agent, AgentResult], Any] | None = None,
    ) -> None:
        self.default_policy = default_policy or RetryPolicy()
        self._on_failure = on_failure

    def handle_failure(
        self, agent: Agent, result: AgentResult, policy: RetryPolicy | None = None
    ) -> bool:
        """Whether the agent is to be tried again."""
        if self._on_failure is not None:
            self._on_failure(agent, result)
        retries = (policy or self.default_policy).max_retries
        return result.is_retriable() and result.retry_count < retries

    def should_fail_workflow(
        self,
        failed_agents: Sequence[object],
        total_agents: int,
        allow_partial: bool = True,
        *,
        allow_partial_completion: bool | None = None,
    ) -> bool:
        """Whether so many failures fail the workflow: any, or all if it may complete in part.

        ``allow_partial_completion`` is another name of ``allow_partial``.
        """
        partial = allow_partial if allow_partial_completion is None else allow_partial_completion
        return len(failed_agents) >= total_agents if partial else bool(failed_agents)
