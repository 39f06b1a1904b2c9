"""`simulate(seeds)`: random workflows through the real core, with everything going wrong.

Each seed makes its own workflows, its own world and its own mix of faults (some kinds switched off,
so that rare combinations come up too), runs them on virtual time and lets the oracle judge. A seed
that fails can be run again and gives the same trace. ``python -m tests.fuzz.campaign`` is
the same for the command line. Never waits, never reads a clock but to print a rate.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import msgspec

from agenthive.core.graph.graph import Graph
from agenthive.core.history.snapshots import EVERY
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.values import SECOND
from agenthive.simulation.case import Case
from agenthive.simulation.oracles.judge import judge
from agenthive.simulation.ports import World
from agenthive.simulation.recording import (
    CheckedDriver,
    Recorder,
    WatchedDisk,
    case_of,
    machine_faults,
)
from agenthive.simulation.runtime import SimulatedRuntime
from tests.fuzz.budget_fixture import Purse, has_money
from tests.fuzz.random_flow import Features, random_features, with_flow
from tests.fuzz.random_people import VISITS, WITHIN, Crowd
from tests.fuzz.random_schedules import ScheduledDriver, add_schedules, has_schedules
from tests.fuzz.random_turns import Asking, has_turns, with_turns
from tests.fuzz.random_workflows import random_workflow
from tests.fuzz.random_world import FlowWorld, RandomWorld, random_faults, random_mood
from tests.fuzz.rate_limit_fixture import Brakes
from tests.fuzz.schedule_oracle import judge_schedules
from tests.fuzz.sqlite_disk import FiledDisk


class Outcome(msgspec.Struct, kw_only=True):
    """What one seed came to. ``violations`` is empty when every promise held."""

    seed: int
    violations: list[str]
    trace: str
    tasks: int
    crashes: int
    events: int


def simulate_seed(seed: int, *, money: bool = False, file: Path | None = None) -> Outcome:
    """Run one seed and judge it. ``money``: its calls cost something in any case.

    With ``file`` its journal is in a SQLite file there, which must not be.
    """
    recorder = Recorder()
    if file is None:
        return _simulated(seed, recorder, WatchedDisk(recorder), money=money)
    filed = FiledDisk(recorder, file)
    try:
        return _simulated(seed, recorder, filed, money=money)
    finally:
        filed.close()


def _simulated(seed: int, recorder: Recorder, disk: WatchedDisk, *, money: bool) -> Outcome:
    rng = Random(seed)
    features = random_features(seed)
    max_calls = rng.choice((1, 3, 8, 1000))
    max_runs = rng.choice((1, 2, 100))
    kind = RandomWorld if features is None else FlowWorld
    graphs: dict[str, Graph] = {}
    every = Random(f"snapshots {seed}").choice((2, 20, EVERY))
    purse = Purse(seed) if money or has_money(seed) else None
    brakes = Brakes(seed)
    make_driver: Callable[..., CheckedDriver] = CheckedDriver
    if has_schedules(seed):
        make_driver = partial(ScheduledDriver, graphs)

    def process() -> CheckedDriver:
        disk.begin_again()
        return make_driver(
            max_runs=max_runs, max_calls=max_calls, snapshot_every=every,
            limits={} if purse is None else purse.limits,
        )  # fmt: skip

    dice = rng.randrange(1 << 62)
    world: World = kind(Random(rng.randrange(1 << 62)), random_mood(rng))
    if has_turns(seed):
        world = Asking(Random(f"asks of {seed}"), world)
    if purse is not None:
        world = purse.bills(world, lambda run: runtime.graph_of(run).spec)
    runtime = SimulatedRuntime(
        dice,
        disk,
        world,
        recorder,
        random_faults(rng),
        process,
        graphs,
    )
    specs = _submit(seed, rng, runtime, features, purse, brakes)
    if has_schedules(seed):
        add_schedules(
            runtime, seed, lambda dice: brakes.dress(random_workflow(dice, most=3)), graphs
        )
    crowd = None if features is None else Crowd(Random(f"crowd of {seed}"), runtime, recorder.saw)
    found: list[str] = []
    finished = True
    try:
        finished = _play(runtime, crowd)
    except Exception as error:  # whatever it is, this seed has failed
        found.append(f"{type(error).__name__}: {error}")
    case = case_of(specs, recorder, disk)
    case.finished, case.crashes, case.max_calls = finished, runtime.crashes, max_calls
    case.answered = crowd is not None
    brakes.tell(case)
    if purse is not None:
        purse.tell(case, disk)
    found += _judged(case)
    found += machine_faults(specs, disk, runtime)
    return Outcome(
        seed=seed,
        violations=found,
        trace=runtime.trace,
        tasks=sum(len(spec.tasks) for spec in specs.values()),
        crashes=runtime.crashes,
        events=sum(len(events) for events in case.journal.values()),
    )


def _judged(case: Case) -> list[str]:
    """What the judges say. Evidence that they can make nothing of is wrong, too."""
    try:
        return judge(case) + judge_schedules(case.hive, case.journal)
    except (LookupError, TypeError, ValueError) as error:
        return [f"the judge can make nothing of it: {error!r}"]


def _submit(
    seed: int,
    rng: Random,
    runtime: SimulatedRuntime,
    features: Features | None,
    purse: Purse | None,
    brakes: Brakes,
) -> dict[str, WorkflowSpec]:
    """Submit this seed's runs, some of which are cancelled."""
    specs: dict[str, WorkflowSpec] = {}
    runs = rng.choice((1, 1, 2, 2, 3, 8))
    most = 12 if runs < 8 else 4
    if features is not None:
        runs, most = min(runs, 3), 6
    for number in range(runs):
        run = f"run-{seed}-{number}"
        spec = random_workflow(rng, most=most)
        if features is not None:
            spec = with_flow(Random(f"flow of {run}"), spec, features)
        if has_turns(seed):
            spec = with_turns(Random(f"turns of {run}"), spec, people=features is not None)
        if purse is not None:
            spec = purse.dress(spec)
        spec = brakes.dress(spec)
        specs[run] = spec
        runtime.submit(rng.randrange(0, rng.choice((2, 20, 90)) * SECOND), run, spec, {})
        if rng.random() < 0.15:
            runtime.cancel(rng.randrange(0, 60 * SECOND), run)
    return specs


