"""How a simulation is set up from the words of a command, and how its outcome is shown.

Progress goes to standard error, the figures to standard output. What is printed to look at a seed
again holds no secret: an input that is one is left out.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from agenthive import authoring
from agenthive.authoring import OPERATOR, SERVER
from agenthive.cli.support import output
from agenthive.cli.support.workflow_files import given_inputs, typed_inputs
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.settings import Settings
from agenthive.simulation.people import USUAL
from agenthive.simulation.simulate import Rehearsal, TaskFigures, quantile, simulate

EVERY: Final = 1.0
"""Seconds between two lines of progress."""
SHARES: Final = {"p5": 0.05, "p50": 0.5, "p95": 0.95, "max": 1.0}
MOST: Final = 10
"""Lines of one kind that are shown to people; JSON has all of them."""


class Told(NamedTuple):
    """What the command line said."""

    file: Path
    pairs: Sequence[str]
    inputs_file: Path | None
    faults: str
    answers: Path | None
    fit: Path | None
    people: str

    def again(self, spec: WorkflowSpec, seed: int) -> str:
        """The command that tells the story of a seed."""
        words = ["agenthive", "simulate", str(self.file)]
        for pair in self.pairs:
            name = pair.partition("=")[0]
            declared = spec.inputs.get(name)
            secret = declared is not None and declared.type == "secret"
            words += ["--input", f"{name}=..." if secret else pair]
        options = {"--inputs": self.inputs_file, "--answers": self.answers, "--fit": self.fit}
        for option, path in options.items():
            words += [] if path is None else [option, str(path)]
        words += [] if self.people == USUAL else ["--people", self.people]
        return shlex.join([*words, "--faults", self.faults, "--seed", str(seed), "--trace"])


def rehearse(told: Told, settings: Settings, seeds: Sequence[int]) -> Rehearsal:
    """Play the workflow. Raises ConfigurationError if the file or an option is wrong."""
    loaded = authoring.load(
        told.file,
        limits=SERVER if settings.mode == "server" else OPERATOR,
        keep_secret=authoring.placeholder,
    )
    inputs = typed_inputs(
        loaded.spec, given_inputs(told.pairs, told.inputs_file), authoring.placeholder
    )
    answers = None if told.answers is None else authoring.inputs_from_file(told.answers)
    found = simulate(
        loaded.spec, seeds=seeds, faults=told.faults, inputs=inputs, answers=answers, fit=told.fit,
        people=told.people, progress=_Progress(len(seeds)).take,
    )  # fmt: skip
    for note in (*loaded.warnings, *found.notes):
        output.note(f"note: {output.safe(note)}")
    return found


class _Progress:
    def __init__(self, total: int) -> None:
        self._total = total
        self._next = time.monotonic() + EVERY

    def take(self, found: Rehearsal) -> None:
        """One more seed has been played."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY
            broken = f", {len(found.broken):,} with a broken invariant" if found.broken else ""
            output.note(f"  {len(found.seeds):,} of {self._total:,} seeds played{broken}")


# The outcome.


def show(found: Rehearsal, told: Told, *, as_json: bool) -> None:
    """All figures of a simulation."""
    if as_json:
        output.document("simulation", **_fields(found, told))
        return
    output.line(f"{output.safe(found.name)}: {_runs(len(found.seeds))}, faults: {found.faults}\n")
    _endings(found)
    _totals(found)
    _tasks(found)
    _failures(found)
    _invariants(found)
    output.line(f"\nOne of them step by step:\n  {output.safe(_look_at(found, told))}")
    sys.stdout.flush()


def _runs(count: int) -> str:
    return f"{count:,} simulated run{'s' * (count != 1)}"


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} %"


def _endings(found: Rehearsal) -> None:
    total = len(found.seeds)
    rows = [
        (status, f"{count:,}", _share(count, total), str(found.examples[status]))
        for status, count in sorted(found.statuses.items(), key=lambda one: -one[1])
    ]
    output.table(("ENDED", "RUNS", "SHARE", "SEED"), rows)


def _totals(found: Rehearsal) -> None:
    rows = [("time", *(output.span(found.duration(share)) for share in SHARES.values()))]
    if any(found.costs):
        rows.append(
            ("cost", *(output.money(round(found.cost(share), 6)) for share in SHARES.values()))
        )
    if any(found.tokens):
        tokens = [quantile(found.tokens, share) for share in SHARES.values()]
        rows.append(("tokens", *(f"{count:,.0f}" for count in tokens)))
    output.line()
    output.table(("OF A RUN", *(name.upper() for name in SHARES)), rows)


