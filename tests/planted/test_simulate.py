"""Bugs of the core are found by simulating one ordinary workflow; the printed seed shows them."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.copies import make_environment
from tests.planted.bugs import copy_with_bug, find_bug

pytestmark = pytest.mark.slow
"""Most of its tests take more than a second."""

ORDERS = """
agenthive: 1
name: orders
agents:
  - {name: shop, type: custom, endpoint: "custom://shop", max_concurrency: 2}
  - {name: bank, type: http_api, endpoint: "http://127.0.0.1:1", max_concurrency: 1}
tasks:
  - {name: order, agent: shop, action: read, effect: none}
  - name: reserve
    agent: shop
    action: reserve
    depends_on: [order]
    compensate: {agent: shop, action: release}
  - {name: quote, agent: bank, action: quote, depends_on: [order]}
  - name: charge
    agent: bank
    action: charge
    effect: once
    depends_on: [reserve, quote]
    compensate: {agent: bank, action: refund}
  - {name: mail, agent: shop, action: mail, depends_on: [charge]}
"""
BUGS = {
    "act_before_intent": "intent_before_call",
    "forget_a_result": "handed_on",
    "lose_a_timer": "everything_ends",
    "new_key_on_retry": "stable_keys",
    "retry_once_after_a_crash": "once_means_once",
    "retry_too_soon": "waits_its_turn",
}


def agenthive(words: list[str], source: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-c", "from agenthive.cli import main; main()"]
    env = make_environment(source)
    return subprocess.run([*command, *words], env=env, cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize("bug", BUGS)
def test_found_by_an_ordinary_workflow(bug: str, tmp_path: Path) -> None:
    source = copy_with_bug(find_bug(bug), tmp_path)
    (tmp_path / "orders.yaml").write_text(ORDERS)
    words = ["simulate", "orders.yaml", "--faults", "hostile", "--seeds", "120"]
    process = agenthive([*words, "--json"], source, tmp_path)
    assert process.returncode == 1, process.stderr
    violations = [
        violation
        for violation in json.loads(process.stdout)["violations"]
        if violation["invariant"] == BUGS[bug]
    ]
    assert violations, process.stdout[-2000:]
    replay = agenthive(shlex.split(violations[0]["replay"])[1:], source, tmp_path)
    assert replay.returncode == 1
    assert f"VIOLATED  {BUGS[bug]}: {violations[0]['detail']}" in replay.stdout


def test_nothing_is_found_where_nothing_is_planted(tmp_path: Path) -> None:
    source = copy_with_bug(None, tmp_path)
    (tmp_path / "orders.yaml").write_text(ORDERS)
    words = ["simulate", "orders.yaml", "--faults", "hostile", "--seeds", "600"]
    process = agenthive(words, source, tmp_path)
    assert process.returncode == 0, process.stdout
    assert "All invariants held in all 600 simulated runs." in process.stdout
