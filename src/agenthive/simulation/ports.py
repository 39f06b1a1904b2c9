"""What surrounds a simulated process: the world it calls, the disk that survives it, who watches.

Values and protocols only; `simulated` brings them to life.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from agenthive.core.journal.records import Batch, Cached, Record, RunRow, Standing
from agenthive.core.model.calls import Call, Reply
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.values import JSONObject, Micros


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """How likely each fault is, from 0 to 1, at each place where it can happen.

    The process dies; the store refuses a batch; the clock jumps; an answer comes to the process
    after the one that asked; an agent is missing when a new process takes a run over; a write takes
    seconds. After ``most_crashes`` no process dies any more: many runs would never come to an end.
    """

    crash: float = 0.0
    refuse: float = 0.0
    jump: float = 0.0
    stale: float = 0.0
    absent: float = 0.0
    slow: float = 0.0
    most_crashes: int = 200


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the world does with one call. Times are microseconds after the call.

    ``acts`` is when its effect happens (None: never); ``replies`` are the times at which ``reply``
    comes back (none: it hangs; several: duplicates).
    """

    reply: Reply
    acts: Micros | None
    replies: tuple[Micros, ...]


class World(Protocol):
    """The outside world: it survives crashes and remembers what was done to it."""

    def answer(self, call: Call, agent: AgentSpec, now: Micros) -> Answer:
        """What happens to this call."""
        ...


class Observer(Protocol):
    """Sees what happens, in order. ``what`` names it, ``data`` says more."""

    def saw(self, now: Micros, what: str, data: JSONObject) -> None:
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

    def cached_as(self, key: str) -> Cached | None:
        """The result that is kept under that key."""
        ...

    def marked_so(self) -> dict[str, str]:
        """The texts that are kept, by name."""
        ...

    def accounts(self) -> list[Standing]:
        """How every account stands."""
        ...

    def definition_of(self, digest: str) -> bytes:
        """The definition with that digest, which is there."""
        ...

    def rows(self, tenant: str = "default", *, unfinished: bool = False) -> list[RunRow]:
        """Rows of the run list."""
        ...