def _tasks(found: Rehearsal) -> None:
    total = len(found.seeds)
    by_weight = sorted(found.tasks.items(), key=lambda one: -one[1].critical)
    rows = [_task(key, one, total) for key, one in by_weight if one.calls or one.critical]
    heads = (
        "TASK", "CRITICAL", "P50", "P95", "CALLS", "MOST", "REPEATED", "EFFECT", "ACTED TWICE",
        "FAILED", "TIME IS",
    )  # fmt: skip
    output.line()
    output.table(heads, rows)


def _task(key: str, one: TaskFigures, total: int) -> tuple[str, ...]:
    times = [output.span(quantile(one.times, share)) if one.times else "-" for share in (0.5, 0.95)]
    twice = _share(one.acted_twice, total) if one.effect in ("any", "once") else "-"
    repeated = _share(one.repeated, one.calls) if one.calls else "-"
    counts = (f"{one.calls / total:.2f}", str(one.most), repeated)
    ends = (one.effect or "-", twice, _share(one.failed, total), one.source)
    return (key, _share(one.critical, total), *times, *counts, *ends)


def _failures(found: Rehearsal) -> None:
    if not found.failures:
        return
    rows = [
        (task, output.cut(kind, 100), f"{count:,}")
        for (task, kind), count in found.failures.most_common(MOST)
    ]
    output.line()
    output.table(("WENT WRONG FOR GOOD", "OF", "RUNS"), rows)


def _invariants(found: Rehearsal) -> None:
    if not found.broken:
        output.line(f"\nEvery invariant held in every run ({len(found.seeds):,}).")
        return
    output.line(f"\nAN INVARIANT BROKE at {len(found.broken):,} of {len(found.seeds):,} seeds:")
    rows = [(str(v.seed), v.invariant, v.detail) for v in found.violations[:MOST]]
    output.table(("SEED", "INVARIANT", "WHAT IS WRONG"), rows)


def _look_at(found: Rehearsal, told: Told) -> str:
    """The command for the run that is most worth looking at."""
    slowest = found.seeds[max(range(len(found.seeds)), key=lambda i: found.durations[i])]
    others = [seed for status, seed in found.examples.items() if status != "completed"]
    return told.again(found.plan.spec, [*found.broken[:1], *others, slowest][0])


# As JSON.


def _fields(found: Rehearsal, told: Told) -> dict[str, Any]:
    endings = {
        status: {"runs": count, "seed": found.examples[status]}
        for status, count in found.statuses.items()
    }
    broken = [
        msgspec.to_builtins(one) | {"replay": told.again(found.plan.spec, one.seed)}
        for one in found.violations
    ]
    failures = [
        {"task": task, "fault": kind, "runs": count}
        for (task, kind), count in found.failures.most_common()
    ]
    return {
        "workflow": found.name,
        "seeds": len(found.seeds),
        "faults": found.faults,
        "statuses": endings,
        "duration": _quantiles(found.durations),
        "cost_usd": _quantiles(found.costs),
        "tokens": _quantiles(found.tokens),
        "tasks": {key: _task_fields(one) for key, one in found.tasks.items()},
        "failures": failures,
        "broken_seeds": found.broken,
        "violations": broken,
        "notes": found.notes,
        "replay": _look_at(found, told),
    }


def _quantiles(values: Iterable[float]) -> dict[str, float]:
    return {name: quantile(values, share) for name, share in SHARES.items()}


def _task_fields(one: TaskFigures) -> dict[str, Any]:
    return {
        "critical": one.critical,
        "calls": one.calls,
        "most_calls": one.most,
        "repeated_calls": one.repeated,
        "acted_twice": one.acted_twice,
        "failed": one.failed,
        "duration": _quantiles(one.times),
        "source": one.source,
    }


# One run.


def show_story(found: Rehearsal, seed: int, *, as_json: bool) -> None:
    """What happened in the run of a seed, and what is wrong with it."""
    moments = found.story(seed)
    status = next(iter(found.statuses))
    if as_json:
        output.document(
            "simulation-story", workflow=found.name, seed=seed, faults=found.faults, status=status,
            facts=msgspec.to_builtins(moments),
            violations=[{"invariant": v.invariant, "detail": v.detail} for v in found.violations],
        )  # fmt: skip
        return
    rows = [(f"{one.seconds:+.3f} s", str(one.seq or ""), one.type, one.text) for one in moments]
    output.table(("TIME", "NO", "FACT", "WHAT HAPPENED"), rows)
    output.line(f"\nseed {seed}: {status} after {output.span(found.durations[0])}")
    for one in found.violations:
        output.line(f"BROKEN  {one.invariant}: {output.safe(one.detail)}")
    sys.stdout.flush()
