"""`simulate(workflow)`: the durations, costs and failures of a workflow, before it runs.

Uses the same core and driver as a real run, on virtual time: durations come from examples, from a
journal, from the workflow, or are guessed; calls fail as often as the faults say. The oracles judge
each seed. Never reaches an agent, a network or a secret, and reads no home but the one given as
``fit``.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from agenthive.core.engine.driver import Driver
from agenthive.core.history.report import NANO
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.insights.agent_statistics import Fit
from agenthive.insights.distributions import Distribution
from agenthive.simulation.faults import FaultPlan
from agenthive.simulation.journal_defaults import learn_from_journal
from agenthive.simulation.options import SimulationOptions, build_options, read_workflow
from agenthive.simulation.people import DEFAULT_PATIENCE
from agenthive.simulation.runner import UNKNOWN_PREFIX, SeedOutcome, SimulatedRun, Violation
from agenthive.simulation.timeline import TimelineEntry, build_timeline

#: Violations that are kept in full; the others are only counted.
MAX_VIOLATIONS: Final = 1000
#: Durations that are kept for each task.
MAX_SAMPLES: Final = 10_000


class TaskFigures(msgspec.Struct, kw_only=True):
    """The figures of one task over all seeds."""

    #: Where the durations of the task come from.
    source: str
    #: The effect that the task declares; empty if it makes no call.
    effect: str = ""
    #: Runs in which the task was on the critical path.
    critical: int = 0
    #: Calls over all runs.
    calls: int = 0
    #: The most calls in one run.
    most: int = 0
    #: Calls that reused the idempotency key of an earlier call.
    repeated: int = 0
    #: Runs in which one idempotency key had its effect more than once.
    acted_twice: int = 0
    #: Runs in which the task failed for good.
    failed: int = 0
    #: Virtual seconds, at most `MAX_SAMPLES` of them.
    times: array[float] = msgspec.field(default_factory=lambda: array("d"))


class SimulationReport:
    """The results of many seeds.

    ``durations`` (virtual seconds), ``costs`` (US dollars) and ``tokens`` have one value for each
    seed, in the order of ``seeds``; ``statuses`` counts runs by how they ended, ``examples`` has
    one seed for each status. ``failures`` counts runs by (task, kind of fault) of failures that are
    final or wait for a decision. ``broken`` lists the seeds at which an invariant did not hold,
    ``violations`` has the details.
    """

    def __init__(self, options: SimulationOptions) -> None:
        self.options = options
        self.name = options.spec.name
        self.faults = str(options.fault_plan)
        self.notes = list(options.notes)
        self.seeds: list[int] = []
        self.durations: array[float] = array("d")
        self.costs: array[float] = array("d")
        self.tokens: array[int] = array("q")
        self.statuses: dict[str, int] = {}
        self.examples: dict[str, int] = {}
        self.failures: Counter[tuple[str, str]] = Counter()
        self.tasks = {
            key: TaskFigures(source=script.source, effect=script.effect)
            for key, script in options.scripts.items()
        }
        self.violations: list[Violation] = []
        self.broken: list[int] = []

    def __repr__(self) -> str:
        return f"<SimulationReport of {self.name}: {len(self.seeds)} seeds, {self.statuses}>"

    def check(self) -> None:
        """Raise AssertionError, with the seeds, if an invariant did not hold."""
        if not self.broken:
            return
        some = ", ".join(map(str, self.broken[:10]))
        lines = [f"seed {v.seed}: {v.invariant}: {v.detail}" for v in self.violations[:10]]
        raise AssertionError(
            f"{self.name}: an invariant broke at {len(self.broken):,} of {len(self.seeds):,} "
            f"seeds ({some}); look at one with simulate(..., seeds=[{self.broken[0]}])\n"
            + "\n".join(lines)
        )

    def duration(self, share: float) -> float:
        """The virtual seconds that a ``share`` of the runs did not exceed: 0.95 is the p95."""
        return quantile(self.durations, share)

    def cost(self, share: float) -> float:
        """The US dollars that a ``share`` of the runs did not exceed."""
        return quantile(self.costs, share)

    def story(self, seed: int) -> list[TimelineEntry]:
        """The story of the run of a seed; simulates that seed again."""
        return build_timeline(SimulatedRun(self.options, seed))

    def add_outcome(self, outcome: SeedOutcome) -> None:
        """Add the outcome of one seed."""
        self.seeds.append(outcome.seed)
        self.durations.append(outcome.duration)
        self.costs.append(outcome.cost / NANO)
        self.tokens.append(outcome.tokens)
        self.statuses[outcome.status] = self.statuses.get(outcome.status, 0) + 1
        self.examples.setdefault(outcome.status, outcome.seed)
        self.failures.update(set(outcome.failures))
        if outcome.violations:
            self.broken.append(outcome.seed)
            self.violations += outcome.violations[: MAX_VIOLATIONS - len(self.violations)]
        self._add_task_figures(outcome)

    def _add_task_figures(self, outcome: SeedOutcome) -> None:
        for task, calls in outcome.calls.items():
            figures = self._figures_of(task)
            figures.calls += calls
            figures.most = max(figures.most, calls)
            figures.repeated += outcome.repeated[task]
        for task in outcome.path:
            self._figures_of(task).critical += 1
        for task, count in outcome.acted.items():
            self._figures_of(task).acted_twice += count > 1
        for task, fault in outcome.failures:
            if task in self.tasks:
                self.tasks[task].failed += not fault.startswith(UNKNOWN_PREFIX)
        for task, seconds in outcome.times.items():
            figures = self._figures_of(task)
            if len(figures.times) < MAX_SAMPLES:
                figures.times.append(seconds)

    def _figures_of(self, task: str) -> TaskFigures:
        """The figures of a task, created if needed.

        In a run that cannot be replayed, tasks have their own names instead of those of their
        scripts.
        """
        return self.tasks.setdefault(task, TaskFigures(source="unknown"))


def quantile(values: Iterable[float], share: float) -> float:
    """The value that a ``share`` of all values does not exceed; 0 if there are none."""
    ordered = tuple(sorted(values))
    return Distribution(ordered).quantile(share) if ordered else 0.0


def simulate(
    workflow: WorkflowSpec | str | Path,
    *,
    seeds: int | Iterable[int] = 100,
    faults: str | FaultPlan = "some",
    inputs: Mapping[str, Any] | None = None,
    answers: Mapping[str, Any] | None = None,
    fit: str | Path | Fit | None = None,
    people: str = DEFAULT_PATIENCE,
    make_driver: Callable[[], Driver] | None = None,
    progress: Callable[[SimulationReport], None] | None = None,
) -> SimulationReport:
    """Simulate a workflow once for each seed.

    ``seeds``: their number, counted from 0, or the seeds themselves. ``faults``: a preset (none,
    some, hostile) or probabilities such as ``crash=0.01,fail=0.1``. ``answers``: for each task
    ``result``, ``duration``, ``fail`` and ``cost``, where they are known. ``fit``: a home in which
    the same agents have worked. ``people``: the median time in which approvers and senders of
    signals respond, such as ``15m``, or ``never``. ``progress`` is called after each seed.

    Raises ConfigurationError if one of them is not valid.
    """
    spec = read_workflow(workflow)
    agent_fit = learn_from_journal(Path(fit), spec) if isinstance(fit, str | Path) else fit
    options = build_options(
        spec,
        inputs=inputs,
        faults=faults,
        answers=answers,
        fit=agent_fit,
        people=people,
        make_driver=make_driver,
    )
    report = SimulationReport(options)
    for seed in range(seeds) if isinstance(seeds, int) else seeds:
        report.add_outcome(SimulatedRun(options, seed).build_outcome())
        if progress is not None:
            progress(report)
    return report
