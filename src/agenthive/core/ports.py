"""The ports: protocols that the packages around the core implement.

The methods are plain ``def ... -> Awaitable[T]``, so that nothing here needs an event loop; the
port of a store is in `core.journal.store`. Nothing here has behaviour. A package that implements a
port imports it from here; `hive` connects the implementations. To add a port: a protocol here, a
parameter of `Hive` for its implementation, and a conformance kit in `testing`.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from agenthive.core.model.calls import Call, Reply
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.values import Micros, NanoUSD


class Agent(Protocol):
    """Carries out calls. One agent must be able to carry out many calls at once."""

    def perform(self, call: Call) -> Awaitable[Reply]:
        """Carry out one attempt.

        Never raises for a failure of the outside world: the reply has a fault then. Cancelling the
        awaitable must stop the call itself: close its connection, end its process group.
        """
        ...

    def close(self) -> Awaitable[None]:
        """Close connections and processes. May be called more than one time."""
        ...


class Agents(Protocol):
    """Finds the agent for a spec."""

    def find_agent(self, spec: AgentSpec) -> Agent:
        """The agent for ``spec``, created at first use.

        Raises AgentUnavailable if no agent is registered for it.
        """
        ...

    def close(self) -> Awaitable[None]:
        """Close every agent that was created."""
        ...


class Quoter(Protocol):
    """Knows what a call can cost at most, before it is made."""

    def is_priced(self, spec: AgentSpec) -> bool:
        """Whether calls of this agent can cost anything."""
        ...

    def estimate_max_cost(self, spec: AgentSpec, call: Call) -> NanoUSD | None:
        """The worst case of a call in nano-dollars, rounded up; None if nothing bounds it."""
        ...

    def explain_unpriced(self, spec: AgentSpec, call: Call) -> str:
        """Why `estimate_max_cost` is None for a call, and what to do; empty if it is not.

        The parameters may contain expressions, for a check before the run.
        """
        ...

    def estimate_tokens(self, spec: AgentSpec, call: Call) -> int:
        """About how many tokens the call uses with an answer of full length; for rate limits."""
        ...

    def fit_max_tokens(
        self, spec: AgentSpec, call: Call, max_cost: NanoUSD
    ) -> tuple[int, NanoUSD] | None:
        """The longest answer that costs at most ``max_cost`` in the worst case.

        Returns its tokens and that worst case (nano-dollars); None if not even a short one fits.
        """
        ...


class Calendar(Protocol):
    """Knows what a cron expression means in a time zone."""

    def next_after(self, cron: str, zone: str, after: Micros) -> Micros | None:
        """The first planned time after ``after``, in microseconds; None if there is none."""
        ...
