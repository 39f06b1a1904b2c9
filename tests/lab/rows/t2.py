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
from tests.lab.kills.server import Crashed, Subject, hunt, subject
from tests.lab.result import Result, Say, jobs
from tests.planted.bugs import find_bug

ROW = "T2"
WHAT = "real processes, kill -9 at every crash point and at random under fifty runs"
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
    "acknowledge_before_commit", "act_before_intent", "compensate_in_order",
    "end_before_compensating", "forget_a_result", "forget_after_refuse", "ignore_cancel",
    "ignore_stop", "lose_a_cancel", "lose_a_timer", "lose_a_verdict", "lose_an_early_signal",
    "losses_count_as_attempts", "new_key_on_retry", "one_key_for_all_items",
    "overrun_agent_slots", "overrun_run_slots", "retry_once_after_a_crash",
    "retry_once_after_a_time_out", "retry_too_soon", "skip_a_started_task",
    "start_a_dependent_early", "start_after_a_failure", "take_over_nothing_queued",
}  # fmt: skip
"""The planted bugs that show in real processes this soon; the simulator finds the others too."""
BEYOND = ("answer_before_commit", "refused_is_written")
"""And bugs in what the simulator does not use: the store on disk, the embedded runtime."""


class Plan(NamedTuple):
    """Crashes of one hive, for these units."""

    units: list[int]
    scenario: str
    points: list[int]
    after: list[float]


class Done(NamedTuple):
    """What came of a plan."""

    plan: Plan
    crashed: list[Crashed]


def run(units: range, *, say: Say) -> Result:
    """Kill that often."""
    began = time.monotonic()
    caught = hunts(say)
    places = crash_points()
    plans = list(planned(units, places))
    started = time.monotonic()
    done = carried_out(plans, say)
    took = time.monotonic() - started
    crashed = [one for each in done for one in each.crashed]
    kills = sum(one.kills for one in crashed)
    ready = sorted(seconds for one in crashed for seconds in one.ready) or [0.0]
    return Result(
        row=ROW,
        first=units.start,
        last=units.stop,
        count=sum(len(each.plan.units) for each in done if sum(c.kills for c in each.crashed)),
        violations=[
            f"{each.plan}: {line}" for each in done for one in each.crashed for line in one.wrong
        ],
        planted=caught,
        figures={
            "kills": kills,
            "kills at a random moment": sum(
                c.kills for each in done for c in each.crashed if each.plan.after
            ),
            "calls repeated, all in flight or failed": sum(one.repeated for one in crashed),
            "crash points of the reference workflows": str(_of_reference(places)),
            "restart p99, ms": round(1000 * ready[int(len(ready) * 0.99)], 1),
            "kills a second": round(kills / took, 1),
        },
        seconds=round(time.monotonic() - began, 1),
    )


def _of_reference(places: list[tuple[str, int]]) -> int:
    return sum(scenario in REFERENCE for scenario, _ in places)


def crash_points() -> list[tuple[str, int]]:
    """Every crash point of the reference workflows, in any order; then those of the other hive."""
    rng = Random(1)
    with subject() as one:
        sizes = {name: one.crash(name).points for name in (*REFERENCE, "mixed")}
    places = [(name, n + 1) for name in REFERENCE for n in range(sizes[name])]
    rng.shuffle(places)
    others = [("mixed", n + 1) for n in range(sizes["mixed"])]
    rng.shuffle(others)
    return places + others


def planned(units: range, places: list[tuple[str, int]]) -> Iterator[Plan]:
    """What these units mean."""
    at_random: dict[int, list[int]] = {}
    for unit in units:
        block, rest = divmod(unit, RANDOM)
        if rest == RANDOM - 1:
            at_random.setdefault(block // A_HIVE, []).append(unit)
            continue
        turn, place = divmod(block * (RANDOM - 1) + rest, len(places))
        scenario, point = places[place]
        more = Random(unit).randint(1, 2 * point)
        yield Plan([unit], scenario, [point, *([more] if turn else [])], [])
    for hive, chosen in at_random.items():
        rng = Random(hive)
        yield Plan(chosen, "crowd", [], [rng.uniform(0.005, 0.15) for _ in chosen])


def carried_out(plans: list[Plan], say: Say) -> list[Done]:
    """In as many processes as are allowed."""
    found: list[Done] = []

    def work(mine: Iterable[Plan]) -> None:
        with subject() as one:
            for plan in mine:
                found.append(Done(plan, crashed(one, plan)))
                say(f"{sum(len(each.plan.units) for each in found)} units done")

    with ThreadPoolExecutor(jobs()) as pool:
        for ended in [pool.submit(work, plans[n :: jobs()]) for n in range(jobs())]:
            ended.result()
    return found


def crashed(one: Subject, plan: Plan) -> list[Crashed]:
    """Crash as planned. A life may be over before its crash, since time plays a part: then again,
    earlier, until it was killed as often as there are units.
    """
    found: list[Crashed] = []
    points, after = plan.points, plan.after
    for _ in range(20):
        found.append(one.crash(plan.scenario, points, after))
        kills = sum(c.kills for c in found)
        if kills >= len(plan.units) or found[-1].wrong:
            break
        points = [max(1, point * 3 // 4) for point in points]
        after = plan.after[kills:]
    return found


def hunts(say: Say) -> dict[str, int | None]:
    """Each planted bug that kills show, and how many of them it took."""
    found = records.planted(ROW, sources.harness())
    left = [find_bug(name) for name in (*sorted(BY_KILLS), *BEYOND) if name not in found]
    with ThreadPoolExecutor(jobs()) as pool:
        for bug, (kills, _) in zip(left, pool.map(lambda bug: hunt(bug, HUNT), left), strict=True):
            found[bug.name] = kills
            say(f"{bug.name}: {kills} kills")
    return found
