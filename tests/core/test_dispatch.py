"""The ready queue: what goes first, who gets a slot, and that nobody starves.

The last tests drive it at random beside a slow model that looks at everything anew each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from agenthive.core.engine.ready_queue import UNLIMITED, ReadyQueue


def queue(capacity: int = UNLIMITED, *, runs: dict[str, int], **lanes: int | None) -> ReadyQueue:
    made = ReadyQueue(capacity)
    for name, slots in (lanes or {"a": None}).items():
        made.get_lane(name, slots)
    for run, most in runs.items():
        made.add_run(run, most)
    return made


def drain(made: ReadyQueue) -> list[tuple[str, int]]:
    """Everything that may start now."""
    found = []
    while (picked := made.pick_task()) is not None:
        found.append(picked[:2])
    return found


def test_empty() -> None:
    assert ReadyQueue().pick_task() is None
    assert queue(runs={"r": 1}).pick_task() is None


def test_gives_run_task_and_lane() -> None:
    made = queue(runs={"r": 1}, a=None, b=None)
    made.offer_task("r", 7, "b", 5, 1.0)
    assert made.pick_task() == ("r", 7, "b")
    assert made.pick_task() is None


def test_priority_before_rank_before_age() -> None:
    made = queue(runs={"r": 10})
    for number, (priority, rank) in enumerate([(5, 1.0), (5, 9.0), (9, 0.0), (5, 9.0), (1, 99.0)]):
        made.offer_task("r", number, "a", priority, rank)
    assert [task for _, task in drain(made)] == [2, 1, 3, 0, 4]


def test_priority_counts_across_runs_and_lanes() -> None:
    made = queue(runs={"r": 10, "s": 10}, a=None, b=None)
    made.offer_task("r", 0, "a", 5, 9.0)
    made.offer_task("s", 1, "a", 6, 0.0)
    made.offer_task("r", 2, "b", 7, 0.0)
    assert drain(made) == [("r", 2), ("s", 1), ("r", 0)]


def test_a_better_task_that_comes_later_moves_its_run_forward() -> None:
    made = queue(runs={"r": 10, "s": 10})
    made.offer_task("r", 0, "a", 5, 0.0)
    made.offer_task("s", 1, "a", 5, 0.0)
    made.offer_task("s", 2, "a", 10, 0.0)
    assert drain(made) == [("s", 2), ("r", 0), ("s", 1)]


def test_runs_take_turns() -> None:
    made = queue(runs={"r": 10, "s": 10})
    for number in range(3):
        made.offer_task("r", number, "a", 5, 0.0)
    for number in range(3):
        made.offer_task("s", number, "a", 5, 0.0)
    assert [run for run, _ in drain(made)] == ["r", "s"] * 3


def test_who_comes_late_gets_no_credit() -> None:
    made = queue(1, runs={"r": 99})
    for number in range(20):
        made.offer_task("r", number, "a", 5, 0.0)
    for _ in range(10):
        made.pick_task()
        made.release_slots("r", "a")
    made.add_run("late", 99)
    for number in range(10):
        made.offer_task("late", number, "a", 5, 0.0)
    order = []
    while (picked := made.pick_task()) is not None:
        order.append(picked[0])
        made.release_slots(picked[0], "a")
    assert order[:8].count("late") in (4, 5)
    assert len(order) == 20


@pytest.mark.parametrize(
    ("capacity", "run", "lane", "expected"),
    [(2, 9, 9, 2), (9, 2, 9, 2), (9, 9, 2, 2), (9, 9, None, 5), (9, 0, 9, 1)],
)
def test_every_bound_holds(capacity: int, run: int, lane: int | None, expected: int) -> None:
    made = queue(capacity, runs={"r": run}, a=lane)
    for number in range(5):
        made.offer_task("r", number, "a", 5, 0.0)
    assert len(drain(made)) == expected
    made.release_slots("r", "a")
    assert len(drain(made)) == (1 if expected < 5 else 0)


def test_a_lane_that_is_made_again_keeps_its_slots() -> None:
    made = queue(runs={"r": 9}, a=1)
    assert made.get_lane("a", 5) is made.get_lane("a")
    for number in range(3):
        made.offer_task("r", number, "a", 5, 0.0)
    assert len(drain(made)) == 1


def test_a_full_lane_lets_the_run_go_on_elsewhere() -> None:
    made = queue(runs={"r": 9}, a=1, b=None)
    made.offer_task("r", 0, "a", 9, 0.0)
    made.offer_task("r", 1, "a", 9, 0.0)
    made.offer_task("r", 2, "b", 1, 0.0)
    assert drain(made) == [("r", 0), ("r", 2)]
    made.release_slots("r", "a")
    assert drain(made) == [("r", 1)]


def test_closed_and_opened() -> None:
    made = queue(runs={"r": 9, "s": 9})
    made.close_lane("a")
    made.offer_task("r", 0, "a", 5, 0.0)
    made.offer_task("s", 1, "a", 5, 0.0)
    assert drain(made) == []
    made.open_lane("a")
    assert drain(made) == [("r", 0), ("s", 1)]


def test_a_lane_goes_to_who_waited_longest() -> None:
    made = queue(runs={"r": 9, "s": 9, "t": 9}, a=1)
    for number, run in enumerate("rst"):
        made.offer_task(run, number, "a", 5, 0.0)
    order = []
    while (picked := made.pick_task()) is not None:
        order.append(picked[0])
        made.release_slots(picked[0], "a")
    assert order == ["r", "s", "t"]


def test_leaving_gives_everything_back() -> None:
    made = queue(2, runs={"r": 2, "s": 9}, a=2)
    for number in range(3):
        made.offer_task("r", number, "a", 5, 0.0)
        made.offer_task("s", 10 + number, "a", 1, 0.0)
    assert drain(made) == [("r", 0), ("r", 1)]
    made.remove_run("r")
    made.remove_run("r")
    assert drain(made) == [("s", 10), ("s", 11)]
    assert made.used == 2
    made.release_slots("r", "a")
    assert made.used == 2
    assert drain(made) == []


def test_reranked() -> None:
    made = queue(runs={"r": 9})
    for number, rank in enumerate((1.0, 2.0, 3.0)):
        made.offer_task("r", number, "a", 5, rank)
    made.update_ranks("r", [9.0, 1.0, 5.0].__getitem__)
    made.update_ranks("nobody", [].__getitem__)
    assert [task for _, task in drain(made)] == [0, 2, 1]


def test_a_run_that_is_full_does_not_keep_a_lane_from_others() -> None:
    made = queue(runs={"r": 1, "s": 9, "t": 9}, a=1, b=None)
    made.offer_task("t", 0, "a", 5, 0.0)
    assert drain(made) == [("t", 0)]
    for number, run in enumerate("rs", 1):
        made.offer_task(run, number, "a", 5, 0.0)
        assert drain(made) == []
    made.offer_task("r", 3, "b", 5, 0.0)
    assert drain(made) == [("r", 3)]
    made.release_slots("t", "a")
    assert drain(made) == [("s", 2)]


def test_a_run_that_chooses_another_lane_lets_the_next_one_have_this() -> None:
    made = queue(runs={"r": 1, "s": 9, "t": 9}, a=1, b=None)
    made.offer_task("t", 0, "a", 5, 0.0)
    assert drain(made) == [("t", 0)]
    for number, run in enumerate("rs", 1):
        made.offer_task(run, number, "a", 5, 0.0)
        assert drain(made) == []
    made.release_slots("t", "a")
    made.offer_task("r", 3, "b", 9, 0.0)
    assert drain(made) == [("r", 3), ("s", 2)]


def test_who_has_had_more_waits_for_who_has_had_less() -> None:
    made = queue(runs={"r": 99, "s": 99})
    for number in range(3):
        made.offer_task("r", number, "a", 5, 0.0)
    assert len(drain(made)) == 3
    for number in range(5):
        made.offer_task("r", number, "a", 5, 0.0)
        made.offer_task("s", number, "a", 5, 0.0)
    order = "".join(run for run, _ in drain(made))
    assert order.startswith("sss")
    assert sorted(order) == ["r"] * 5 + ["s"] * 5
    assert order[3:7].count("r") == 2


def test_who_comes_late_begins_where_the_others_are() -> None:
    made = queue(runs={"r": 99})
    for number in range(4):
        made.offer_task("r", number, "a", 5, 0.0)
    assert len(drain(made)) == 4
    made.add_run("s", 99)
    for number in range(4):
        made.offer_task("r", number, "a", 5, 0.0)
        made.offer_task("s", number, "a", 5, 0.0)
    assert "".join(run for run, _ in drain(made)) == "srsrsrsr"


def test_a_run_that_waits_elsewhere_gets_no_credit_for_it() -> None:
    """What counts is what a run has been given, whatever its agents let through meanwhile."""
    made = queue(runs={"r": 99, "s": 99}, a=None, b=None)
    made.close_lane("b")
    made.offer_task("s", 0, "b", 5, 0.0)
    assert drain(made) == []
    made.open_lane("b")
    made.offer_task("r", 1, "a", 5, 0.0)
    assert drain(made) == [("s", 0), ("r", 1)]


# Against a slow model.

RUNS, LANES = ("r0", "r1", "r2"), ("l0", "l1", "l2")


class Model:
    """What is ready and under way, with no index at all."""

    def __init__(self, capacity: int, runs: dict[str, int], lanes: dict[str, int]) -> None:
        self.capacity, self.runs, self.lanes = capacity, dict(runs), lanes
        self.closed: set[str] = set()
        self.ready: list[tuple[str, int, str, int, float]] = []
        self.under_way: list[tuple[str, str]] = []

    def startable(self) -> list[tuple[str, int, str, int, float]]:
        if len(self.under_way) >= self.capacity:
            return []
        return [one for one in self.ready if self._fits(one[0], one[2])]

    def _fits(self, run: str, lane: str) -> bool:
        in_run = sum(1 for one, _ in self.under_way if one == run)
        in_lane = sum(1 for _, one in self.under_way if one == lane)
        fits = in_run < self.runs[run] and in_lane < self.lanes[lane]
        return fits and lane not in self.closed

    def started(self, run: str, number: int, lane: str) -> None:
        one = next(x for x in self.ready if x[:3] == (run, number, lane))
        self.ready.remove(one)
        self.under_way.append((run, lane))


def script(rng: Random) -> Iterator[tuple[object, ...]]:
    """Mostly offers and releases, so that slots are contended for; now and then something rare."""
    for _ in range(40):
        run, lane = rng.choice(RUNS), rng.choice(LANES)
        match rng.choices(("offer", "release", "pick", "lane", "run"), (8, 6, 3, 1, 0.5))[0]:
            case "offer":
                yield "offer", run, lane, rng.randint(1, 3), rng.choice((0.0, 1.0, 2.0))
            case "release":
                yield "release", rng.randrange(20)
            case "pick":
                yield ("pick",)
            case "lane":
                yield rng.choice(("close", "open")), lane
            case "run":
                yield rng.choice(("leave", "join")), run


@pytest.mark.parametrize("block", range(10))
def test_like_the_model(block: int) -> None:
    for seed in range(block * 100, block * 100 + 100):
        rng = Random(seed)
        runs = {run: rng.choice((1, 1, 2, 9)) for run in RUNS}
        lanes = {lane: rng.choice((1, 1, 2, 9)) for lane in LANES}
        capacity, eager = rng.choice((1, 2, 5, 9)), rng.random() < 0.7
        made, model = queue(capacity, runs=runs, **lanes), Model(capacity, runs, lanes)
        for number, step in enumerate(script(rng)):
            play(made, model, number, step, runs)
            while eager and pick(made, model):
                pass
            assert made.used == len(model.under_way), seed
        finish(made, model)
        assert model.ready == [], f"seed {seed}: something starved"


def finish(made: ReadyQueue, model: Model) -> None:
    """Open everything and let all calls end, one after the other."""
    for lane in LANES:
        made.open_lane(lane)
    model.closed.clear()
    while pick(made, model) or model.under_way:
        run, lane = model.under_way.pop(0)
        made.release_slots(run, lane)


def play(
    made: ReadyQueue,
    model: Model,
    number: int,
    step: tuple[object, ...],
    runs: dict[str, int],
) -> None:
    match step:
        case ("offer", str(run), str(lane), int(priority), float(rank)) if run in model.runs:
            made.offer_task(run, number, lane, priority, rank)
            model.ready.append((run, number, lane, priority, rank))
        case ("pick",):
            pick(made, model)
        case ("drain",):
            while pick(made, model):
                pass
        case ("release", int(which)) if model.under_way:
            run, lane = model.under_way.pop(which % len(model.under_way))
            made.release_slots(run, lane)
        case ("close", str(lane)):
            made.close_lane(lane)
            model.closed.add(lane)
        case ("open", str(lane)):
            made.open_lane(lane)
            model.closed.discard(lane)
        case ("leave", str(run)):
            made.remove_run(run)
            model.runs.pop(run, None)
            model.ready = [one for one in model.ready if one[0] != run]
            model.under_way = [one for one in model.under_way if one[0] != run]
        case ("join", str(run)) if run not in model.runs:
            made.add_run(run, runs[run])
            model.runs[run] = runs[run]


def pick(made: ReadyQueue, model: Model) -> bool:
    """What the queue picks may start, and is the best of its run; None only if nothing may."""
    allowed = model.startable()
    picked = made.pick_task()
    if picked is None:
        assert allowed == [], "a free slot was left unused"
        return False
    run, number, lane = picked
    chosen = next(one for one in allowed if one[:3] == (run, number, lane))
    mine = [one for one in allowed if one[0] == run]
    best = max(mine, key=lambda one: (one[3], one[4], -one[1]))
    assert chosen == best
    model.started(run, number, lane)
    return True
