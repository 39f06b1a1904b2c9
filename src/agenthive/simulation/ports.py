"""The environment of a simulated process: its world, its disk and its observers.

Values and protocols only. `runtime` drives them; `world` and `recording` implement them.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from agenthive.core.journal.records import AccountState, Batch, CachedResult, Record, RunRow
from agenthive.core.model.calls import Call, Reply
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.values import JSONObject, Micros


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """The probabilities, from 0 to 1, of faults of a process, at each place they can happen."""

    #: The process ends at a step.
    crash: float = 0.0
    #: The store refuses a batch.
    refuse: float = 0.0
    #: The clock of the process is set forward or back.
    jump: float = 0.0
    #: A response arrives in the process after the one that made the call.
    stale: float = 0.0
    #: An agent is missing when a new process takes over a run.
    absent: float = 0.0
    #: A write to the journal takes seconds.
    slow: float = 0.0
    #: No process crashes after this many crashes; otherwise many runs would never end.
    max_crashes: int = 200


class SimulatedReply(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one call in the simulated world. Times are microseconds after the call."""

    reply: Reply
    #: When the effect of the call happens; None if it never does.
    acts_after: Micros | None
    #: When ``reply`` arrives. Empty if the call hangs; several times are duplicates.
    replies_after: tuple[Micros, ...]


class World(Protocol):
    """The outside world: it survives crashes and keeps the effects of calls."""

    def answer(self, call: Call, agent: AgentSpec, now: Micros) -> SimulatedReply:
        """The outcome of this call."""
        ...


class SimulationObserver(Protocol):
    """Receives what happens, in order. ``kind`` names it, ``data`` has the details."""

    def observe(self, now: Micros, kind: str, data: JSONObject) -> None:
        """Record one observation."""
        ...


class Disk(Protocol):
    """A journal that is written without an event loop, and survives a crash."""

    #: Blobs by their digest.
    contents: dict[str, bytes]

    def write(self, batch: Batch) -> None:
        """Write one batch, all or nothing."""
        ...

    def records(self, stream: str) -> list[Record]:
        """All records of a stream."""
        ...

    def get_cached(self, key: str) -> CachedResult | None:
        """The result that is cached under that key."""
        ...

    def get_marks(self) -> dict[str, str]:
        """The stored marks, by name."""
        ...

    def accounts(self) -> list[AccountState]:
        """The balances of all accounts."""
        ...

    def get_definition(self, digest: str) -> bytes:
        """The definition with that digest, which must exist."""
        ...

    def rows(self, tenant: str = "default", *, unfinished: bool = False) -> list[RunRow]:
        """Rows of the run list."""
        ...
