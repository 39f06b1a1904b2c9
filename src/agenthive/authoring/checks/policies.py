"""The sections ``retry_config``, ``circuit_breaker`` and ``rate_limit`` as policies of the core."""

from __future__ import annotations

from agenthive.authoring.checks.sections import Section
from agenthive.core.policies.circuit_breaker import BreakerPolicy
from agenthive.core.policies.fault_classes import DEFAULT_RETRY_ON, RETRY_CHOICES, FaultClass
from agenthive.core.policies.rate_limit import RateLimit
from agenthive.core.policies.retry import RetryPolicy, RetryStrategy


def build_retry_policy(section: Section | None) -> RetryPolicy | None:
    """Build the retry policy of a section; missing keys have their defaults."""
    if section is None:
        return None
    defaults = RetryPolicy()
    return RetryPolicy(
        max_attempts=section.integer("max_attempts", defaults.max_attempts),
        strategy=RetryStrategy(section.text("strategy", defaults.strategy)),
        initial_delay=section.number("initial_delay", defaults.initial_delay),
        max_delay=section.number("max_delay", defaults.max_delay),
        exponential_base=section.number("exponential_base", defaults.exponential_base),
        jitter=section.flag("jitter", defaults.jitter),
        retry_on=_read_retry_on(section),
    )


def _read_retry_on(section: Section) -> tuple[FaultClass, ...]:
    """The classes in their usual order, so that equal policies have one form."""
    if not section.has_valid("retry_on"):
        return DEFAULT_RETRY_ON
    names = section.names("retry_on")
    return tuple([class_ for class_ in RETRY_CHOICES if class_ in names])


def build_breaker_policy(section: Section | None) -> BreakerPolicy | None:
    """Build the breaker policy of a section; missing keys have their defaults."""
    if section is None:
        return None
    defaults = BreakerPolicy()
    return BreakerPolicy(
        failure_threshold=section.integer("failure_threshold", defaults.failure_threshold),
        recovery_timeout=section.number("recovery_timeout", defaults.recovery_timeout),
        half_open_max_calls=section.integer("half_open_max_calls", defaults.half_open_max_calls),
    )


def build_rate_limit(section: Section | None) -> RateLimit | None:
    """Build the rate limit of a section; missing keys are unbounded."""
    if section is None:
        return None
    limits = {name: section.integer(name, 0) or None for name in RateLimit.__struct_fields__}
    return RateLimit(**limits)
