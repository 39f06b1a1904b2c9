"""Schedules: workflows that the hive starts by itself, at planned times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from agenthive.authoring.schedules import build_rule, plan_schedule
from agenthive.core.engine.schedules import ScheduleRow
from agenthive.core.journal import run_events as ev
from agenthive.core.model import definition
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.policies.schedule import RUN_ID_PREFIX, Rule, check_interval
from agenthive.core.values import JSONObject
from agenthive.hive.requests import HiveRequests, KeepAnswer
from agenthive.hive.resources import HiveResources
from agenthive.infra.ids import uuid7


class HiveSchedules:
    """The schedules of a hive.

        await hive.schedules.set("nightly", workflow, cron="0 3 * * *", zone="Europe/Berlin")
        await hive.schedules.start()

    A change is on disk when the method returns. A call with the ``request_id`` of an earlier one
    changes nothing and ends as that one did.
    """

    def __init__(self, resources: HiveResources, requests: HiveRequests) -> None:
        self._resources, self._requests = resources, requests

    async def set(
        self,
        name: str,
        workflow: WorkflowSpec,
        inputs: Mapping[str, Any] | None = None,
        *,
        cron: str | None = None,
        every: str | float | timedelta | None = None,
        zone: str = "UTC",
        start: str | datetime | None = None,
        time_input: str = "",
        catch_up: str = "one",
        overlap: str = "queue",
        paused: bool = False,
        request_id: str | None = None,
    ) -> None:
        """Start a workflow at planned times; replaces the schedule of that name.

        The times follow ``cron`` in the time zone ``zone``, or come ``every`` so many seconds (or
        ``"2h"``, or a timedelta) from ``start`` on. A run receives its planned time (UTC, ISO 8601)
        as the input ``time_input``. ``catch_up`` is what happens to times that passed while no hive
        was open: ``none``, ``one`` or ``all`` of them start a run. ``overlap`` is what happens when
        the last run is still open: ``skip``, ``queue``, ``allow`` or ``cancel``. Runs start in a
        hive that was opened with ``recover``, or after `start`. Raises DefinitionError.
        """
        rule = build_rule(cron=cron, every=every, zone=zone, start=start)
        plan = plan_schedule(
            name,
            workflow,
            dict(inputs or {}),
            rule,
            time_input=time_input,
            catch_up=catch_up,
            overlap=overlap,
            paused=paused,
        )
        await self.apply_change(plan.event, plan.body, request_id=request_id)

    async def pause(self, name: str, *, reason: str = "", request_id: str | None = None) -> None:
        """Start no runs of a schedule until it is resumed. Raises NotFound."""
        change = ev.SchedulePaused(at=0, schedule=name, reason=reason)
        await self.apply_change(change, request_id=request_id)

    async def resume(self, name: str, *, request_id: str | None = None) -> None:
        """Start runs of a paused schedule again; the times that passed meanwhile are skipped.

        Raises NotFound.
        """
        await self.apply_change(ev.ScheduleResumed(at=0, schedule=name), request_id=request_id)

    async def remove(self, name: str, *, request_id: str | None = None) -> None:
        """Remove a schedule; its open runs continue. Raises NotFound."""
        await self.apply_change(ev.ScheduleRemoved(at=0, schedule=name), request_id=request_id)

    async def trigger(self, name: str, *, request_id: str | None = None) -> str:
        """Start a run of a schedule now; the id of the run.

        Called again with the same ``request_id``, it starts no second run and returns the id of the
        first. Raises NotFound, Conflict if the run may not start.
        """
        run = f"{RUN_ID_PREFIX}{name}:{uuid7()}"
        change = ev.ScheduleTriggered(at=0, schedule=name, run=run)
        return await self.apply_change(change, request_id=request_id)

    async def list(self) -> Sequence[ScheduleRow]:
        """All schedules, in the order in which they were set first."""
        return await self._resources.journal.hive_stream.list_schedules(self._resources.calendar)

    async def start(self) -> None:
        """From now on start runs at planned times, and catch up on the times that passed."""
        for name in self._resources.driver.schedules.by_name.copy():
            await self._attach_graph(name)
        self._resources.runtime.start_schedules()

    async def apply_change(
        self, change: ev.ScheduleChange, body: bytes = b"", *, request_id: str | None = None
    ) -> str:
        """Apply one change; ``body`` is the encoded workflow of a `ScheduleSet`.

        Returns the id of the run that a `ScheduleTriggered` started, else an empty text. Raises
        DefinitionError, NotFound, Conflict.
        """
        return await self._requests.execute_once(
            request_id,
            "schedule",
            {"change": _chosen_fields(change)},
            lambda keep: self._apply_first(change, body, keep),
            str,
        )

    async def _apply_first(self, change: ev.ScheduleChange, body: bytes, keep: KeepAnswer) -> str:
        graph, problem = None, ""
        if isinstance(change, ev.ScheduleSet):
            self._check_rule(change.rule)
            digest = definition.compute_digest(body)
            graph = self._resources.cached_graph(digest, definition.decode(body))
            problem = self._describe_missing(graph.spec)
        elif isinstance(change, ev.ScheduleTriggered):
            await self._resources.require_unused(change.run)
            await self._attach_graph(change.schedule)
        run = change.run if isinstance(change, ev.ScheduleTriggered) else ""
        await self._resources.runtime.change_schedule(change, body, graph, problem, keep(run))
        return run

    async def _attach_graph(self, name: str) -> None:
        """Load the workflow that a schedule starts, and record which of its agents are missing."""
        schedule = self._resources.driver.schedules.by_name.get(name)
        if schedule is not None:
            digest = schedule.settings.definition
            spec = await self._resources.journal.load_definition(digest)
            schedule.attach_graph(
                self._resources.cached_graph(digest, spec), self._describe_missing(spec)
            )

    def _check_rule(self, rule: Rule) -> None:
        if rule.every:
            check_interval(rule)
        else:
            now = self._resources.clock.now()
            self._resources.calendar.check_cron(rule.cron, rule.zone, now)

    def _describe_missing(self, spec: WorkflowSpec) -> str:
        return "; ".join(self._resources.find_missing_agents(spec).values())


def _chosen_fields(change: ev.ScheduleChange) -> JSONObject:
    """The fields of a change that the caller chose: no times, and no id that is made anew."""
    fields: JSONObject = msgspec.to_builtins(change)
    return {name: value for name, value in fields.items() if name not in ("at", "since", "run")}
