"""The critical path is walked back from the end over what each task waited for longest."""

from __future__ import annotations

from agenthive.insights.critical_path import critical_path

DEPS = [(), (), (0, 1), (0,), (2, 3)]


def test_the_longest_way() -> None:
    assert critical_path(DEPS, {0: 5, 1: 9, 2: 12, 3: 30, 4: 31}) == [0, 3, 4]
    assert critical_path(DEPS, {0: 5, 1: 9, 2: 40, 3: 30, 4: 41}) == [1, 2, 4]


def test_what_never_began_is_not_on_it() -> None:
    assert critical_path(DEPS, {0: 5, 1: 9}) == [1]
    assert critical_path(DEPS, {0: 5, 3: 8, 4: 9}) == [0, 3, 4]
    assert critical_path(DEPS, {}) == []


def test_of_two_at_the_same_time_the_first() -> None:
    assert critical_path(DEPS, {0: 5, 1: 5, 2: 6}) == [0, 2]
