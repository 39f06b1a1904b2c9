"""What the tests of the lead agent design share: a definition, and a home of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agenthive.facades import lead_agent as la

OFFLINE = {"name": "m", "type": "ai_agent", "endpoint": "offline://extractive"}


def config(*tasks: dict[str, Any], **keys: Any) -> dict[str, Any]:
    agents = [OFFLINE, {"name": "c", "type": "custom", "endpoint": "custom://c"}]
    used = {task["agent_name"] for task in tasks}
    return {
        "name": "flow",
        "agents": [agent for agent in agents if agent["name"] in used],
        "tasks": [{"action": "say", "retry_config": {"max_attempts": 1}, **t} for t in tasks],
        **keys,
    }


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, no settings from outside, no types of another test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("AGENTHIVE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AGENTHIVE_AGENTS", raising=False)
    monkeypatch.setattr(la.AgentFactory, "_types", {})
    return tmp_path / "home"
