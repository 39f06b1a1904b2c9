"""What surrounds a simulated process: the world it calls, the disk that survives it, who watches.

Values and protocols only; `simulated` brings them to life.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from agenthive.core.journal.records import AccountState, Batch, CachedResult, Record, RunRow
from agenthive.core.model.calls import Call, Reply
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.values import JSONObject, Micros


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """How likely each fault is, from 0 to 1, at each place where it can happen.

    The process dies; the store refuses a batch; the clock jumps; an answer comes to the process
    after the one that asked; an agent is missing when a new process takes a run over; a write takes
    seconds. After ``max_crashes`` no process dies any more: many runs would never come to an end.
    """

    crash: float = 0.0
    refuse: float = 0.0
    jump: float = 0.0
    stale: float = 0.0
    absent: float = 0.0
    slow: float = 0.0
    max_crashes: int = 200


class SimulatedReply(msgspec.Struct, frozen=True, kw_only=True):
    """What the world does with one call. Times are microseconds after the call.

    ``acts_after`` is when its effect happens (None: never); ``replies_after`` are the times at
    which ``reply`` comes back (none: it hangs; several: duplicates).
    """

    reply: Reply
    acts_after: Micros | None
    replies_after: tuple[Micros, ...]


class World(Protocol):
    """The outside world: it survives crashes and remembers what was done to it."""

    def answer(self, call: Call, agent: AgentSpec, now: Micros) -> SimulatedReply:
        """What happens to this call."""
        ...


class SimulationObserver(Protocol):
    """Sees what happens, in order. ``kind`` names it, ``data`` says more."""

    def observe(self, now: Micros, kind: str, data: JSONObject) -> None:
        """Something happened."""
        ...


class Disk(Protocol):
    """A journal that can be written without an event loop: what survives a crash.

    ``contents`` holds its blobs by their digest.
    """

    contents: dict[str, bytes]

    def write(self, batch: Batch) -> None:
        """Write one batch, all or nothing."""
        ...

    def records(self, stream: str) -> list[Record]:
        """All records of a stream."""
        ...

    def get_cached(self, key: str) -> CachedResult | None:
        """The result that is kept under that key."""
        ...

    def get_marks(self) -> dict[str, str]:
        """The texts that are kept, by name."""
        ...

    def accounts(self) -> list[AccountState]:
        """How every account stands."""
        ...

    def get_definition(self, digest: str) -> bytes:
        """The definition with that digest, which is there."""
        ...

    def rows(self, tenant: str = "default", *, unfinished: bool = False) -> list[RunRow]:
        """Rows of the run list."""
        ...
