"""The ports: what the core asks of the rooms around it, and the values that cross.

Protocols with plain ``def ... -> Awaitable[T]``, so nothing here needs an event loop. A room that
implements a port imports it from here and nothing else; `hive` introduces them to each other.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from agenthive.core.model.calls import Call, Reply
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.values import Micros, NanoUSD


class Agent(Protocol):
    """Somebody who does tasks. Must be safe to call many times at once.

    ``perform`` never raises for a failure of the outside world: it returns a fault. Cancelling it
    stops the call for real (connection closed, process group killed).
    """

    def perform(self, call: Call) -> Awaitable[Reply]:
        """Do one attempt."""
        ...

    def close(self) -> Awaitable[None]:
        """Let go of connections and processes. May be called twice."""
        ...


class Agents(Protocol):
    """Where a runtime finds the agent for a spec."""

    def find_agent(self, spec: AgentSpec) -> Agent:
        """The agent for ``spec``, made at first use. Raises AgentUnavailable if nobody has it."""
        ...

    def close(self) -> Awaitable[None]:
        """Close every agent that was made."""
        ...


class Quoter(Protocol):
    """Who knows what a call can cost at most, before it is made."""

    def is_priced(self, spec: AgentSpec) -> bool:
        """Whether calls of this agent can cost anything."""
        ...

    def estimate_max_cost(self, spec: AgentSpec, call: Call) -> NanoUSD | None:
        """Nano-dollars, rounded up; None if there is no price."""
        ...

    def estimate_tokens(self, spec: AgentSpec, call: Call) -> int:
        """About how many tokens the call takes, with an answer of full length; for rate limits."""
        ...

    def fit_max_tokens(
        self, spec: AgentSpec, call: Call, max_cost: NanoUSD
    ) -> tuple[int, NanoUSD] | None:
        """The most tokens of an answer whose worst case is at most that, and it; None if none."""
        ...


class Calendar(Protocol):
    """What cron expressions mean: zones, and days of the week."""

    def next_after(self, cron: str, zone: str, after: Micros) -> Micros | None:
        """The first planned time after ``after``; None if there is none."""
        ...
