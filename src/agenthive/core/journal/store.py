"""The port of a store: what the engine asks of whatever keeps the journal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Protocol

from agenthive.core.journal.records import (
    AccountState,
    Batch,
    CachedResult,
    Record,
    RunRow,
    Sizes,
    StreamSize,
)


class Store(Protocol):
    """Where the journal lives. One writer; readers may be many.

    ``append`` is all or nothing, in call order, and durable when its awaitable ends. It raises
    StoreUnavailable when nothing was written (try again later) and StoreFailed when the outcome is
    unknown (every later call raises it too).
    """

    def append(self, batch: Batch) -> Awaitable[None]:
        """Write one batch in one transaction."""
        ...

    def read(self, stream: str, after: int = 0) -> AsyncIterator[Record]:
        """Records of a stream whose events come after event number ``after``, oldest first."""
        ...

    def read_marked_record(self, stream: str, cause: str) -> Awaitable[Record | None]:
        """The last record of a stream whose cause begins so."""
        ...

    def read_last_record(self, stream: str) -> Awaitable[Record | None]:
        """The last record of a stream."""
        ...

    def scan_records(self, after: int = 0, limit: int = 1000) -> Awaitable[Sequence[Record]]:
        """Records of all streams with ``pos`` > ``after``, in the order they were committed."""
        ...

    def load_definition(self, digest: str) -> Awaitable[bytes | None]:
        """The definition with that digest."""
        ...

    def load_blob(self, digest: str) -> Awaitable[bytes | None]:
        """The blob with that digest."""
        ...

    def measure_sizes(self, streams: Sequence[str] | None = None) -> Awaitable[Sizes]:
        """How much is in the journal; with ``streams``, only what would go with them."""
        ...

    def list_largest_streams(self, limit: int = 20) -> Awaitable[Sequence[StreamSize]]:
        """The largest streams, largest first."""
        ...

    def reclaim_space(self) -> Awaitable[int]:
        """Give some free space back to the disk; the bytes given, 0 when there is no more."""
        ...

    def find_cached_result(self, key: str) -> Awaitable[CachedResult | None]:
        """The result that is kept under that key; it may have expired."""
        ...

    def list_account_states(self) -> Awaitable[Sequence[AccountState]]:
        """How every account stands."""
        ...

    def list_marks(self) -> Awaitable[dict[str, str]]:
        """The texts that are kept, by name."""
        ...

    def list_runs(
        self, *, tenant: str = "default", unfinished: bool = False, limit: int | None = None
    ) -> Awaitable[Sequence[RunRow]]:
        """Rows of the run list, newest first."""
        ...

    def find_run(self, run: str, *, tenant: str = "default") -> Awaitable[RunRow | None]:
        """The row of one run."""
        ...

    def close(self) -> Awaitable[None]:
        """Write what is pending, then let go of the files."""
        ...
