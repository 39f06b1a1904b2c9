"""The schedules of a hive."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from agenthive.authoring.schedules import build_rule, plan_schedule
from agenthive.core.engine.schedules import ScheduleRow
from agenthive.core.journal import run_events as ev
from agenthive.core.model import definition
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.policies.schedule import RUN_ID_PREFIX, Rule, check_interval
from agenthive.hive.resources import HiveResources
from agenthive.infra.ids import uuid7


class HiveSchedules(HiveResources):
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
        await self.change_schedule(plan.event, plan.body)

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
        run = f"{RUN_ID_PREFIX}{name}:{uuid7()}"
        await self.change_schedule(ev.ScheduleTriggered(at=0, schedule=name, run=run))
        return run

    async def schedules(self) -> list[ScheduleRow]:
        """All schedules, in the order in which they were set first."""
        return await self._active_journal.hive_stream.list_schedules(self._calendar)

    async def start_schedules(self) -> None:
        """From now on start what schedules plan, and what they missed as each says."""
        for name in list(self._driver.schedules.by_name):
            await self._equip_schedule(name)
        self._active_runtime.start_schedules()

    async def change_schedule(self, change: ev.ScheduleChange, body: bytes = b"") -> None:
        """Carry out one change; it is on disk when this returns. ``body`` is what is set."""
        graph, problem = None, ""
        if isinstance(change, ev.ScheduleSet):
            self._check_rule(change.rule)
            graph = self._cached_graph(definition.compute_digest(body), definition.decode(body))
            problem = self._describe_missing(graph.spec)
        elif isinstance(change, ev.ScheduleTriggered):
            await self._require_unused(change.run)
            await self._equip_schedule(change.schedule)
        await self._active_runtime.change_schedule(change, body, graph, problem)

    async def _equip_schedule(self, name: str) -> None:
        """Load what a schedule starts, and see whether it can start here."""
        schedule = self._driver.schedules.by_name.get(name)
        if schedule is not None:
            spec = await self._active_journal.load_definition(schedule.settings.definition)
            schedule.attach_graph(
                self._cached_graph(schedule.settings.definition, spec), self._describe_missing(spec)
            )

    def _check_rule(self, rule: Rule) -> None:
        if rule.every:
            check_interval(rule)
        else:
            self._calendar.check_cron(rule.cron, rule.zone, self._clock.now())

    def _describe_missing(self, spec: WorkflowSpec) -> str:
        return "; ".join(self._find_missing_agents(spec).values())
