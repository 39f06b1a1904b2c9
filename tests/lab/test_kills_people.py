"""What the oracle must see in forged remains of a flow in which people are asked, and of items."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.lab.kills.oracle import judge

Event = dict[str, Any]
GIVEN = {"for": "look"}


class Remains:
    """What one process leaves behind of the task ``look``, which people agreed to."""

    def __init__(self) -> None:
        payload = {"parameters": GIVEN}
        about = {"task": "look", "digest": "d"}
        self.stream: list[Event] = [
            {
                "type": "task.succeeded",
                "task": "draft",
                "attempt": 1,
                "result": "draft of attempt 1",
            },
            {"type": "run.signal_received", "name": "hear", "id": "hear"},
            {"type": "task.approval_requested", "payload": payload} | about,
            {"type": "task.approval_given", "approved": True} | about,
            {"type": "task.started", "task": "look", "attempt": 1, "key": "k", "at": 1},
        ]
        self.ledger: list[Event] = [
            {
                "what": "begin",
                "run": "people",
                "task": "look",
                "attempt": 1,
                "key": "k",
                "dependencies": {"draft": "draft of attempt 1"},
                "given": GIVEN,
            },
        ]
        self.acknowledged: list[Event] = [
            {"what": "accepted", "run": "people"},
            {"what": "agreed", "run": "people", "task": "look", "digest": "d"},
            {"what": "signalled", "run": "people", "task": "hear"},
        ]

    def judge_remains(self, folder: Path) -> list[str]:
        (folder / "home").mkdir(parents=True)
        with closing(sqlite3.connect(folder / "home" / "journal.db")) as db, db:
            db.execute("CREATE TABLE records (pos INTEGER, stream TEXT, payload TEXT)")
            db.execute("INSERT INTO records VALUES (0, 'people', ?)", [json.dumps(self.stream)])
        for name, lines in (("ledger", self.ledger), ("told", self.acknowledged)):
            all_lines = [{"what": "life", "number": 0}, *lines]
            (folder / name).write_text("".join(json.dumps(line) + "\n" for line in all_lines))
        return [line for line in judge(folder, "people") if "ended None" not in line]


def _forget_the_answer(remains: Remains) -> None:
    del remains.stream[3]


def _agree_to_something_else(remains: Remains) -> None:
    remains.stream[3]["digest"] = "other"


def _reject_approval(remains: Remains) -> None:
    remains.stream[3]["approved"] = False


def _do_something_else(remains: Remains) -> None:
    remains.ledger[0]["given"] = {"for": "money"}


def _count_the_answer_twice(remains: Remains) -> None:
    remains.stream.insert(3, remains.stream[3])


def _count_the_signal_twice(remains: Remains) -> None:
    remains.stream.insert(1, remains.stream[1])


def _forget_the_signal(remains: Remains) -> None:
    del remains.stream[1]


def _start_before_the_draft(remains: Remains) -> None:
    remains.stream.append(remains.stream.pop(0))


FORGED: list[tuple[Callable[[Remains], None], str]] = [
    (_forget_the_answer, "task.approval_given acknowledged, not written"),
    (_forget_the_answer, "called, and nobody had agreed on disk"),
    (_agree_to_something_else, "called, and nobody had agreed on disk"),
    (_reject_approval, "called, and nobody had agreed on disk"),
    (_do_something_else, "not what was agreed to"),
    (_count_the_answer_twice, "'task.approval_given', 'look') counted 2 times"),
    (_count_the_signal_twice, "'run.signal_received', 'hear') counted 2 times"),
    (_forget_the_signal, "run.signal_received acknowledged, not written"),
    (_start_before_the_draft, "started before what it depends on"),
]


def test_sound_remains_are_not_blamed(tmp_path: Path) -> None:
    assert Remains().judge_remains(tmp_path) == []


@pytest.mark.parametrize(("forge", "told"), FORGED)
def test_forged_remains_are_seen(
    forge: Callable[[Remains], None], told: str, tmp_path: Path
) -> None:
    remains = Remains()
    forge(remains)
    violations = remains.judge_remains(tmp_path)
    assert any(told in line for line in violations), violations
