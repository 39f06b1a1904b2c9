"""`validate`, `plan` and `run` about calls whose cost no budget can bound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli

WEB = {"type": "web_search_20250305", "name": "web_search"}


def write_flow(here: Path, *, budget: float | None = 1.0, **more: Any) -> None:
    parameters = {"messages": [{"role": "user", "content": "hello"}], **more}
    agent = {"name": "m", "type": "ai_agent", "endpoint": "http://127.0.0.1:9/v1"}
    agent |= {"custom_params": {"model": "gpt-4o", "prices": "openai"}}
    task = {"name": "ask", "agent": "m", "action": "chat_completion", "parameters": parameters}
    flow = {"agenthive": 1, "name": "w", "agents": [agent], "tasks": [task]}
    flow |= {} if budget is None else {"budget": budget}
    (here / "flow.json").write_text(json.dumps(flow))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"tools": [WEB]}, "the vendor's own tool 'web_search_20250305'"),
        ({"prediction": {"content": "x"}}, "the parameter 'prediction'"),
        ({"model": "bee-9000"}, "model 'bee-9000' at http://127.0.0.1:9/v1 is in no price list"),
    ],
)
def test_all_three_say_so(cli: Cli, here: Path, more: dict[str, Any], words: str) -> None:
    write_flow(here, **more)
    validated = cli("validate", "flow.json", "--json").json["files"][0]
    assert validated["valid"]
    assert [words in warning for warning in validated["warnings"]] == [True]
    plan = cli("plan", "flow.json", "--json").json
    assert words in plan["tasks"][0]["why"]
    assert words in plan["unbounded"][0]["why"]
    refused = cli("run", "flow.json", "--json")
    assert refused.code == 2
    assert words in refused.json["error"]["message"]
    assert cli("ps", "--json").json["runs"] == []


def test_without_a_limit_nothing_is_said(cli: Cli, here: Path) -> None:
    write_flow(here, budget=None, tools=[WEB])
    assert cli("validate", "flow.json", "--json").json["files"][0]["warnings"] == []
    (here / "agenthive.toml").write_text("[budgets]\nday = 5\n")
    (warning,) = cli("validate", "flow.json", "--json").json["files"][0]["warnings"]
    assert "the day has a limit" in warning
