"""`simulate(workflow)`: what a workflow will do, before it does it.

The same core and driver as in earnest, on virtual time: calls take as long as somebody said, as a
journal says or as is guessed, and go wrong as often as is asked for. The judge looks at each seed.
Never reaches an agent, a network or a secret, and reads no home but the one it is told to learn
from. Not to be mixed up with `simulation`, which proves the core itself with random workflows.
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

MAX_VIOLATIONS: Final = 1000
"""Violations that are kept; the others are counted."""
MAX_SAMPLES: Final = 10_000
"""Times of one task that are kept."""


class TaskFigures(msgspec.Struct, kw_only=True):
    """One task over all seeds. ``critical`` counts runs in which it was on the critical path.

    ``calls`` were made in all, ``most`` in one run; ``repeated`` of them under a key that had been
    called before. ``acted_twice`` counts runs in which it acted outside more than once under one
    key, ``failed`` those in which it failed for good. ``source`` says where its time is from.
    """

    source: str
    effect: str = ""
    critical: int = 0
    calls: int = 0
    most: int = 0
    repeated: int = 0
    acted_twice: int = 0
    failed: int = 0
    times: array[float] = msgspec.field(default_factory=lambda: array("d"))


class SimulationReport:
    """What many seeds came to.

    ``durations`` (virtual seconds), ``costs`` (US dollars) and ``tokens`` have one value a seed, in
    the order of ``seeds``; ``statuses`` counts runs by how they ended, ``examples`` has a seed of
    each. ``failures`` counts runs by (task, kind of fault) that was final, or is for somebody to
    say. ``broken`` lists the seeds at which an invariant broke, ``violations`` says which.
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
        return f"<Rehearsal of {self.name}: {len(self.seeds)} seeds, {self.statuses}>"

    def check(self) -> None:
        """Raise AssertionError, with the seeds, if an invariant broke."""
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
        """What happened in the run of a seed: it is played again."""
        return build_timeline(SimulatedRun(self.options, seed))

    def add_outcome(self, outcome: SeedOutcome) -> None:
        """One more seed."""
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
        """Those of a task; of a run that cannot be replayed, tasks go by their own names."""
        return self.tasks.setdefault(task, TaskFigures(source="unknown"))


def quantile(values: Iterable[float], share: float) -> float:
    """The value that a ``share`` of all does not exceed; 0 of none."""
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
    """Play a workflow once for each seed; ``seeds`` is how many, from 0, or which.

    ``faults``: a preset (none, some, hostile) or chances such as ``crash=0.01,fail=0.1``.
    ``answers``: by task, ``result``, ``duration``, ``fail`` and ``cost``, where they are known.
    ``fit``: a home in which the same agents have worked. ``people``: how long those take who answer
    approvals and send signals (the median, such as ``15m``), or ``never``. ``progress`` is called
    after each seed.
    Raises ConfigurationError if one of them cannot be used.
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
