"""What a run learns about durations, and how that orders what is ready."""

from __future__ import annotations

from agenthive.core.graph.estimates import CHECKPOINTS, MAX_KINDS, Estimates
from agenthive.core.graph.graph import Graph
from tests.core.rig import flow, task, undo


def learnt(*observed: tuple[int, float], declared: float | None = None) -> list[float] | None:
    """Two kinds: a1 -> b1 -> a2, of agents a and b; the last ranks that were given."""
    graph = Graph(
        flow(
            task("a1"),
            task("b1", "a1", agent="b", estimated_duration=declared),
            task("a2", "b1"),
        )
    )
    estimates, ranks = Estimates(graph), None
    for index, seconds in observed:
        ranks = estimates.record_duration(index, seconds)
    return ranks


def test_the_mean_of_a_kind_stands_for_its_others() -> None:
    assert learnt((0, 4.0)) == [12.0, 8.0, 4.0], "an unknown kind takes the mean of the known"
    assert learnt((0, 4.0), (1, 10.0)) == [18.0, 14.0, 4.0]
    assert learnt((0, 4.0), (2, 6.0), (0, 5.0), (0, 9.0)) == [18.0, 12.0, 6.0]


def test_what_is_not_known_takes_the_mean_of_what_is() -> None:
    graph = Graph(flow(*(task(name, agent=name) for name in "abc")))
    estimates = Estimates(graph)
    assert estimates.record_duration(0, 4.0) == [4.0, 4.0, 4.0]
    assert estimates.record_duration(1, 8.0) == [4.0, 8.0, 6.0]


def test_where_all_is_declared_nothing_is_learnt() -> None:
    declared = [task(name, agent=name, estimated_duration=1.0) for name in "ab"]
    assert not Estimates(Graph(flow(*declared))).useful
    assert Estimates(Graph(flow(*declared, task("c", agent="c")))).useful


def test_declared_durations_are_never_overruled() -> None:
    assert learnt((0, 4.0), declared=100.0) == [108.0, 104.0, 4.0]
    assert learnt((0, 4.0), (1, 1.0), declared=100.0) == [108.0, 104.0, 4.0]


def test_looked_at_only_now_and_then() -> None:
    graph = Graph(flow(task("a"), task("b", agent="b")))
    estimates = Estimates(graph)
    told = [n for n in range(1, 300) if estimates.record_duration(0, 1.0) is not None]
    assert told == sorted(CHECKPOINTS) == [1, 4, 16, 64, 256]


def test_alike_tasks_teach_nothing() -> None:
    assert Estimates(Graph(flow(task("a"), task("b")))).record_duration(0, 5.0) is None
    assert Estimates(Graph(flow())).record_duration(0, 5.0) is None


def kinds(count: int) -> Graph:
    return Graph(flow(*(task(f"t{n}", agent=f"a{n}") for n in range(count))))


def test_too_many_kinds_keep_their_first_order() -> None:
    assert Estimates(kinds(MAX_KINDS)).record_duration(0, 5.0) is not None
    assert Estimates(kinds(MAX_KINDS + 1)).record_duration(0, 5.0) is None
    assert Estimates(kinds(2)).record_duration(0, 5.0) is not None


def test_compensations_teach_nothing() -> None:
    graph = Graph(flow(task("a", compensate=undo()), task("b", agent="b")))
    assert Estimates(graph).record_duration(2, 5.0) is None
