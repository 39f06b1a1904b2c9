"""Random schedules for a simulation: set, paused, set again, triggered and, in the end, removed.

Has dice of its own, so that seeds without schedules stay what they were. What must hold is judged
in `schedule_judge`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from agenthive.core.engine.driver import Driver
from agenthive.core.graph.graph import Graph
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Record
from agenthive.core.model import definition
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.policies.schedule import RUN_ID_PREFIX, CatchUp, Overlap, Rule
from agenthive.core.values import SECOND, JSONObject, Micros
from agenthive.infra.calendar import SystemCalendar
from agenthive.simulation.recording import CheckedDriver
from agenthive.simulation.runtime import SimulatedRuntime

MakeWorkflow = Callable[[Random], WorkflowSpec]
MINUTE = 60 * SECOND
TOKEN = 3


def has_schedules(seed: int) -> bool:
    """One seed of three has."""
    return Random(f"has schedules {seed}").random() < 0.35


def add_schedules(
    runtime: SimulatedRuntime, seed: int, make_workflow: MakeWorkflow, graphs: dict[str, Graph]
) -> None:
    """One or two schedules of workflows that ``make`` gives; ``graphs`` gets those."""
    rng = Random(f"schedules {seed}")
    for number in range(rng.choice((1, 1, 2))):
        _ScheduleScript(runtime, rng, f"s{number}", make_workflow, graphs).schedule_changes()


class _ScheduleScript:
    """What people do to one schedule."""

    def __init__(
        self,
        runtime: SimulatedRuntime,
        rng: Random,
        name: str,
        make_workflow: MakeWorkflow,
        graphs: dict[str, Graph],
    ) -> None:
        self._runtime, self._rng, self._name, self._make_workflow = (
            runtime,
            rng,
            name,
            make_workflow,
        )
        self._graphs = graphs
        self._every: Micros = rng.choice((1, 2, 5, 20, 60)) * SECOND

    def schedule_changes(self) -> None:
        """Decide all of it now."""
        rng = self._rng
        begin = rng.randrange(20 * SECOND)
        length = self._every * rng.randint(3, 15)
        self._set_schedule(begin, self._draw_rule(), paused=rng.random() < 0.1)
        for chance, kind in ((0.3, ev.SchedulePaused), (0.4, ev.ScheduleResumed)):
            if rng.random() < chance:
                self._change_schedule(
                    begin + rng.randrange(length), kind(at=0, schedule=self._name)
                )
        if rng.random() < 0.3:
            self._set_schedule(begin + rng.randrange(length), self._draw_rule())
        if rng.random() < 0.3:
            run = f"{RUN_ID_PREFIX}{self._name}:{rng.randrange(1 << 30)}"
            triggered = ev.ScheduleTriggered(at=0, schedule=self._name, run=run)
            self._change_schedule(begin + rng.randrange(length), triggered)
        self._runtime.schedule_request(begin + length, self._remove_schedule)

    def _remove_schedule(self, driver: Driver, now: Micros) -> None:
        """As often as it takes: what was asked of a process that ended may be forgotten."""
        if self._name in driver.schedules.by_name:
            driver.change_schedule(now, ev.ScheduleRemoved(at=0, schedule=self._name), TOKEN)
            self._runtime.schedule_request(MINUTE, self._remove_schedule)

    def _draw_rule(self) -> Rule:
        if self._every == MINUTE and self._rng.random() < 0.5:
            return Rule(cron="* * * * *", zone="Europe/Berlin")
        return Rule(every=self._every, anchor=self._rng.randrange(self._every // SECOND) * SECOND)

    def _set_schedule(self, delay: Micros, rule: Rule, **fields: Any) -> None:
        spec = self._make_workflow(self._rng)
        inputs: JSONObject = {"who": "bees"} if self._rng.random() < 0.5 else {}
        event = ev.ScheduleSet(
            at=0,
            schedule=self._name,
            rule=rule,
            workflow=spec.name,
            inputs=inputs,
            definition=definition.compute_digest(definition.encode(spec)),
            time_input=self._rng.choice(("", "when")),
            catch_up=self._rng.choice(list(CatchUp)),
            overlap=self._rng.choice(list(Overlap)),
            **fields,
        )
        body = definition.encode(spec)
        graph = self._graphs.setdefault(event.definition, Graph(spec))
        self._runtime.schedule_request(
            delay, lambda driver, now: driver.change_schedule(now, event, TOKEN, body, graph)
        )

    def _change_schedule(self, delay: Micros, change: ev.ScheduleChange) -> None:
        self._runtime.schedule_request(
            delay, lambda driver, now: driver.change_schedule(now, change, TOKEN)
        )


class ScheduledDriver(CheckedDriver):
    """A driver of a process that is to fire schedules; it has the graphs of their workflows."""

    def __init__(self, graphs: Mapping[str, Graph], **limits: Any) -> None:
        super().__init__(calendar=SystemCalendar(), **limits)
        self.schedules.active = True
        self._graphs = graphs

    def load_hive(self, records: Sequence[Record]) -> None:
        """As a hive does it that takes over: what its schedules run is at hand again."""
        super().load_hive(records)
        for schedule in self.schedules.by_name.values():
            schedule.attach_graph(self._graphs[schedule.settings.definition], "")
