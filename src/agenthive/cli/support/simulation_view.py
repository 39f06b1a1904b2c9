"""Running a simulation from the arguments of `agenthive simulate`, and printing its outcome.

Progress goes to standard error, the figures to standard output. The printed command that replays a
seed holds no secret: the value of a secret input is replaced by ``...``.
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
from agenthive.cli.support.workflow_files import collect_inputs, convert_inputs
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.settings import Settings
from agenthive.simulation.people import DEFAULT_PATIENCE
from agenthive.simulation.simulate import SimulationReport, TaskFigures, quantile, simulate

EVERY: Final = 1.0
"""Seconds between two lines of progress."""
SHARES: Final = {"p5": 0.05, "p50": 0.5, "p95": 0.95, "max": 1.0}
MOST: Final = 10
"""Rows of one kind that text output shows; JSON has all of them."""


class SimulationRequest(NamedTuple):
    """The arguments of the command."""

    file: Path
    pairs: Sequence[str]
    inputs_file: Path | None
    faults: str
    answers: Path | None
    fit: Path | None
    people: str

    def replay_command(self, spec: WorkflowSpec, seed: int) -> str:
        """The command that prints the events of the run of a seed."""
        words = ["agenthive", "simulate", str(self.file)]
        for pair in self.pairs:
            name = pair.partition("=")[0]
            declared = spec.inputs.get(name)
            secret = declared is not None and declared.type == "secret"
            words += ["--input", f"{name}=..." if secret else pair]
        options = {"--inputs": self.inputs_file, "--answers": self.answers, "--fit": self.fit}
        for option, path in options.items():
            words += [] if path is None else [option, str(path)]
        words += [] if self.people == DEFAULT_PATIENCE else ["--people", self.people]
        return shlex.join([*words, "--faults", self.faults, "--seed", str(seed), "--trace"])


def run_simulation(
    request: SimulationRequest, settings: Settings, seeds: Sequence[int]
) -> SimulationReport:
    """Simulate the workflow. Raises ConfigurationError if the file or an option is wrong."""
    loaded = authoring.load(
        request.file,
        limits=SERVER if settings.mode == "server" else OPERATOR,
        keep_secret=authoring.placeholder,
    )
    inputs = convert_inputs(
        loaded.spec, collect_inputs(request.pairs, request.inputs_file), authoring.placeholder
    )
    answers = None if request.answers is None else authoring.inputs_from_file(request.answers)
    result = simulate(
        loaded.spec,
        seeds=seeds,
        faults=request.faults,
        inputs=inputs,
        answers=answers,
        fit=request.fit,
        people=request.people,
        progress=_SeedProgress(len(seeds)).show_progress,
    )
    for note in (*loaded.warnings, *result.notes):
        output.print_note(f"note: {output.escape(note)}")
    return result


class _SeedProgress:
    def __init__(self, total: int) -> None:
        self._total = total
        self._next_line = time.monotonic() + EVERY

    def show_progress(self, result: SimulationReport) -> None:
        """Print how many seeds are done, at most once a second."""
        if time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + EVERY
            broken = f", {len(result.broken):,} with a violated invariant" if result.broken else ""
            output.print_note(f"  {len(result.seeds):,} of {self._total:,} seeds done{broken}")


# The outcome.


def show_simulation(result: SimulationReport, request: SimulationRequest, *, as_json: bool) -> None:
    """Print all figures of a simulation as text or JSON."""
    if as_json:
        output.print_document("simulation", **_result_fields(result, request))
        return
    output.print_line(
        f"{output.escape(result.name)}: {_format_runs(len(result.seeds))}, faults: "
        f"{result.faults}\n"
    )
    _print_endings(result)
    _print_totals(result)
    _print_tasks(result)
    _print_failures(result)
    _print_invariants(result)
    output.print_line(
        f"\nTo see one run step by step:\n  {output.escape(_suggest_replay(result, request))}"
    )
    sys.stdout.flush()


def _format_runs(count: int) -> str:
    return f"{count:,} simulated run{'s' * (count != 1)}"


def _format_share(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} %"


def _print_endings(result: SimulationReport) -> None:
    total = len(result.seeds)
    rows = [
        (status, f"{count:,}", _format_share(count, total), str(result.examples[status]))
        for status, count in sorted(result.statuses.items(), key=lambda ending: -ending[1])
    ]
    output.print_table(("STATUS", "RUNS", "SHARE", "SEED"), rows)


def _print_totals(result: SimulationReport) -> None:
    rows = [
        ("time", *(output.format_duration(result.duration(share)) for share in SHARES.values()))
    ]
    if any(result.costs):
        rows.append(
            (
                "cost",
                *(output.format_cost(round(result.cost(share), 6)) for share in SHARES.values()),
            )
        )
    if any(result.tokens):
        tokens = [quantile(result.tokens, share) for share in SHARES.values()]
        rows.append(("tokens", *(f"{count:,.0f}" for count in tokens)))
    output.print_line()
    output.print_table(("PER RUN", *(name.upper() for name in SHARES)), rows)


def _print_tasks(result: SimulationReport) -> None:
    total = len(result.seeds)
    by_weight = sorted(result.tasks.items(), key=lambda entry: -entry[1].critical)
    rows = [
        _format_task(key, figures, total)
        for key, figures in by_weight
        if figures.calls or figures.critical
    ]
    heads = (
        "TASK",
        "CRITICAL",
        "P50",
        "P95",
        "CALLS",
        "MOST",
        "REPEATED",
        "EFFECT",
        "ACTED TWICE",
        "FAILED",
        "TIME SOURCE",
    )
    output.print_line()
    output.print_table(heads, rows)


def _format_task(key: str, figures: TaskFigures, total: int) -> tuple[str, ...]:
    times = [
        output.format_duration(quantile(figures.times, share)) if figures.times else "-"
        for share in (0.5, 0.95)
    ]
    twice = _format_share(figures.acted_twice, total) if figures.effect in ("any", "once") else "-"
    repeated = _format_share(figures.repeated, figures.calls) if figures.calls else "-"
    counts = (f"{figures.calls / total:.2f}", str(figures.most), repeated)
    ends = (figures.effect or "-", twice, _format_share(figures.failed, total), figures.source)
    return (key, _format_share(figures.critical, total), *times, *counts, *ends)


def _print_failures(result: SimulationReport) -> None:
    if not result.failures:
        return
    rows = [
        (task, output.truncate(kind, 100), f"{count:,}")
        for (task, kind), count in result.failures.most_common(MOST)
    ]
    output.print_line()
    output.print_table(("FAILED TASK", "FAULT", "RUNS"), rows)


def _print_invariants(result: SimulationReport) -> None:
    if not result.broken:
        output.print_line(f"\nAll invariants held in all {_format_runs(len(result.seeds))}.")
        return
    output.print_line(
        f"\nINVARIANTS VIOLATED in {len(result.broken):,} of {_format_runs(len(result.seeds))}:"
    )
    rows = [
        (str(violation.seed), violation.invariant, violation.detail)
        for violation in result.violations[:MOST]
    ]
    output.print_table(("SEED", "INVARIANT", "DETAIL"), rows)


def _suggest_replay(result: SimulationReport, request: SimulationRequest) -> str:
    """The command for the first run with a violation, else one that failed, else the slowest."""
    slowest = result.seeds[max(range(len(result.seeds)), key=lambda i: result.durations[i])]
    others = [seed for status, seed in result.examples.items() if status != "completed"]
    return request.replay_command(result.options.spec, [*result.broken[:1], *others, slowest][0])


# As JSON.


def _result_fields(result: SimulationReport, request: SimulationRequest) -> dict[str, Any]:
    endings = {
        status: {"runs": count, "seed": result.examples[status]}
        for status, count in result.statuses.items()
    }
    broken = [
        msgspec.to_builtins(item)
        | {"replay": request.replay_command(result.options.spec, item.seed)}
        for item in result.violations
    ]
    failures = [
        {"task": task, "fault": kind, "runs": count}
        for (task, kind), count in result.failures.most_common()
    ]
    return {
        "workflow": result.name,
        "seeds": len(result.seeds),
        "faults": result.faults,
        "statuses": endings,
        "duration": _quantile_fields(result.durations),
        "cost_usd": _quantile_fields(result.costs),
        "tokens": _quantile_fields(result.tokens),
        "tasks": {key: _task_fields(item) for key, item in result.tasks.items()},
        "failures": failures,
        "broken_seeds": result.broken,
        "violations": broken,
        "notes": result.notes,
        "replay": _suggest_replay(result, request),
    }


def _quantile_fields(values: Iterable[float]) -> dict[str, float]:
    return {name: quantile(values, share) for name, share in SHARES.items()}


def _task_fields(figures: TaskFigures) -> dict[str, Any]:
    return {
        "critical": figures.critical,
        "calls": figures.calls,
        "most_calls": figures.most,
        "repeated_calls": figures.repeated,
        "acted_twice": figures.acted_twice,
        "failed": figures.failed,
        "duration": _quantile_fields(figures.times),
        "source": figures.source,
    }


# One run.


def show_story(result: SimulationReport, seed: int, *, as_json: bool) -> None:
    """Print the events of the run of a seed, and the invariants that it violates."""
    story = result.story(seed)
    status = next(iter(result.statuses))
    if as_json:
        output.print_document(
            "simulation-story",
            workflow=result.name,
            seed=seed,
            faults=result.faults,
            status=status,
            facts=msgspec.to_builtins(story),
            violations=[
                {"invariant": violation.invariant, "detail": violation.detail}
                for violation in result.violations
            ],
        )
        return
    rows = [
        (f"{entry.seconds:+.3f} s", str(entry.seq or ""), entry.type, entry.text) for entry in story
    ]
    output.print_table(("TIME", "NO", "EVENT", "DETAIL"), rows)
    output.print_line(
        f"\nseed {seed}: {status} after {output.format_duration(result.durations[0])}"
    )
    for entry in result.violations:
        output.print_line(f"VIOLATED  {entry.invariant}: {output.escape(entry.detail)}")
    sys.stdout.flush()
