"""An owner that dies between commit and answer: the request is carried out once, and answered."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.crash.kill_answer import HERE, SCENES, play_rounds
from tests.planted.bugs import copy_with_bug, find_bug
from tests.requires import require

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there"),
]
"""Most of its tests take more than a second."""

SOUND = HERE.parents[1] / "src"


@pytest.mark.parametrize("name", SCENES)
def test_done_once_and_answered(name: str, tmp_path: Path) -> None:
    assert list(play_rounds(tmp_path, SOUND, [name], "injected", 2)) == [(name, "")] * 2


@pytest.mark.parametrize("name", ["top-up", "trigger"])
def test_killed_while_the_commit_is_held_up(name: str, tmp_path: Path) -> None:
    require("strace")
    assert list(play_rounds(tmp_path, SOUND, [name], "strace", 1)) == [(name, "")]


@pytest.mark.parametrize(
    ("bug", "name", "says"),
    [
        ("forget_the_request_id", "top-up", "2000000, not 1000000"),
        ("forget_the_request_id", "signal", "signals, and the second wakes another task: 2"),
        ("write_the_request_id_later", "approve", "exit code 2"),
        ("write_the_request_id_later", "trigger", "exit code 2"),
        ("new_request_id_on_retry", "top-up", "2000000, not 1000000"),
    ],
)
def test_planted_bug_is_caught(bug: str, name: str, says: str, tmp_path: Path) -> None:
    source = copy_with_bug(find_bug(bug), tmp_path)
    [(_, wrong)] = play_rounds(tmp_path, source, [name], "injected", 1)
    assert says in wrong
