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
from agenthive.insights.distributions import Spread
from agenthive.simulation.faults import Trouble
from agenthive.simulation.journal_defaults import recall
from agenthive.simulation.options import Plan, make_plan, read_workflow
from agenthive.simulation.people import USUAL
from agenthive.simulation.runner import UNKNOWN, Outcome, Played, Violation
from agenthive.simulation.timeline import Moment, retell

MOST_TOLD: Final = 1000
"""Violations that are kept; the others are counted."""
SAMPLE: Final = 10_000
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


class Rehearsal:
    """What many seeds came to.

    ``durations`` (virtual seconds), ``costs`` (US dollars) and ``tokens`` have one value a seed, in
    the order of ``seeds``; ``statuses`` counts runs by how they ended, ``examples`` has a seed of
    each. ``failures`` counts runs by (task, kind of fault) that was final, or is for somebody to
    say. ``broken`` lists the seeds at which an invariant broke, ``violations`` says which.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.name = plan.spec.name
        self.faults = str(plan.trouble)
        self.notes = list(plan.notes)
        self.seeds: list[int] = []
        self.durations: array[float] = array("d")
        self.costs: array[float] = array("d")
        self.tokens: array[int] = array("q")
        self.statuses: dict[str, int] = {}
        self.examples: dict[str, int] = {}
        self.failures: Counter[tuple[str, str]] = Counter()
        self.tasks = {
            key: TaskFigures(source=part.source, effect=part.effect)
            for key, part in plan.parts.items()
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

    def story(self, seed: int) -> list[Moment]:
        """What happened in the run of a seed: it is played again."""
        return retell(Played(self.plan, seed))

    def take(self, one: Outcome) -> None:
        """One more seed."""
        self.seeds.append(one.seed)
        self.durations.append(one.duration)
        self.costs.append(one.cost / NANO)
        self.tokens.append(one.tokens)
        self.statuses[one.status] = self.statuses.get(one.status, 0) + 1
        self.examples.setdefault(one.status, one.seed)
        self.failures.update(set(one.failures))
        if one.violations:
            self.broken.append(one.seed)
            self.violations += one.violations[: MOST_TOLD - len(self.violations)]
        self._tasks(one)

    def _tasks(self, one: Outcome) -> None:
        for task, calls in one.calls.items():
            figures = self._figures(task)
            figures.calls += calls
            figures.most = max(figures.most, calls)
            figures.repeated += one.repeated[task]
        for task in one.path:
            self._figures(task).critical += 1
        for task, count in one.acted.items():
            self._figures(task).acted_twice += count > 1
        for task, fault in one.failures:
            if task in self.tasks:
                self.tasks[task].failed += not fault.startswith(UNKNOWN)
        for task, seconds in one.times.items():
            figures = self._figures(task)
            if len(figures.times) < SAMPLE:
                figures.times.append(seconds)

    def _figures(self, task: str) -> TaskFigures:
        """Those of a task; of a run that cannot be replayed, tasks go by their own names."""
        return self.tasks.setdefault(task, TaskFigures(source="unknown"))


def quantile(values: Iterable[float], share: float) -> float:
    """The value that a ``share`` of all does not exceed; 0 of none."""
    found = tuple(sorted(values))
    return Spread(found).at(share) if found else 0.0


def simulate(
    workflow: WorkflowSpec | str | Path,
    *,
    seeds: int | Iterable[int] = 100,
    faults: str | Trouble = "some",
    inputs: Mapping[str, Any] | None = None,
    answers: Mapping[str, Any] | None = None,
    fit: str | Path | Fit | None = None,
    people: str = USUAL,
    make_driver: Callable[[], Driver] | None = None,
    progress: Callable[[Rehearsal], None] | None = None,
) -> Rehearsal:
    """Play a workflow once for each seed; ``seeds`` is how many, from 0, or which.

    ``faults``: a preset (none, some, hostile) or chances such as ``crash=0.01,fail=0.1``.
    ``answers``: by task, ``result``, ``duration``, ``fail`` and ``cost``, where they are known.
    ``fit``: a home in which the same agents have worked. ``people``: how long those take who answer
    approvals and send signals (the median, such as ``15m``), or ``never``. ``progress`` is called
    after each seed.
    Raises ConfigurationError if one of them cannot be used.
    """
    spec = read_workflow(workflow)
    known = recall(Path(fit), spec) if isinstance(fit, str | Path) else fit
    plan = make_plan(
        spec,
        inputs=inputs,
        faults=faults,
        answers=answers,
        fit=known,
        people=people,
        make_driver=make_driver,
    )
    rehearsal = Rehearsal(plan)
    for seed in range(seeds) if isinstance(seeds, int) else seeds:
        rehearsal.take(Played(plan, seed).outcome())
        if progress is not None:
            progress(rehearsal)
    return rehearsal
