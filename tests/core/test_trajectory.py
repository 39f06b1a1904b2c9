"""Whether what models ask for gets anywhere: what is warned of, what is stopped, what is fine."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agenthive.core.policies.loop_detection import LoopVerdict, Trajectory
from agenthive.core.values import JSONObject


def judged(path: Trajectory, *calls: tuple[str, JSONObject], most: int = 99) -> LoopVerdict:
    return path.assess_turn([(tool, arguments, most) for tool, arguments in calls], 0)


def test_arguments_in_another_order_are_the_same() -> None:
    path = Trajectory()
    judged(path, ("a", {"x": 1, "y": 2}))
    assert not path.has_new_call([("a", {"y": 2, "x": 1}, 1)])
    assert path.has_new_call([("a", {"x": 1}, 1), ("a", {"x": 1, "y": 2}, 1)])


def test_one_turn_may_ask_too_often() -> None:
    verdict = judged(Trajectory(), *[("a", {})] * 3, most=2)
    assert verdict.stop == "'a' was requested 3 times with the same arguments, 2 are allowed"


def test_repeats() -> None:
    path = Trajectory()
    found = [judged(path, ("a", {}), most=4) for _ in range(5)]
    assert [bool(one.warning) for one in found] == [False, False, True, True, False]
    assert [bool(one.stop) for one in found] == [False, False, False, False, True]


def test_a_circle_of_four() -> None:
    path = Trajectory()
    circle = [("a", {}), ("b", {}), ("a", {}), ("c", {})]
    found = [judged(path, call) for _ in range(4) for call in circle]  # type: ignore[arg-type]
    assert [i for i, one in enumerate(found) if one.warning] == [11, 12, 13, 14]
    assert [i for i, one in enumerate(found) if one.stop] == [15]


def test_what_is_kept_is_bounded() -> None:
    path = Trajectory()
    for number in range(1000):
        judged(path, ("a", {"n": number}))
    assert len(path.recent) == 16


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers()), max_size=200))
def test_what_is_always_new_is_never_blamed(calls: list[tuple[str, int]]) -> None:
    path = Trajectory()
    for number, (tool, n) in enumerate(calls):
        assert judged(path, (tool, {"n": n, "number": number})) == LoopVerdict()
