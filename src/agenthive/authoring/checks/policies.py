"""The policy sections, ``retry_config`` and ``circuit_breaker``, as the core's values."""

from __future__ import annotations

from agenthive.authoring.checks.sections import Section
from agenthive.core.policies.circuit_breaker import BreakerPolicy
from agenthive.core.policies.rate_limit import RateLimit
from agenthive.core.policies.retry import RetryPolicy, RetryStrategy


def retry_policy(section: Section | None) -> RetryPolicy | None:
    """The retry policy of a section, with the defaults for what it leaves out."""
    if section is None:
        return None
    plain = RetryPolicy()
    return RetryPolicy(
        max_attempts=section.whole("max_attempts", plain.max_attempts),
        strategy=RetryStrategy(section.text("strategy", plain.strategy)),
        initial_delay=section.number("initial_delay", plain.initial_delay),
        max_delay=section.number("max_delay", plain.max_delay),
        exponential_base=section.number("exponential_base", plain.exponential_base),
        jitter=section.flag("jitter", plain.jitter),
    )


def breaker_policy(section: Section | None) -> BreakerPolicy | None:
    """The breaker policy of a section, with the defaults for what it leaves out."""
    if section is None:
        return None
    plain = BreakerPolicy()
    return BreakerPolicy(
        failure_threshold=section.whole("failure_threshold", plain.failure_threshold),
        recovery_timeout=section.number("recovery_timeout", plain.recovery_timeout),
        half_open_max_calls=section.whole("half_open_max_calls", plain.half_open_max_calls),
    )


def rate_limit(section: Section | None) -> RateLimit | None:
    """The rate limit of a section; what it leaves out has no limit."""
    if section is None:
        return None
    known = {name: section.whole(name, 0) or None for name in RateLimit.__struct_fields__}
    return RateLimit(**known)
