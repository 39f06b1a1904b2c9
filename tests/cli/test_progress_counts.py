"""What is counted while a run goes on, and the words for each event."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agenthive.cli.support.progress_counts import ProgressCounts, format_counts
from agenthive.queries.journal_reader import EventView

AT = 1_000_000


def event(name: str, seconds: float = 0.0, **data: Any) -> EventView:
    encoded = msgspec.Raw(msgspec.json.encode(data))
    at = AT + round(seconds * 1_000_000)
    return EventView(run="r", seq=1, at=at, type=name, text="", data=encoded)


def start(task: str, attempt: int = 1) -> EventView:
    return event("task.started", task=task, agent="bee", attempt=attempt)


@pytest.mark.parametrize(
    ("usage", "detail"),
    [
        ({"input_tokens": 1200, "output_tokens": 34}, "in 2.50 s, 1,234 tokens"),
        ({"input_tokens": 7}, "in 2.50 s, 7 tokens"),
        ({"output_tokens": 1}, "in 2.50 s, 1 tokens"),
        ({"input_tokens": 0, "output_tokens": 0}, "in 2.50 s"),
        ({}, "in 2.50 s"),
        (None, "in 2.50 s"),
    ],
)
def test_tokens_of_a_task_are_added_up(usage: dict[str, int] | None, detail: str) -> None:
    counts = ProgressCounts(1)
    counts.add_event(start("t"))
    found = counts.add_event(event("task.succeeded", 2.5, task="t", usage=usage))
    assert found == ("t", "succeeded", detail)


def test_counts_follow_the_events() -> None:
    counts = ProgressCounts(1200)
    assert format_counts(counts) == "0 of 1,200 tasks done"
    assert counts.add_event(start("a")) == ("a", "started", "agent bee")
    assert counts.add_event(start("b", attempt=2)) == ("b", "started", "agent bee, attempt 2")
    assert counts.started == {"a": (AT, "bee"), "b": (AT, "bee")}
    assert format_counts(counts) == "0 of 1,200 tasks done, 2 running"
    counts.add_event(event("task.succeeded", task="a"))
    failed = counts.add_event(event("task.failed", 1.5, task="b", fault={"message": "no"}))
    assert failed == ("b", "failed", "after 1.50 s: no")
    assert format_counts(counts) == "1 of 1,200 tasks done, 1 failed"
    counts.add_event(start("b", attempt=3))
    counts.add_event(event("task.succeeded", task="b"))
    assert format_counts(counts) == "2 of 1,200 tasks done"


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("task.faulted", {"task": "t", "fault": {"message": "bad"}}, ("t", "failed", "bad")),
        ("task.blocked", {"task": "t", "detail": "no agent"}, ("t", "blocked", "no agent")),
        ("run.cancel_requested", {"reason": "enough"}, ("", "cancelling", "enough")),
        ("run.resumed", {}, ("", "resumed", "")),
        ("task.noted", {"task": "t"}, ("t", "", "")),
    ],
)
def test_words_of_other_events(
    name: str, data: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    counts = ProgressCounts(1)
    assert counts.add_event(event(name, **data)) == expected
    assert counts.failed == (name == "task.faulted")
