"""How long runs are kept, and the roll that says which must be there."""

from __future__ import annotations

import pytest

from agenthive.core.history.retention import (
    Retention,
    older_than,
    parse_span,
    retention_by_class,
    select_due_runs,
)
from agenthive.core.history.run_index import RunIndex
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Record, RunRow
from agenthive.core.model.states import CLOSED, RunStatus
from agenthive.core.values import SECOND
from agenthive.errors import StoreCorrupt

DAY = 86_400 * SECOND


def row(run: str, status: str, finished: int | None) -> RunRow:
    return RunRow(run=run, name="w", status=status, created=0, finished=finished)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("0s", 0),
        ("90s", 90 * SECOND),
        ("5m", 300 * SECOND),
        ("12h", DAY // 2),
        ("30d", 30 * DAY),
        ("8w", 56 * DAY),
        ("forever", None),
    ],
)
def test_spans(text: str, micros: int | None) -> None:
    assert parse_span(text) == micros


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5d", "30 d", "1y", "٣d", "1" * 10 + "d"])
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(ValueError, match="a time span such as 12h"):
        parse_span(text)


def test_classes() -> None:
    policy = retention_by_class("1d", "2d", "3d")
    assert policy.limits == {
        RunStatus.COMPLETED: DAY,
        RunStatus.FAILED: 2 * DAY,
        RunStatus.COMPENSATION_FAILED: 2 * DAY,
        RunStatus.PARTIALLY_COMPLETED: 3 * DAY,
        RunStatus.CANCELLED: 3 * DAY,
        RunStatus.COMPENSATED: 3 * DAY,
    }
    assert retention_by_class("forever", "forever", "forever") == Retention()
    assert set(older_than(DAY).limits) == CLOSED
    assert older_than(DAY, [RunStatus.FAILED]).limits == {RunStatus.FAILED: DAY}
    with pytest.raises(ValueError, match="time span"):
        retention_by_class("forever", "soon", "forever")


def test_what_is_due() -> None:
    rows = [
        row("young", "completed", 6 * DAY),
        row("old", "completed", 5 * DAY - 1),
        row("just", "completed", 5 * DAY),
        row("oldest", "failed", 1),
        row("open", "running", None),
        row("parent", "completed", 2),
    ]
    found = select_due_runs(
        rows, retention_by_class("5d", "1d", "forever"), 10 * DAY, needed={"parent"}
    )
    assert [one.run for one in found] == ["oldest", "old", "just"]
    assert select_due_runs(rows, Retention(), 10 * DAY) == []
    everything = select_due_runs(rows, older_than(0), 10 * DAY)
    assert [one.run for one in everything] == ["oldest", "parent", "old", "just", "young"]


def told(*events: ev.HiveEvent) -> Record:
    payload = ev.encode(events)
    return Record(stream=ev.HIVE, seq=1, count=len(events), at=1, type="hive", payload=payload)


OPENED = ev.RunOpened(at=1, run="r")
CLOSED_ = ev.RunClosed(at=2, run="r", status="completed", events=7)
DROPPED = ev.RunDropped(at=3, run="r", head="00", events=7, status="completed", closed=2)
IMPORTED = ev.RunImported(at=4, run="r", head="00", events=7, status="running")


@pytest.mark.parametrize(
    ("events", "good", "bad"),
    [
        ((OPENED,), [{"r": 1}, {"r": 9}], [{}, {"other": 1}]),
        ((OPENED, CLOSED_), [{"r": 7}, {"r": 7, "stranger": 3}], [{}, {"r": 6}, {"r": 8}]),
        ((OPENED, CLOSED_, DROPPED), [{}], [{"r": 7}, {"r": 1}]),
        ((OPENED, CLOSED_, DROPPED, OPENED), [{"r": 2}], [{}]),
        ((IMPORTED,), [{"r": 7}, {"r": 9}], [{}]),
        ((IMPORTED, CLOSED_), [{"r": 7}], [{}, {"r": 9}]),
    ],
)
def test_roll(
    events: tuple[ev.HiveEvent, ...], good: list[dict[str, int]], bad: list[dict[str, int]]
) -> None:
    roll = RunIndex()
    roll.add_record(told(*events))
    roll.add_record(
        Record(stream="r", seq=1, count=1, at=1, type="run", payload=b"never looked at")
    )
    for ends in good:
        roll.check_ends(ends)
    for ends in bad:
        with pytest.raises(StoreCorrupt, match=r"run r has .* events, the hive stream records"):
            roll.check_ends(ends)
