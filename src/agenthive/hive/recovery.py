"""Takes over unfinished runs from the journal."""

from __future__ import annotations

from agenthive.core.engine.child_runs import related_runs
from agenthive.core.machine.run_state import RunState
from agenthive.hive.resources import HiveResources


class RunRecovery:
    """Replays runs from the journal and passes them to the driver.

    recovery = RunRecovery(resources)
    run_ids = await recovery.resume()
    """

    def __init__(self, resources: HiveResources) -> None:
        self._resources = resources

    async def resume(self, runs: list[str] | None = None) -> list[str]:
        """Take over these runs, or every unfinished one; the ids of those taken over.

        Runs that the driver has already, that have ended or that do not exist are left out. The
        parents and children of a run come with it.
        """
        if runs is not None and all(run in self._resources.driver.runs for run in runs):
            return []
        rows = await self._resources.journal.list_runs(unfinished=True)
        open_here = self._resources.driver.runs
        # Oldest first: a run that another one waits for is older, and is taken over before it.
        unfinished = dict.fromkeys(row.run for row in reversed(rows) if row.run not in open_here)
        if runs is None:
            pending = [run for run in unfinished if not await self._is_unresumed_import(run)]
        else:
            pending = [run for run in dict.fromkeys(runs) if run in unfinished]
        states = await self._replay_with_relatives(pending, unfinished)
        resumed = [states[run] for run in unfinished if run in states]
        await self._resources.load_prices(*(state.graph.spec for state in resumed))
        find_missing = self._resources.find_missing_agents
        self._resources.runtime.recover(
            [(state, find_missing(state.graph.spec)) for state in resumed]
        )
        return [state.run for state in resumed]

    async def _replay_with_relatives(
        self, pending: list[str], unfinished: dict[str, None]
    ) -> dict[str, RunState]:
        states: dict[str, RunState] = {}
        while pending:
            run = pending.pop()
            if run in unfinished and run not in states:
                states[run] = await self._resources.journal.load_state(run)
                pending += related_runs(states[run])
        return states

    async def _is_unresumed_import(self, run: str) -> bool:
        """Whether the run was imported before it had ended, and has not been resumed since.

        It may still be running where it was exported, so it is resumed only by its id.
        """
        events = self._resources.open_imports.get(run)
        return events is not None and events == await self._resources.journal.last_seq(run)
