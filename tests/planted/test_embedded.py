"""The embedded runtime, killed at its crash points: sound code passes, planted bugs are caught.

A part of what `embedded.py` does by hand: fewer points, and the bugs it is known to catch.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.planted.embedded import hunt
from tests.planted.patches import planted

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="no fork, no SIGKILL there"),
    pytest.mark.slow,
    pytest.mark.timeout(300),
]

AT_ONCE = {
    "acknowledge_before_commit", "compensate_in_order", "end_before_compensating",
    "forget_after_refuse", "ignore_cancel", "ignore_stop", "new_key_on_retry",
    "overrun_agent_slots", "overrun_run_slots", "retry_once_after_a_time_out",
}  # fmt: skip
"""Caught without a crash: the process works on a disk that is slow and refuses now and then."""
BY_KILLS = {
    "act_before_intent", "forget_a_result", "lose_a_timer", "losses_count_as_attempts",
    "retry_once_after_a_crash", "retry_too_soon", "skip_a_started_task",
    "start_a_dependent_early", "take_over_nothing_queued",
}  # fmt: skip


def test_sound_code_survives_every_kill() -> None:
    found, kills, size = hunt(None, 15)
    assert found is None
    assert kills >= 10
    assert size > 50


@pytest.mark.parametrize("name", sorted(AT_ONCE | BY_KILLS))
def test_caught(name: str) -> None:
    [patch] = [patch for patch in planted() if patch.stem == name]
    found, _, _ = hunt(patch, 60 if name in BY_KILLS else 5)
    assert found is not None


def test_the_judge_knows_nothing_of_what_it_judges() -> None:
    text = (Path(__file__).parent / "judge.py").read_text("utf-8")
    assert "import agenthive" not in text
    assert "from agenthive" not in text
