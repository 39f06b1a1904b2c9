"""The story of a task: its facts, those of what it depends on, those of its run."""

from __future__ import annotations

import pytest

from agenthive.core.history.story import StoryLine, build_story, describe_event, event_type
from agenthive.core.journal import run_events as ev
from tests.core.rig import AT_ONCE, FAULT, START, Bench, flow, task

TEXTS: list[tuple[ev.Event, str, str]] = [
    (ev.RunStarted(at=1), "run.started", "started"),
    (ev.RunTimeoutReached(at=1), "run.timed_out", "timed out"),
    (ev.RunResumed(at=1, away=5), "run.resumed", "resumed"),
    (
        ev.RunClockStepped(at=1, by=-90_000_000),
        "run.clock_stepped",
        "the clock was set back by 90 s",
    ),
    (
        ev.RunClockStepped(at=1, by=90_000_000),
        "run.clock_stepped",
        "the clock was set forward by 90 s",
    ),
    (ev.CancelRequested(at=1, actor="me"), "run.cancel_requested", "cancelled by me"),
    (
        ev.CancelRequested(at=1, actor="me", reason="why not"),
        "run.cancel_requested",
        "cancelled by me: why not",
    ),
    (
        ev.TaskStarted(at=1, task="t", attempt=2, agent="x", key="k"),
        "task.started",
        "t: attempt 2 started on agent x",
    ),
    (
        ev.TaskSucceeded(at=1, task="t", attempt=2, result="secret"),
        "task.succeeded",
        "t: attempt 2 succeeded",
    ),
    (
        ev.TaskFailed(at=1, task="t", attempt=2, fault=FAULT),
        "task.failed",
        "t: attempt 2 failed: gone",
    ),
    (
        ev.TaskLost(at=1, task="t", attempt=2),
        "task.lost",
        "t: the process ended during attempt 2",
    ),
    (
        ev.TaskBlocked(at=1, task="t", reason="agent", detail="nobody"),
        "task.blocked",
        "t: blocked: nobody",
    ),
    (ev.TaskUnblocked(at=1, task="t"), "task.unblocked", "t: unblocked"),
    (ev.TaskWoke(at=1, task="t"), "task.woke", "t: woke"),
    (ev.TaskCancelled(at=1, task="t", attempt=1), "task.cancelled", "t: cancelled"),
    (
        ev.LateReply(at=1, task="t", attempt=1, succeeded=True),
        "task.late_reply",
        "t: late reply",
    ),
    (ev.BreakerClosed(at=1, endpoint="x"), "hive.breaker_closed", "breaker closed"),
]


@pytest.mark.parametrize(("fact", "name", "text"), TEXTS)
def test_told(fact: ev.Event, name: str, text: str) -> None:
    assert (event_type(fact), describe_event(fact)) == (name, text)


def test_a_story() -> None:
    bench = Bench()
    bench.run(flow(task("a", retry=AT_ONCE), task("b", "a"), task("c", "b"), task("z")))
    bench.answer("a", fault=FAULT)
    bench.answer("a", 1)
    bench.answer("z")
    lines = build_story(bench.graphs["r"], bench.disk.records("r"), "b")
    assert [line.text for line in lines] == [
        "submitted",
        "started",
        "a: attempt 1 started on agent a",
        "a: attempt 1 failed: gone",
        "a: woke",
        "a: attempt 2 started on agent a",
        "a: attempt 2 succeeded",
        "b: attempt 1 started on agent a",
    ]
    assert lines[0] == StoryLine(1, START, "run.submitted", "submitted")
    assert [line.seq for line in lines] == sorted(line.seq for line in lines)
    assert "b: attempt 1 started on agent a" not in {
        line.text for line in build_story(bench.graphs["r"], bench.disk.records("r"), "a")
    }
