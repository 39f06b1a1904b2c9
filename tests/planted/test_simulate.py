"""Bugs of the core are found by simulating one ordinary workflow; the printed seed shows them."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.planted.patches import HERE, copy_with

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
    env = dict(os.environ, PYTHONPATH=str(source), PYTHONDONTWRITEBYTECODE="1")
    return subprocess.run([*command, *words], env=env, cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize("bug", BUGS)
def test_found_by_an_ordinary_workflow(bug: str, tmp_path: Path) -> None:
    source = copy_with(HERE / f"{bug}.patch", tmp_path)
    (tmp_path / "orders.yaml").write_text(ORDERS)
    words = ["simulate", "orders.yaml", "--faults", "hostile", "--seeds", "120"]
    found = agenthive([*words, "--json"], source, tmp_path)
    assert found.returncode == 1, found.stderr
    broken = [
        one for one in json.loads(found.stdout)["violations"] if one["invariant"] == BUGS[bug]
    ]
    assert broken, found.stdout[-2000:]
    replay = shlex.split(broken[0]["replay"])
    again = agenthive(replay[1:], source, tmp_path)
    assert again.returncode == 1
    assert f"BROKEN  {BUGS[bug]}: {broken[0]['detail']}" in again.stdout


def test_nothing_is_found_where_nothing_is_planted(tmp_path: Path) -> None:
    source = copy_with(None, tmp_path)
    (tmp_path / "orders.yaml").write_text(ORDERS)
    words = ["simulate", "orders.yaml", "--faults", "hostile", "--seeds", "600"]
    found = agenthive(words, source, tmp_path)
    assert found.returncode == 0, found.stdout
    assert "Every invariant held in every run (600)." in found.stdout
