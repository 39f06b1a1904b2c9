"""The killed processes and their oracle: sound code passes, planted bugs and forged ends do not.

A small part of row T2: `python3 x.py lab T2` does the whole of it.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.lab.kills.oracle import judge
from tests.lab.kills.server import hunt_bug, spread_points, start_target
from tests.lab.rows import t2
from tests.planted.bugs import find_bug, list_bugs

pytestmark = pytest.mark.slow
"""Most of its tests take more than a second."""

needs_kill = pytest.mark.skipif(sys.platform == "win32", reason="no fork, no SIGKILL there")
Event = dict[str, Any]


@needs_kill
@pytest.mark.timeout(120)
def test_sound_code_survives_kills() -> None:
    with start_target() as victim:
        baseline = victim.crash("mixed")
        assert baseline.problems == []
        assert baseline.points > 50
        assert [victim.crash("both", points).problems for points in spread_points(40, 6)] == [
            []
        ] * 6
        assert victim.kills >= 6
        many = victim.crash("crowd", after=[0.05, 0.2, 0.1])
        assert many.problems == []
        assert many.kills >= 1


@needs_kill
@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ["retry_once_after_a_crash", "new_key_on_retry", "ignore_stop"])
def test_planted_bugs_are_caught(name: str) -> None:
    kills, reason = hunt_bug(find_bug(name), 60)
    assert kills is not None
    assert reason


def test_there_are_enough_planted_bugs() -> None:
    assert len(t2.BY_KILLS & {bug.name for bug in list_bugs()}) >= 10


def test_the_oracle_knows_nothing_of_what_it_judges() -> None:
    for name in ("oracle.py", "flows.py"):
        text = (Path(t2.__file__).parents[1] / "kills" / name).read_text("utf-8")
        assert "import agenthive" not in text
        assert "from agenthive" not in text


def test_plans_cover_every_crash_point_and_every_unit() -> None:
    places = [(name, n + 1) for name in ("chain", "fan") for n in range(40)]
    plans = list(t2.plan_units(range(300), places))
    assert sorted(unit for plan in plans for unit in plan.units) == list(range(300))
    first = [plan for plan in plans if plan.points and len(plan.points) == 1]
    assert sorted((plan.scenario, plan.points[0]) for plan in first) == sorted(places)
    assert sum(len(plan.after) for plan in plans) == 60
    parts = [*t2.plan_units(range(150), places), *t2.plan_units(range(150, 300), places)]
    assert {tuple(p.points) for p in parts if p.points} == {
        tuple(p.points) for p in plans if p.points
    }


# What the oracle must see in forged remains.


class Remains:
    """What two processes may leave behind that did the flow ``once``, the first one killed."""

    def __init__(self) -> None:
        self.killed = [self.started_event("acts", 1)]
        self.stream = [
            *self.killed,
            self.succeeded_event("acts", 1),
            self.started_event("then", 1),
            self.succeeded_event("then", 1),
        ]
        self.hive: list[Event] = [
            {"type": "hive.run_closed", "run": "once.11", "status": "completed"}
        ]
        self.ledger: list[list[Event]] = [
            [],
            [self.begin_line("acts", 1), self.begin_line("then", 1)],
        ]
        self.ledger[1][1]["dependencies"] = {"acts": "acts of attempt 1"}
        self.acknowledged: list[list[Event]] = [[{"what": "accepted", "run": "once.11"}], []]

    @staticmethod
    def started_event(task: str, attempt: int) -> Event:
        return {"type": "task.started", "task": task, "attempt": attempt, "key": task, "at": 1}

    @staticmethod
    def succeeded_event(task: str, attempt: int) -> Event:
        result = f"{task} of attempt {attempt}"
        return {"type": "task.succeeded", "task": task, "attempt": attempt, "result": result}

    @staticmethod
    def begin_line(task: str, attempt: int) -> Event:
        line = {"what": "begin", "run": "once.11", "task": task, "attempt": attempt, "key": task}
        return line | {"dependencies": {}}

    def judge_remains(self, folder: Path) -> list[str]:
        (folder / "home").mkdir(parents=True)
        (folder / "kill1").mkdir()
        self._write_journal(folder / "kill1" / "journal.db", {"once.11": self.killed})
        whole = {"once.11": self.stream, "hive": self.hive}
        self._write_journal(folder / "home" / "journal.db", whole)
        for name, lives in (("ledger", self.ledger), ("told", self.acknowledged)):
            lines = [
                line
                for n, life in enumerate(lives)
                for line in ({"what": "life", "number": n}, *life)
            ]
            (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
        return [line for line in judge(folder, "crowd") if "once.11" in line]

    @staticmethod
    def _write_journal(path: Path, streams: dict[str, list[Event]]) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE records (pos INTEGER, stream TEXT, payload TEXT)")
            rows = [(stream, json.dumps(events)) for stream, events in streams.items() if events]
            connection.executemany("INSERT INTO records VALUES (0, ?, ?)", rows)


def _forget_the_run(remains: Remains) -> None:
    remains.killed = []


def _forget_an_intent(remains: Remains) -> None:
    remains.killed = [Remains.started_event("other", 1)]


def _add_cancel(remains: Remains) -> None:
    remains.acknowledged[1].append({"what": "cancelled", "run": "once.11"})


def _stay_open(remains: Remains) -> None:
    remains.hive = []


def _wait_for_nothing(remains: Remains) -> None:
    remains.hive = []
    remains.acknowledged[1].append(
        {"what": "waits", "run": "once.11", "why": [["then", "outcome"]]}
    )


def _call_unasked(remains: Remains) -> None:
    remains.ledger[1].append(Remains.begin_line("then", 2))


def _call_twice(remains: Remains) -> None:
    remains.ledger[0] = [Remains.begin_line("acts", 1)]


def _change_the_key(remains: Remains) -> None:
    remains.ledger[1].append(Remains.begin_line("then", 1) | {"key": "other"})


def _repeat_what_was_done(remains: Remains) -> None:
    remains.stream.append(Remains.started_event("then", 2))
    remains.ledger[1].append(Remains.begin_line("then", 2))


def _swap_a_result(remains: Remains) -> None:
    remains.stream[1]["result"] = "acts of attempt 7"


def _start_early(remains: Remains) -> None:
    remains.stream[1], remains.stream[2] = remains.stream[2], remains.stream[1]


def _close_twice(remains: Remains) -> None:
    remains.hive *= 2


FORGED: list[tuple[Callable[[Remains], None], str]] = [
    (_forget_the_run, "accepted, and not in the journal"),
    (_forget_an_intent, "is there no more"),
    (_add_cancel, "cancel acknowledged, and not in the journal"),
    (_stay_open, "ended None, not completed"),
    (_wait_for_nothing, "waits for an outcome after ['task.succeeded']"),
    (_call_unasked, "called without an intent on disk"),
    (_call_twice, "acts once, and was called 2 times"),
    (_change_the_key, "2 keys for one logical call"),
    (_repeat_what_was_done, "repeated, and was neither in flight at a kill nor failed"),
    (_swap_a_result, "the result of another attempt counts"),
    (_start_early, "started before what it depends on"),
    (_close_twice, "ended closed 2 times"),
]


def test_sound_remains_are_not_blamed(tmp_path: Path) -> None:
    assert Remains().judge_remains(tmp_path) == []


@pytest.mark.parametrize(
    ("forge", "told"), FORGED, ids=lambda value: getattr(value, "__name__", "")
)
def test_forged_remains_are_seen(
    forge: Callable[[Remains], None], told: str, tmp_path: Path
) -> None:
    remains = Remains()
    forge(remains)
    violations = remains.judge_remains(tmp_path)
    assert any(told in line for line in violations), violations