def _play(runtime: SimulatedRuntime, crowd: Crowd | None) -> bool:
    """Let it happen; in the end, whoever is asked answers."""
    if crowd is None:
        return runtime.run()
    crowd.come_by(VISITS, WITHIN)
    return runtime.run() and crowd.close()


def simulate(
    seeds: Iterable[int], *, stop_after: int = 10, money: bool = False, files: bool = False
) -> list[Outcome]:
    """Run seeds in order; the outcomes, ending early after ``stop_after`` bad ones."""
    outcomes: list[Outcome] = []
    bad = 0
    for seed in seeds:
        outcome = _in_a_file(seed, money=money) if files else simulate_seed(seed, money=money)
        outcomes.append(outcome)
        bad += bool(outcome.violations)
        if bad >= stop_after:
            break
    return outcomes


def _in_a_file(seed: int, *, money: bool) -> Outcome:
    with TemporaryDirectory(prefix="agenthive-") as folder:
        return simulate_seed(seed, money=money, file=Path(folder) / "journal.db")


def main(arguments: list[str] | None = None) -> int:
    """Command line: prints a summary, and the violations of the first bad seeds."""
    parser = argparse.ArgumentParser(prog="simulation", description=main.__doc__)
    parser.add_argument("--seeds", default="0:1000", help="A:B, from A to before B")
    parser.add_argument("--stop-after", type=int, default=10, help="bad seeds to stop after")
    parser.add_argument("--money", action="store_true", help="calls cost something in every seed")
    parser.add_argument("--files", action="store_true", help="journals are SQLite files")
    options = parser.parse_args(arguments)
    first, _, last = options.seeds.partition(":")
    began = time.perf_counter()
    outcomes = simulate(
        range(int(first), int(last)), stop_after=options.stop_after,
        money=options.money, files=options.files,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    bad = [outcome for outcome in outcomes if outcome.violations]
    summary = {
        "seeds": len(outcomes),
        "violations": len(bad),
        "first_bad_seed": bad[0].seed if bad else None,
        "tasks": sum(outcome.tasks for outcome in outcomes),
        "crashes": sum(outcome.crashes for outcome in outcomes),
        "events": sum(outcome.events for outcome in outcomes),
        "seeds_per_second": round(len(outcomes) / seconds, 1),
    }
    sys.stdout.write(msgspec.json.encode(summary).decode() + "\n")
    for outcome in bad:
        sys.stdout.write(f"seed {outcome.seed}: {'; '.join(outcome.violations[:3])}\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
