"""Keeps the damage of one run with that run: which error a reader raises, and what a check finds.

Records of a run may be missing, changed, or no history of its workflow; whatever the decoder or the
machine raises for them becomes `RunUnusable`, which names the run and the reason. Damage of the
hive's own stream is another matter: it says which runs there are, so that the home is refused
(`StoreCorrupt`). Never writes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import msgspec

from agenthive.core.engine.engine_state import unusable_run_error
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.hash_chain import ChainVerifier
from agenthive.core.journal.records import Record
from agenthive.core.journal.store import Store
from agenthive.errors import (
    AgentHiveError,
    InternalError,
    JournalTooNew,
    RunUnusable,
    StoreCorrupt,
    StoreError,
    StoreFailed,
    StoreUnavailable,
    describe_defect,
)


class JournalCheck(msgspec.Struct, kw_only=True):
    """What a check of a whole journal found."""

    #: Records that were read.
    records: int = 0
    #: What is wrong, by run. A journal without damage has none.
    damage: dict[str, StoreError] = {}
    #: Positions of the journal without a record, apart from those of deleted runs.
    missing_events: int = 0

    def add_damage(self, run: str, error: StoreError) -> None:
        """Note an error of a run; the first one counts."""
        self.damage.setdefault(run, error)

    def describe_missing_events(self) -> str:
        """Say that events are missing; a run that lost its last ones has an intact chain."""
        return (
            f"{self.missing_events:,} events are missing from the journal: a run may have lost "
            "what was recorded last"
        )


@contextmanager
def blame_run(run: str) -> Iterator[None]:
    """Raise RunUnusable for what goes wrong with the records of ``run``.

    Other errors pass: a store that cannot be read, a name that does not exist, a bad request.
    """
    try:
        yield
    except (RunUnusable, StoreUnavailable, StoreFailed):
        raise
    except JournalTooNew as error:
        raise unusable_run_error(run, error.message, error.hint) from error
    except StoreError as error:
        raise unusable_run_error(run, error.message) from error
    except AgentHiveError as error:
        if not isinstance(error, InternalError):
            raise
        raise unusable_run_error(run, _describe_misfit(error)) from error
    except Exception as error:
        raise unusable_run_error(run, _describe_misfit(error)) from error


def _describe_misfit(error: Exception) -> str:
    return f"its records are no history of its workflow: {describe_defect(error)}"


async def read_hive_records(store: Store) -> AsyncIterator[Record]:
    """The records of the hive's stream, each verified before it is returned.

    Raises StoreCorrupt, JournalTooNew.
    """
    verifier = ChainVerifier()
    async for record in store.read(ev.HIVE):
        with _explain_hive_damage():
            verifier.verify_next(record)
        yield record


def decode_hive_record(record: Record) -> list[ev.HiveEvent]:
    """The events of a verified record of the hive's stream. Raises StoreCorrupt."""
    try:
        events = ev.decode_hive_events(record.payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _hive_damage_error(
            f"record {record.seq} of the hive's stream cannot be decoded: {describe_defect(error)}"
        ) from error
    if not events:
        raise _hive_damage_error(f"record {record.seq} of the hive's stream is empty")
    return events


@contextmanager
def _explain_hive_damage() -> Iterator[None]:
    try:
        yield
    except StoreCorrupt as error:
        raise _hive_damage_error(error.message) from error


def _hive_damage_error(message: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"the record of which runs this home has is damaged: {message}",
        hint="Restore the whole home from a backup; nothing in it was changed.",
    )
