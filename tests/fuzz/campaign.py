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
from agenthive.core.history.snapshots import SNAPSHOT_INTERVAL
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.values import SECOND
from agenthive.simulation.case import SimulationCase
from agenthive.simulation.oracles.judge import judge
from agenthive.simulation.ports import World
from agenthive.simulation.recording import (
    CheckedDriver,
    Recorder,
    WatchedDisk,
    build_case,
    check_machine_state,
)
from agenthive.simulation.runtime import SimulatedRuntime
from tests.fuzz.budget_fixture import BudgetFixture, has_money
from tests.fuzz.random_flow import Features, random_features, with_flow
from tests.fuzz.random_people import VISIT_PERIOD, VISITS, RandomPeople
from tests.fuzz.random_schedules import ScheduledDriver, add_schedules, has_schedules
from tests.fuzz.random_turns import ToolRequestingWorld, has_turns, with_turns
from tests.fuzz.random_workflows import random_workflow
from tests.fuzz.random_world import FlowWorld, RandomWorld, random_faults, random_rates
from tests.fuzz.rate_limit_fixture import RateLimitFixture
from tests.fuzz.schedule_oracle import judge_schedules
from tests.fuzz.sqlite_disk import SqliteDisk


class SeedResult(msgspec.Struct, kw_only=True):
    """What one seed came to. ``violations`` is empty when every promise held."""

    seed: int
    violations: list[str]
    trace: str
    tasks: int
    crashes: int
    events: int


def simulate_seed(seed: int, *, money: bool = False, file: Path | None = None) -> SeedResult:
    """Run one seed and judge it. ``money``: its calls cost something in any case.

    With ``file`` its journal is in a SQLite file there, which must not be.
    """
    recorder = Recorder()
    if file is None:
        return _run_seed(seed, recorder, WatchedDisk(recorder), money=money)
    disk = SqliteDisk(recorder, file)
    try:
        return _run_seed(seed, recorder, disk, money=money)
    finally:
        disk.close()


def _run_seed(seed: int, recorder: Recorder, disk: WatchedDisk, *, money: bool) -> SeedResult:
    rng = Random(seed)
    features = random_features(seed)
    max_calls = rng.choice((1, 3, 8, 1000))
    max_runs = rng.choice((1, 2, 100))
    world_type = RandomWorld if features is None else FlowWorld
    graphs: dict[str, Graph] = {}
    snapshot_interval = Random(f"snapshots {seed}").choice((2, 20, SNAPSHOT_INTERVAL))
    budget = BudgetFixture(seed) if money or has_money(seed) else None
    rate_limits = RateLimitFixture(seed)
    make_driver: Callable[..., CheckedDriver] = CheckedDriver
    if has_schedules(seed):
        make_driver = partial(ScheduledDriver, graphs)

    def make_process() -> CheckedDriver:
        disk.reopen()
        return make_driver(
            max_runs=max_runs,
            max_calls=max_calls,
            snapshot_every=snapshot_interval,
            limits={} if budget is None else budget.limits,
        )

    dice = rng.randrange(1 << 62)
    world: World = world_type(Random(rng.randrange(1 << 62)), random_rates(rng))
    if has_turns(seed):
        world = ToolRequestingWorld(Random(f"asks of {seed}"), world)
    if budget is not None:
        world = budget.wrap_world(world, lambda run: runtime.find_graph(run).spec)
    runtime = SimulatedRuntime(
        dice,
        disk,
        world,
        recorder,
        random_faults(rng),
        make_process,
        graphs,
    )
    specs = _submit_runs(seed, rng, runtime, features, budget, rate_limits)
    if has_schedules(seed):
        add_schedules(
            runtime,
            seed,
            lambda dice: rate_limits.add_limits(random_workflow(dice, max_tasks=3)),
            graphs,
        )
    people = (
        None
        if features is None
        else RandomPeople(Random(f"crowd of {seed}"), runtime, recorder.observe)
    )
    violations: list[str] = []
    finished = True
    try:
        finished = _run_to_end(runtime, people)
    except Exception as error:  # whatever it is, this seed has failed
        violations.append(f"{type(error).__name__}: {error}")
    case = build_case(specs, recorder, disk)
    case.finished, case.crashes, case.max_calls = finished, runtime.crashes, max_calls
    case.people_answered = people is not None
    rate_limits.fill_case(case)
    if budget is not None:
        budget.fill_case(case, disk)
    violations += _judge_case(case)
    violations += check_machine_state(specs, disk, runtime)
    return SeedResult(
        seed=seed,
        violations=violations,
        trace=runtime.trace,
        tasks=sum(len(spec.tasks) for spec in specs.values()),
        crashes=runtime.crashes,
        events=sum(len(events) for events in case.journal.values()),
    )


def _judge_case(case: SimulationCase) -> list[str]:
    """What the judges say. Evidence that they can make nothing of is wrong, too."""
    try:
        return judge(case) + judge_schedules(case.hive, case.journal)
    except (LookupError, TypeError, ValueError) as error:
        return [f"the judge can make nothing of it: {error!r}"]


def _submit_runs(
    seed: int,
    rng: Random,
    runtime: SimulatedRuntime,
    features: Features | None,
    budget: BudgetFixture | None,
    rate_limits: RateLimitFixture,
) -> dict[str, WorkflowSpec]:
    """Submit this seed's runs, some of which are cancelled."""
    specs: dict[str, WorkflowSpec] = {}
    runs = rng.choice((1, 1, 2, 2, 3, 8))
    max_tasks = 12 if runs < 8 else 4
    if features is not None:
        runs, max_tasks = min(runs, 3), 6
    for number in range(runs):
        run = f"run-{seed}-{number}"
        spec = random_workflow(rng, max_tasks=max_tasks)
        if features is not None:
            spec = with_flow(Random(f"flow of {run}"), spec, features)
        if has_turns(seed):
            spec = with_turns(Random(f"turns of {run}"), spec, people=features is not None)
        if budget is not None:
            spec = budget.add_budgets(spec)
        spec = rate_limits.add_limits(spec)
        specs[run] = spec
        runtime.submit(rng.randrange(0, rng.choice((2, 20, 90)) * SECOND), run, spec, {})
        if rng.random() < 0.15:
            runtime.cancel(rng.randrange(0, 60 * SECOND), run)
    return specs


def _run_to_end(runtime: SimulatedRuntime, people: RandomPeople | None) -> bool:
    """Let it happen; in the end, whoever is asked answers."""
    if people is None:
        return runtime.run()
    people.schedule_visits(VISITS, VISIT_PERIOD)
    return runtime.run() and people.answer_everything()


def run_campaign(
    seeds: Iterable[int], *, stop_after: int = 10, money: bool = False, files: bool = False
) -> list[SeedResult]:
    """Run seeds in order; the outcomes, ending early after ``stop_after`` bad ones."""
    outcomes: list[SeedResult] = []
    bad = 0
    for seed in seeds:
        outcome = (
            _simulate_in_file(seed, money=money) if files else simulate_seed(seed, money=money)
        )
        outcomes.append(outcome)
        bad += bool(outcome.violations)
        if bad >= stop_after:
            break
    return outcomes


def _simulate_in_file(seed: int, *, money: bool) -> SeedResult:
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
    start = time.perf_counter()
    outcomes = run_campaign(
        range(int(first), int(last)),
        stop_after=options.stop_after,
        money=options.money,
        files=options.files,
    )
    seconds = time.perf_counter() - start
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
