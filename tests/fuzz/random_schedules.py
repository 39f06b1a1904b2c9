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
from agenthive.core.policies.schedule import RESERVED, CatchUp, Overlap, Rule
from agenthive.core.values import SECOND, JSONObject, Micros
from agenthive.infra.calendar import Calendar
from agenthive.simulation.recording import CheckedDriver
from agenthive.simulation.runtime import SimulatedRuntime

MakeWorkflow = Callable[[Random], WorkflowSpec]
MINUTE = 60 * SECOND
TOKEN = 3


def has_schedules(seed: int) -> bool:
    """One seed of three has."""
    return Random(f"has schedules {seed}").random() < 0.35


def add_schedules(
    runtime: SimulatedRuntime, seed: int, make: MakeWorkflow, graphs: dict[str, Graph]
) -> None:
    """One or two schedules of workflows that ``make`` gives; ``graphs`` gets those."""
    rng = Random(f"schedules {seed}")
    for number in range(rng.choice((1, 1, 2))):
        _Plan(runtime, rng, f"s{number}", make, graphs).make()


class _Plan:
    """What people do to one schedule."""

    def __init__(
        self, runtime: SimulatedRuntime, rng: Random, name: str, make: MakeWorkflow,
        graphs: dict[str, Graph],
    ) -> None:  # fmt: skip
        self._runtime, self._rng, self._name, self._make = runtime, rng, name, make
        self._graphs = graphs
        self._every: Micros = rng.choice((1, 2, 5, 20, 60)) * SECOND

    def make(self) -> None:
        """Decide all of it now."""
        rng = self._rng
        begin = rng.randrange(20 * SECOND)
        length = self._every * rng.randint(3, 15)
        self._set(begin, self._rule(), paused=rng.random() < 0.1)
        for chance, kind in ((0.3, ev.SchedulePaused), (0.4, ev.ScheduleResumed)):
            if rng.random() < chance:
                self._change(begin + rng.randrange(length), kind(at=0, schedule=self._name))
        if rng.random() < 0.3:
            self._set(begin + rng.randrange(length), self._rule())
        if rng.random() < 0.3:
            run = f"{RESERVED}{self._name}:{rng.randrange(1 << 30)}"
            triggered = ev.ScheduleTriggered(at=0, schedule=self._name, run=run)
            self._change(begin + rng.randrange(length), triggered)
        self._runtime.ask(begin + length, self._remove)

    def _remove(self, driver: Driver, now: Micros) -> None:
        """As often as it takes: what was asked of a process that ended may be forgotten."""
        if self._name in driver.schedules.known:
            driver.schedule(now, ev.ScheduleRemoved(at=0, schedule=self._name), TOKEN)
            self._runtime.ask(MINUTE, self._remove)

    def _rule(self) -> Rule:
        if self._every == MINUTE and self._rng.random() < 0.5:
            return Rule(cron="* * * * *", zone="Europe/Berlin")
        return Rule(every=self._every, anchor=self._rng.randrange(self._every // SECOND) * SECOND)

    def _set(self, delay: Micros, rule: Rule, **more: Any) -> None:
        spec = self._make(self._rng)
        inputs: JSONObject = {"who": "bees"} if self._rng.random() < 0.5 else {}
        fact = ev.ScheduleSet(
            at=0, schedule=self._name, rule=rule, workflow=spec.name, inputs=inputs,
            definition=definition.digest(definition.encode(spec)),
            time_input=self._rng.choice(("", "when")),
            catch_up=self._rng.choice(list(CatchUp)), overlap=self._rng.choice(list(Overlap)),
            **more,
        )  # fmt: skip
        body = definition.encode(spec)
        graph = self._graphs.setdefault(fact.definition, Graph(spec))
        self._runtime.ask(delay, lambda driver, now: driver.schedule(now, fact, TOKEN, body, graph))

    def _change(self, delay: Micros, change: ev.ScheduleChange) -> None:
        self._runtime.ask(delay, lambda driver, now: driver.schedule(now, change, TOKEN))


class ScheduledDriver(CheckedDriver):
    """A driver of a process that is to fire schedules; it has the graphs of their workflows."""

    def __init__(self, graphs: Mapping[str, Graph], **limits: Any) -> None:
        super().__init__(calendar=Calendar(), **limits)
        self.schedules.active = True
        self._graphs = graphs

    def load_hive(self, records: Sequence[Record]) -> None:
        """As a hive does it that takes over: what its schedules run is at hand again."""
        super().load_hive(records)
        for one in self.schedules.known.values():
            one.equip(self._graphs[one.fact.definition], "")
