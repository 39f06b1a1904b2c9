"""The schedules of a hive."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from agenthive.authoring.schedules import plan_schedule, rule_of
from agenthive.core.engine.schedules import ScheduleRow
from agenthive.core.journal import run_events as ev
from agenthive.core.model import definition
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.policies.schedule import RESERVED, Rule, check_interval
from agenthive.hive.resources import Opened
from agenthive.infra.ids import uuid7


class Timetable(Opened):
    """Workflows that are started again and again."""

    async def schedule(
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
    ) -> None:
        """Have a workflow started again and again; replaces the schedule of that name.

        Either ``cron`` in a ``zone``, or ``every`` so long from ``start``. The planned time (UTC,
        ISO 8601) is given as the input ``time_input``. ``catch_up`` is none, one or all;
        ``overlap`` is skip, queue, allow or cancel. Runs start where a hive is open with
        ``recover``, or `start_schedules` was called. Raises DefinitionError.
        """
        rule = rule_of(cron=cron, every=every, zone=zone, start=start)
        planned = plan_schedule(
            name, workflow, dict(inputs or {}), rule, time_input=time_input, catch_up=catch_up,
            overlap=overlap, paused=paused,
        )  # fmt: skip
        await self.change_schedule(planned.fact, planned.body)

    async def pause_schedule(self, name: str, *, reason: str = "") -> None:
        """Have a schedule start nothing until it is resumed. Raises NotFound."""
        await self.change_schedule(ev.SchedulePaused(at=0, schedule=name, reason=reason))

    async def resume_schedule(self, name: str) -> None:
        """Have a schedule start runs again; what was planned meanwhile is skipped."""
        await self.change_schedule(ev.ScheduleResumed(at=0, schedule=name))

    async def remove_schedule(self, name: str) -> None:
        """Take a schedule away; its runs go on. Raises NotFound."""
        await self.change_schedule(ev.ScheduleRemoved(at=0, schedule=name))

    async def trigger_schedule(self, name: str) -> str:
        """Start a run of a schedule now; its id. Raises NotFound, Conflict if it may not start."""
        run = f"{RESERVED}{name}:{uuid7()}"
        await self.change_schedule(ev.ScheduleTriggered(at=0, schedule=name, run=run))
        return run

    async def schedules(self) -> list[ScheduleRow]:
        """All schedules, in the order in which they were set first."""
        return await self._reader.schedules(self._calendar)

    async def start_schedules(self) -> None:
        """From now on start what schedules plan, and what they missed as each says."""
        for name in list(self._driver.schedules.known):
            await self._equip(name)
        self._live.fire()

    async def change_schedule(self, change: ev.ScheduleChange, body: bytes = b"") -> None:
        """Carry out one change; it is on disk when this returns. ``body`` is what is set."""
        graph, problem = None, ""
        if isinstance(change, ev.ScheduleSet):
            self._check(change.rule)
            graph = self._graph(definition.digest(body), definition.decode(body))
            problem = self._problem(graph.spec)
        elif isinstance(change, ev.ScheduleTriggered):
            await self._unused(change.run)
            await self._equip(change.schedule)
        await self._live.schedule(change, body, graph, problem)

    async def _equip(self, name: str) -> None:
        """Load what a schedule starts, and see whether it can start here."""
        one = self._driver.schedules.known.get(name)
        if one is not None:
            spec = await self._reader.definition(one.fact.definition)
            one.equip(self._graph(one.fact.definition, spec), self._problem(spec))

    def _check(self, rule: Rule) -> None:
        if rule.every:
            check_interval(rule)
        else:
            self._calendar.check(rule.cron, rule.zone, self._clock.now())

    def _problem(self, spec: WorkflowSpec) -> str:
        return "; ".join(self._missing(spec).values())
