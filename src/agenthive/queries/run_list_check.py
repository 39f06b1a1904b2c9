"""Checks that the run list equals what the records lead to: it is a projection without a hash.

Only reads. Another process may write during the check, so a row that differs is read again before
it counts as wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from agenthive.core.engine.active_run import row_of
from agenthive.core.journal.records import RunRow
from agenthive.core.journal.store import Store
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import CLOSED
from agenthive.errors import RunNotFound, StoreCorrupt
from agenthive.queries.damage import JournalCheck

MAX_READS = 5
"""How often a row is read before it counts as wrong."""


class StateSource(Protocol):
    """Loads the states of runs; `JournalReader` is one."""

    async def load_state(self, run: str) -> RunState:
        """The state that the records of a run lead to. Raises RunNotFound."""
        ...


async def verify_run_list(
    states: StateSource, store: Store, runs: Sequence[str], check: JournalCheck
) -> None:
    """Check that the run list has these runs and no others, each as its records say.

    Adds what is wrong to ``check``, and leaves out the runs that have damage there already.
    """
    for run in runs:
        if run in check.damage:
            continue
        try:
            if not await _is_listed(states, store, run):
                raise StoreCorrupt(
                    f"run {run}: its row in the list of runs does not match its records",
                    hint="Restore the journal from a backup.",
                )
        except StoreCorrupt as error:
            check.add_damage(run, error)
    run_ids = set(runs)
    for row in await store.list_runs():
        # A run that is not in `runs` may have been submitted during the check: then it has records.
        if row.run not in run_ids and await store.read_last_record(row.run) is None:
            absence = StoreCorrupt(
                f"run {row.run} is in the list of runs, but has no records",
                hint="Restore the journal from a backup.",
            )
            check.add_damage(row.run, absence)


async def _is_listed(states: StateSource, store: Store, run: str) -> bool:
    for _ in range(MAX_READS):
        state = await _load_state(states, run)
        row = await store.find_run(run, tenant=state.tenant) if state else await store.find_run(run)
        if _is_consistent(row, state):
            return True
    return False


async def _load_state(states: StateSource, run: str) -> RunState | None:
    try:
        return await states.load_state(run)
    except RunNotFound:
        return None


def _is_consistent(row: RunRow | None, state: RunState | None) -> bool:
    """Whether a row fits the state. A run that was deleted during the check has neither.

    Task counts are compared only for ended runs: those of an open run are not written at every
    event.
    """
    if row is None or state is None:
        return row is None and state is None
    expected = row_of(state)
    if state.status not in CLOSED:
        counts = {name: getattr(row, name) for name in _COUNTS}
        expected = msgspec.structs.replace(expected, **counts)
    return row == expected


_COUNTS = ("total_tasks", "completed_tasks", "failed_tasks")
