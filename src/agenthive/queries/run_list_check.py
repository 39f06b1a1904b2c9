"""Whether the list of runs says what the records say: it is a projection, and no hash guards it.

Reads only. Somebody may be writing meanwhile, so a row that does not fit is looked at again.
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

MAX_READS = 5
"""How often a row is looked at before it counts as wrong."""


class StateSource(Protocol):
    """Where the states of runs come from."""

    async def state(self, run: str) -> RunState:
        """What the records of a run lead to. Raises RunNotFound."""
        ...


async def verify_run_list(states: StateSource, store: Store, runs: Sequence[str]) -> None:
    """Each of these runs is listed as it is, and no other. Raises StoreCorrupt."""
    for run in runs:
        if not await _is_listed(states, store, run):
            raise StoreCorrupt(
                f"run {run}: the list of runs does not say what its records say",
                hint="Restore the journal from a backup.",
            )
    run_ids = set(runs)
    for row in await store.list_runs():
        # One that is not known may have begun since.
        if row.run not in run_ids and await store.read_last_record(row.run) is None:
            raise StoreCorrupt(f"run {row.run} is listed and has no records")


async def _is_listed(states: StateSource, store: Store, run: str) -> bool:
    for _ in range(MAX_READS):
        state = await _load_state(states, run)
        row = await store.find_run(run, tenant=state.tenant) if state else await store.find_run(run)
        if _is_consistent(row, state):
            return True
    return False


async def _load_state(states: StateSource, run: str) -> RunState | None:
    try:
        return await states.state(run)
    except RunNotFound:
        return None


def _is_consistent(row: RunRow | None, state: RunState | None) -> bool:
    """A run that was taken out meanwhile has neither. The list counts the tasks of an open run
    only now and then.
    """
    if row is None or state is None:
        return row is None and state is None
    expected = row_of(state)
    if state.status not in CLOSED:
        counts = {name: getattr(row, name) for name in _COUNTS}
        expected = msgspec.structs.replace(expected, **counts)
    return row == expected


_COUNTS = ("total_tasks", "completed_tasks", "failed_tasks")
