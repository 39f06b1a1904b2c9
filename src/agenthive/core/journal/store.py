"""The port of a store: what the engine needs of the package that keeps the journal.

`testing.store_kit` says when an implementation is complete. Nothing here has behaviour. To add a
method: here, in every store, and a check in the kit.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Protocol

from agenthive.core.journal.records import (
    AccountState,
    Batch,
    CachedResult,
    Record,
    RequestRow,
    RunRow,
    Sizes,
    StreamSize,
)


class Store(Protocol):
    """Keeps the journal of one home. There is one writer; there may be many readers.

    Times are microseconds, sizes are bytes.
    """

    def append(self, batch: Batch) -> Awaitable[None]:
        """Write one batch in one transaction: all of it or nothing, in the order of the calls.

        The batch is durable when the awaitable ends. Raises StoreUnavailable if nothing was written
        (try again later), and StoreFailed if the outcome is unknown; every later call raises
        StoreFailed then.
        """
        ...

    def read(self, stream: str, after: int = 0) -> AsyncIterator[Record]:
        """The records of a stream after event number ``after``, oldest first."""
        ...

    def read_marked_record(self, stream: str, cause: str) -> Awaitable[Record | None]:
        """The last record of a stream with a ``cause`` that begins so; None if there is none."""
        ...

    def read_last_record(self, stream: str) -> Awaitable[Record | None]:
        """The last record of a stream; None if there is no such stream."""
        ...

    def scan_records(self, after: int = 0, limit: int = 1000) -> Awaitable[Sequence[Record]]:
        """Records of all streams with ``pos`` > ``after``, in the order they were committed."""
        ...

    def load_definition(self, digest: str) -> Awaitable[bytes | None]:
        """The canonical JSON of the definition with that digest; None if it is not stored."""
        ...

    def load_blob(self, digest: str) -> Awaitable[bytes | None]:
        """The JSON of the blob with that digest; None if it is not stored."""
        ...

    def measure_sizes(self, streams: Sequence[str] | None = None) -> Awaitable[Sizes]:
        """The sizes of the journal; with ``streams``, of what deleting these would remove."""
        ...

    def list_largest_streams(self, limit: int = 20) -> Awaitable[Sequence[StreamSize]]:
        """The largest streams, largest first."""
        ...

    def reclaim_space(self) -> Awaitable[int]:
        """Return some free space to the operating system.

        Returns the bytes returned; 0 when there is nothing more to return. Call it repeatedly: each
        call is short, so that appends are not held up.
        """
        ...

    def find_cached_result(self, key: str) -> Awaitable[CachedResult | None]:
        """The cached result with that key, even if it has expired; None if there is none."""
        ...

    def find_request(self, key: str, *, tenant: str = "default") -> Awaitable[RequestRow | None]:
        """The request of that key, even if it has expired; None if there is none.

        A store forgets requests when it writes others: those that have expired by then, and the
        oldest above `records.MAX_REQUESTS`.
        """
        ...

    def list_account_states(self) -> Awaitable[Sequence[AccountState]]:
        """All accounts."""
        ...

    def list_marks(self) -> Awaitable[dict[str, str]]:
        """The texts of `Batch.marks`, by name."""
        ...

    def list_runs(
        self, *, tenant: str = "default", unfinished: bool = False, limit: int | None = None
    ) -> Awaitable[Sequence[RunRow]]:
        """Rows of the list of runs, newest first; with ``unfinished`` only those of open runs."""
        ...

    def find_run(self, run: str, *, tenant: str = "default") -> Awaitable[RunRow | None]:
        """The row of one run; None if the tenant has no such run."""
        ...

    def close(self) -> Awaitable[None]:
        """Write what is pending, then close the files."""
        ...
