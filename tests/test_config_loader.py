"""The lead agent design: definitions are loaded step by step, and checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from agenthive.errors import ConfigurationError
from agenthive.facades import lead_agent as la
from tests.lead_agent_rig import home

__all__ = ["home"]
pytestmark = pytest.mark.usefixtures("home")


def test_config_loader(tmp_path: Path, home: Path) -> None:
    with pytest.raises(ConfigurationError):
        la.ConfigLoader.load_from_dict({"name": "x"})
    with pytest.raises(ConfigurationError):
        la.ConfigLoader.load_from_file(tmp_path / "nope.yaml")
    agent = {
        "name": "h",
        "type": "http_api",
        "endpoint": "https://api.example.com",
        "authentication": {"type": "bearer", "token": "hunter2-hunter2"},
    }
    task = {"name": "t", "agent_name": "h", "action": "fetch"}
    spec = la.ConfigLoader.load_from_dict({"name": "x", "agents": [agent], "tasks": [task]})
    assert "hunter2-hunter2" not in repr(spec), "a literal token is moved out of the definition"
    kept = [file.read_text() for file in (home / "secrets").iterdir()]
    assert kept == ["hunter2-hunter2"]
