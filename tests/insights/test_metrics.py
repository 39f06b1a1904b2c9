"""Metrics are folded from a journal made by hand, fact by fact."""

from __future__ import annotations

from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Record
from agenthive.core.model.calls import Fault, Usage
from agenthive.insights.metrics import MetricsFold

S = 1_000_000
DOWN = Fault(kind="connection", message="no")
USED = Usage(model="m", input_tokens=10, output_tokens=5, cost=2_000_000_000)


def record(stream: str, *events: ev.Event) -> Record:
    return Record(
        stream=stream, seq=1, count=len(events), at=0, type="t", payload=ev.encode(events)
    )


def started(at: int, task: str, attempt: int, agent: str) -> ev.TaskStarted:
    return ev.TaskStarted(at=at * S, task=task, attempt=attempt, agent=agent, key="k")


def test_everything_is_counted() -> None:
    fold = MetricsFold()
    opened = ev.BreakerOpened(at=4 * S, endpoint="x", until=9 * S, failures=5)
    fold.add_records(
        [record(ev.HIVE, ev.RunOpened(at=0, run="r"), ev.RunOpened(at=S, run="q"), opened)]
    )
    fold.add_records(
        [
            record(
                "r",
                ev.RunStarted(at=0),
                started(0, "a", 1, "one"),
                ev.TaskFailed(at=2 * S, task="a", attempt=1, fault=DOWN),
                started(3, "a", 2, "one"),
                ev.TaskSucceeded(at=7 * S, task="a", attempt=2, usage=USED),
                started(3, "b", 1, "two"),
                ev.TaskLost(at=4 * S, task="b", attempt=1),
                started(5, "b", 2, "two"),
                ev.TaskFailed(at=6 * S, task="b", attempt=2, fault=DOWN),
                ev.LateReply(at=8 * S, task="b", attempt=1, succeeded=True),
                started(8, "c", 1, "two"),
                ev.TaskCancelled(at=9 * S, task="c", attempt=1),
            )
        ]
    )
    closed = ev.RunClosed(at=10 * S, run="r", status="failed", events=12)
    fold.add_records([record(ev.HIVE, ev.BreakerClosed(at=9 * S, endpoint="x"), closed)])
    fold.add_records(
        [record(ev.HIVE, ev.RunClosed(at=5 * S, run="q", status="completed", events=1))]
    )
    found = fold.metrics
    assert found.runs == {"failed": 1, "completed": 1}
    assert found.mean_run_time == 7.0
    assert (found.tasks_succeeded, found.tasks_failed, found.success_rate) == (1, 1, 0.5)
    assert (found.retries, found.lost_calls, found.late_replies) == (2, 1, 1)
    assert (found.breakers_opened, found.breakers_closed) == (1, 1)
    one, two = found.agents["one"], found.agents["two"]
    assert (one.calls, one.answered, one.failures) == (2, 2, 1)
    assert (one.mean_time, one.longest_time) == (3.0, 4.0)
    assert (one.tokens, one.cost_usd) == (15, 2.0)
    assert (two.calls, two.answered, two.failures, two.mean_time) == (3, 1, 1, 1.0)


def test_an_empty_journal() -> None:
    found = MetricsFold().metrics
    assert (found.success_rate, found.mean_run_time, found.agents) == (0.0, 0.0, {})
