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

LOOKS = 5
"""How often a row is looked at before it counts as wrong."""


class States(Protocol):
    """Where the states of runs come from."""

    async def state(self, run: str) -> RunState:
        """What the records of a run lead to. Raises RunNotFound."""
        ...


async def verify_list(states: States, store: Store, runs: Sequence[str]) -> None:
    """Each of these runs is listed as it is, and no other. Raises StoreCorrupt."""
    for run in runs:
        if not await _is_listed(states, store, run):
            raise StoreCorrupt(
                f"run {run}: the list of runs does not say what its records say",
                hint="Restore the journal from a backup.",
            )
    known = set(runs)
    for row in await store.runs():
        # One that is not known may have begun since.
        if row.run not in known and await store.last(row.run) is None:
            raise StoreCorrupt(f"run {row.run} is listed and has no records")


async def _is_listed(states: States, store: Store, run: str) -> bool:
    for _ in range(LOOKS):
        state = await _state(states, run)
        row = await store.run(run, tenant=state.tenant) if state else await store.run(run)
        if _agree(row, state):
            return True
    return False


async def _state(states: States, run: str) -> RunState | None:
    try:
        return await states.state(run)
    except RunNotFound:
        return None


def _agree(row: RunRow | None, state: RunState | None) -> bool:
    """A run that was taken out meanwhile has neither. The list counts the tasks of an open run
    only now and then.
    """
    if row is None or state is None:
        return row is None and state is None
    true = row_of(state)
    if state.status not in CLOSED:
        counts = {name: getattr(row, name) for name in _COUNTS}
        true = msgspec.structs.replace(true, **counts)
    return row == true


_COUNTS = ("total_tasks", "completed_tasks", "failed_tasks")
