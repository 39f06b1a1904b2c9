"""T2: real processes and kill -9, with an oracle that imports nothing of agenthive.

Four of five units crash a process at one of its crash points: first every point of the five
reference workflows, then every point of a hive in which much goes wrong at once; round after round,
from the second on with another crash on top. Every fifth unit kills a process with fifty concurrent
runs at a random moment, ten times a hive. Planted bugs are looked for with the same means.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import NamedTuple

from tests.lab import records, sources
from tests.lab.kills.flows import REFERENCE
from tests.lab.kills.server import CrashResult, KillTarget, hunt_bug, start_target
from tests.lab.result import Result, Say, jobs
from tests.planted.bugs import find_bug

ROW = "T2"
WHAT = "real processes, kill -9 at every crash point and at random times with fifty runs"
GATE = range(200)
NIGHTLY = range(5_000)
UNIT = "kills"
CHUNK = 500
RANDOM = 5
"""Of so many units one is a kill at a random moment."""
A_HIVE = 10
"""Random kills of one hive."""
HUNT = 60
"""Crashes within which a planted bug must be caught."""
BY_KILLS = {
    "acknowledge_before_commit",
    "act_before_intent",
    "compensate_in_order",
    "end_before_compensating",
    "forget_a_result",
    "forget_after_refuse",
    "ignore_cancel",
    "ignore_stop",
    "lose_a_cancel",
    "lose_a_timer",
    "lose_a_verdict",
    "lose_an_early_signal",
    "losses_count_as_attempts",
    "new_key_on_retry",
    "one_key_for_all_items",
    "overrun_agent_slots",
    "overrun_run_slots",
    "retry_once_after_a_crash",
    "retry_once_after_a_time_out",
    "retry_too_soon",
    "skip_a_started_task",
    "start_a_dependent_early",
    "start_after_a_failure",
    "take_over_nothing_queued",
}
"""The planted bugs that show in real processes this soon; the simulator finds the others too."""
BEYOND = ("answer_before_commit", "refused_is_written")
"""And bugs in what the simulator does not use: the store on disk, the embedded runtime."""


class CrashPlan(NamedTuple):
    """Crashes of one hive, for these units."""

    units: list[int]
    scenario: str
    points: list[int]
    after: list[float]


class PlanResult(NamedTuple):
    """What came of a plan."""

    plan: CrashPlan
    crashes: list[CrashResult]


def run(units: range, *, say: Say) -> Result:
    """Kill that often."""
    start = time.monotonic()
    caught = hunt_bugs(say)
    places = list_crash_points()
    plans = list(plan_units(units, places))
    started = time.monotonic()
    results = run_plans(plans, say)
    elapsed = time.monotonic() - started
    crashes = [crash for result in results for crash in result.crashes]
    kills = sum(crash.kills for crash in crashes)
    ready = sorted(seconds for crash in crashes for seconds in crash.ready_times) or [0.0]
    return Result(
        row=ROW,
        first=units.start,
        last=units.stop,
        count=sum(
            len(result.plan.units) for result in results if sum(c.kills for c in result.crashes)
        ),
        violations=[
            f"{result.plan}: {line}"
            for result in results
            for crash in result.crashes
            for line in crash.problems
        ],
        planted=caught,
        figures={
            "kills": kills,
            "kills at a random moment": sum(
                c.kills for result in results for c in result.crashes if result.plan.after
            ),
            "calls repeated, all in flight or failed": sum(
                crash.repeated_calls for crash in crashes
            ),
            "crash points of the reference workflows": str(_count_reference(places)),
            "restart p99, ms": round(1000 * ready[int(len(ready) * 0.99)], 1),
            "kills a second": round(kills / elapsed, 1),
        },
        seconds=round(time.monotonic() - start, 1),
    )


def _count_reference(places: list[tuple[str, int]]) -> int:
    return sum(scenario in REFERENCE for scenario, _ in places)


def list_crash_points() -> list[tuple[str, int]]:
    """Every crash point of the reference workflows, in any order; then those of the other hive."""
    rng = Random(1)
    with start_target() as victim:
        sizes = {name: victim.crash(name).points for name in (*REFERENCE, "mixed")}
    places = [(name, n + 1) for name in REFERENCE for n in range(sizes[name])]
    rng.shuffle(places)
    others = [("mixed", n + 1) for n in range(sizes["mixed"])]
    rng.shuffle(others)
    return places + others


def plan_units(units: range, places: list[tuple[str, int]]) -> Iterator[CrashPlan]:
    """What these units mean."""
    at_random: dict[int, list[int]] = {}
    for unit in units:
        block, remainder = divmod(unit, RANDOM)
        if remainder == RANDOM - 1:
            at_random.setdefault(block // A_HIVE, []).append(unit)
            continue
        turn, place = divmod(block * (RANDOM - 1) + remainder, len(places))
        scenario, point = places[place]
        second_point = Random(unit).randint(1, 2 * point)
        yield CrashPlan([unit], scenario, [point, *([second_point] if turn else [])], [])
    for hive, chosen in at_random.items():
        rng = Random(hive)
        yield CrashPlan(chosen, "crowd", [], [rng.uniform(0.005, 0.15) for _ in chosen])


def run_plans(plans: list[CrashPlan], say: Say) -> list[PlanResult]:
    """In as many processes as are allowed."""
    results: list[PlanResult] = []

    def run_share(share: Iterable[CrashPlan]) -> None:
        with start_target() as victim:
            for plan in share:
                results.append(PlanResult(plan, crash_hive(victim, plan)))
                say(f"{sum(len(result.plan.units) for result in results)} units done")

    with ThreadPoolExecutor(jobs()) as pool:
        for future in [pool.submit(run_share, plans[n :: jobs()]) for n in range(jobs())]:
            future.result()
    return results


def crash_hive(victim: KillTarget, plan: CrashPlan) -> list[CrashResult]:
    """Crash as planned. A life may be over before its crash, since time plays a part: then again,
    earlier, until it was killed as often as there are units.
    """
    crashes: list[CrashResult] = []
    points, after = plan.points, plan.after
    for _ in range(20):
        crashes.append(victim.crash(plan.scenario, points, after))
        kills = sum(c.kills for c in crashes)
        if kills >= len(plan.units) or crashes[-1].problems:
            break
        points = [max(1, point * 3 // 4) for point in points]
        after = plan.after[kills:]
    return crashes


def hunt_bugs(say: Say) -> dict[str, int | None]:
    """Each planted bug that kills show, and how many of them it took."""
    caught = records.caught_bugs(ROW, sources.harness_digest())
    remaining = [find_bug(name) for name in (*sorted(BY_KILLS), *BEYOND) if name not in caught]
    with ThreadPoolExecutor(jobs()) as pool:
        for bug, (kills, _) in zip(
            remaining, pool.map(lambda bug: hunt_bug(bug, HUNT), remaining), strict=True
        ):
            caught[bug.name] = kills
            say(f"{bug.name}: {kills} kills")
    return caught
