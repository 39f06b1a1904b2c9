"""Follows a run: its events as they are committed, and the text of models as it arrives."""

from __future__ import annotations

from collections.abc import AsyncIterator

from agenthive.core.engine.engine_state import unusable_run_error
from agenthive.core.model.states import RunStatus
from agenthive.hive.resources import HiveResources
from agenthive.queries.journal_reader import EventView
from agenthive.runtimes.stream_listeners import Piece


async def wait_for_end(resources: HiveResources, run: str) -> RunStatus:
    """Wait until a run has ended, or waits for something that the hive cannot do by itself."""
    active_run = resources.driver.runs.get(run)
    if active_run is not None and not active_run.is_parked:
        return await resources.runtime.ended(run)
    raise_if_set_apart(resources, run)
    return RunStatus((await resources.journal.read_row(run)).status)


def raise_if_set_apart(resources: HiveResources, run: str) -> None:
    """Raises RunUnusable if a run was set apart."""
    reason = resources.driver.set_apart_runs.get(run)
    if reason is not None:
        raise unusable_run_error(run, reason)


async def watch_run(resources: HiveResources, run: str, after: int) -> AsyncIterator[EventView]:
    """The events of a run after event number ``after``, until the run ends or is parked."""
    await resources.journal.read_row(run)
    while True:
        # The order matters: an event that is committed after the read sets this `next_commit`.
        commit = resources.runtime.next_commit
        active_run = resources.driver.runs.get(run)
        is_last = active_run is None or active_run.is_parked
        async for event in resources.journal.read_events(run, after):
            after = event.seq
            yield event
        if is_last:
            raise_if_set_apart(resources, run)
            return
        if resources.runtime.fatal_error is not None:
            raise resources.runtime.fatal_error
        await commit.wait()


async def stream_run(resources: HiveResources, run: str) -> AsyncIterator[Piece]:
    """The pieces of model replies of a run, from now until the run ends or is parked."""
    runtime, runs = resources.runtime, resources.driver.runs
    active_run, pieces = runs.get(run), runtime.listeners.add_listener(run)
    ended = runtime.ended(run)
    ended.add_done_callback(lambda _: pieces.close())
    try:
        has_events = active_run is None and await resources.journal.last_seq(run)
        has_begun = ended.done() or run in runs
        if (has_events and not has_begun) or (active_run is not None and active_run.is_parked):
            return  # The run ended before the listener was added, or is parked.
        async for piece in pieces:
            yield piece
    finally:
        runtime.listeners.remove_listener(run, pieces)
