"""200 tasks, killed and resumed: nothing is lost, and only what was in flight is repeated."""

from __future__ import annotations

import sys
from random import Random

import pytest

from tests.crash.kill_resume import AT_ONCE, TASKS, look, rounds, workflow

pytestmark = pytest.mark.slow
"""Most of its tests take more than a second."""

needs_kill = pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")


@needs_kill
@pytest.mark.parametrize("seed", range(3))
def test_killed_and_resumed(seed: int) -> None:
    [one] = rounds(1, 77 + seed)
    assert one.wrong == []
    assert 20 <= one.lines <= 180
    assert len(one.repeated) <= AT_ONCE


def test_the_look_sees_what_is_wrong() -> None:
    tasks = [task["name"] for task in workflow(__file__, Random(1))["tasks"]]  # type: ignore[arg-type]
    written = [f"{name} key-{name} 1" for name in tasks]
    fine = [{"type": "task.succeeded", "task": name} for name in tasks]
    before = [{"type": "task.started", "task": name} for name in tasks[:60]] + fine[:50]
    told = b'{"runs": [{"status": "completed", "completed_tasks": 200}]}'
    again = [f"{tasks[55]} key-{tasks[55]} 2"]
    assert look(told, fine, before, written + again, 60) == []
    assert "not in flight" in look(told, fine, before, [*written, written[3]], 60)[0]
    assert "not in flight" in look(told, fine, before, [*written, written[70]], 60)[0]
    assert "2 keys" in look(told, fine, before, [*written, f"{tasks[55]} other 2"], 60)[0]
    assert "no line" in look(told, fine, before, written[:-1], 60)[0]
    assert "without an intent" in look(told, fine, before, written, 61)[0]
    assert "killed at 19" in look(told, fine, before, written, 19)[0]
    assert f"{TASKS - 1} tasks succeeded" in look(told, fine[:-1], before, written, 60)[0]
    assert "resume told" in look(told.replace(b"200", b"199"), fine, before, written, 60)[0]
