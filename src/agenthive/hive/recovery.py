"""Takes over unfinished runs from the journal."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence

from agenthive.core.engine.child_runs import related_runs
from agenthive.core.engine.recovery import order_parents_first
from agenthive.core.machine.run_state import RunState
from agenthive.errors import RunNotFound, RunUnusable
from agenthive.hive.resources import HiveResources
from agenthive.infra.logging import log


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
        parents and children of a run come with it. A run that cannot be read is set apart, and the
        others are taken over all the same. A run that was set apart while it was running, and one
        that was imported before it had ended, is resumed only if it is among ``runs``.
        """
        if runs is not None and all(run in self._resources.driver.runs for run in runs):
            return []
        rows = await self._resources.journal.list_runs(unfinished=True)
        open_here = self._resources.driver.runs
        unfinished = dict.fromkeys(row.run for row in reversed(rows) if row.run not in open_here)
        if runs is None:
            pending = [
                run
                for run in unfinished
                if not await self._is_unresumed_import(run) and not await self._is_set_apart(run)
            ]
        else:
            pending = [run for run in dict.fromkeys(runs) if run in unfinished]
        states = await self._replay_with_relatives(pending, unfinished)
        self._set_unbounded_children_apart(states, runs or ())
        # A run that another one waits for is taken over before it.
        resumed = order_parents_first(states[run] for run in unfinished if run in states)
        await self._resources.load_prices(*(state.graph.spec for state in resumed))
        find_missing = self._resources.find_missing_agents
        self._resources.runtime.recover(
            [(state, find_missing(state.graph.spec)) for state in resumed]
        )
        for state in resumed:
            await self._deliver_missed_ends(state, unfinished)
        return [state.run for state in resumed]

    async def _replay_with_relatives(
        self, pending: list[str], unfinished: dict[str, None]
    ) -> dict[str, RunState]:
        states: dict[str, RunState] = {}
        requested, unreadable = set(pending), set[str]()
        while pending:
            run = pending.pop()
            if run not in unfinished or run in states or run in unreadable:
                continue
            if run not in requested and await self._is_set_apart(run):
                continue
            try:
                states[run] = await self._resources.journal.load_state(run)
            except (RunUnusable, RunNotFound) as error:
                # Its fault stays its own: requests about it get the reason, all others continue.
                unreadable.add(run)
                reason = error.message.removeprefix(f"run {run} is set apart: ")
                self._resources.driver.set_apart(run, reason)
                log("error", "a run is set apart", run=run, reason=reason)
                continue
            pending += related_runs(states[run])
        return states

    def _set_unbounded_children_apart(
        self, states: dict[str, RunState], requested: Sequence[str]
    ) -> None:
        """Set apart the child runs that would spend money without the limits of their parents.

        A child run is bound by the budgets of the runs above it. If one of those is set apart, its
        limits are unknown, so that a child run with calls that cost money does not continue either.
        If the parent was deleted, a user may resume the child run by its id.
        """
        driver, is_priced = self._resources.driver, self._resources.agents.is_priced
        # Parents first: an unbounded run is found before those below it.
        for state in order_parents_first(states.values()):
            run, parent = state.run, state.parent
            if parent is None or parent.run in states or parent.run in driver.runs:
                continue
            is_deleted = parent.run not in driver.set_apart_runs
            if is_deleted and run in requested:
                continue
            spec = state.graph.spec
            can_cost = any(is_priced(agent) or agent.max_cost for agent in spec.agents)
            if can_cost or any(task.max_cost for task in spec.tasks):
                del states[run]
                what = "was deleted" if is_deleted else "is set apart"
                driver.set_apart(
                    run, f"its parent run {parent.run} {what}, so that its budget is not known"
                )

    async def _deliver_missed_ends(self, state: RunState, unfinished: Collection[str]) -> None:
        """Give a run the ends of its child runs that ended while it was set apart."""
        for child in related_runs(state):
            is_child = state.parent is None or child != state.parent.run
            if is_child and child not in unfinished and child not in self._resources.driver.runs:
                with contextlib.suppress(RunUnusable, RunNotFound):
                    child_state = await self._resources.journal.load_state(child)
                    self._resources.runtime.deliver_child_end(child_state)

    async def _is_set_apart(self, run: str) -> bool:
        """Whether a process set the run apart while it was running, and none has resumed it."""
        events = self._resources.set_apart.get(run)
        return events is not None and events == await self._resources.journal.last_seq(run)

    async def _is_unresumed_import(self, run: str) -> bool:
        """Whether the run was imported before it had ended, and has not been resumed since.

        It may still be running where it was exported, so it is resumed only by its id.
        """
        events = self._resources.open_imports.get(run)
        return events is not None and events == await self._resources.journal.last_seq(run)
