"""`agenthive tools`: what real MCP servers offer, put under a task and used by a model."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

import pytest
import yaml

from tests.agents.peers import PEER
from tests.cli.conftest import Cli

pytestmark = pytest.mark.slow
"""Many of its tests start processes or wait."""

FLOW = f"""
agenthive: 1
name: what time
agents:
  - {{name: model, type: custom, endpoint: "custom://model"}}
  - {{name: clock, type: mcp_server, endpoint: "stdio:mcp-server-time", timeout: 60,
     custom_params: {{tools: [convert_time]}}}}
  - {{name: peer, type: mcp_server, timeout: 60, endpoint: {PEER!r}}}
tasks:
  - name: ask
    agent: model
    action: ask
"""

MODEL = """
from agenthive.core.model.calls import ToolCall, Call, Reply

AT = {"source_timezone": "Etc/UTC", "time": "15:00", "target_timezone": "Asia/Tokyo"}

async def model(call: Call) -> Reply:
    if not call.turns:
        assert [tool.name for tool in call.tools][:2] == ["convert_time", "echo"], call.tools
        return Reply(asks=(ToolCall(id="1", name="convert_time", arguments=AT),
                           ToolCall(id="2", name="echo", arguments={"text": 7})))
    return Reply(result=[it.content for it in call.turns[-1].outcomes])

AGENTS = {"model": model}
"""


@pytest.fixture
def flow(here: Path) -> Path:
    (here / "model.py").write_text(MODEL)
    path = here / "flow.yaml"
    path.write_text(FLOW)
    return path


@pytest.mark.slow
def test_what_is_printed_can_be_used(cli: Cli, flow: Path) -> None:
    asked = cli("tools", "flow.yaml", "--agents", "model.py")
    assert (asked.code, asked.err) == (0, "")
    offered = yaml.safe_load(asked.out)["tools"]
    assert offered[0]["name"] == "convert_time"
    assert {tool["agent"] for tool in offered[1:]} == {"peer"}
    flow.write_text(FLOW + indent(asked.out, "    "))
    run = cli("run", "flow.yaml", "--agents", "model.py", "--json")
    assert run.code == 0, run
    time, refused = run.json["results"]["ask"]
    assert "+9.0h" in time
    assert "text: " in refused, "arguments that do not fit call nobody"


def test_one_server_as_json(cli: Cli, flow: Path) -> None:
    found = cli("tools", "flow.yaml", "clock", "--agents", "model.py", "--json").json
    assert found["schema"] == "agenthive/tools/1"
    (tool,) = found["tools"]
    assert (tool["agent"], tool["claimed_effect"]) == ("clock", "none")
    assert set(tool["input_schema"]["required"]) == {"source_timezone", "time", "target_timezone"}


def test_only_what_a_server_needs_must_be_there(cli: Cli, flow: Path) -> None:
    model = '{name: model, type: ai_agent, endpoint: "https://api.openai.com/v1",'
    login = ' authentication: {type: bearer, token: "${env:NO_SUCH_KEY}"}}'
    head = FLOW.replace('{name: model, type: custom, endpoint: "custom://model"}', model + login)
    flow.write_text(head.replace("action: ask", "action: chat_completion"))
    assert cli("validate", "flow.yaml").code == 0
    assert cli("tools", "flow.yaml", "clock").code == 0
    env = "custom_params: {env: {KEY: '${env:NO_SUCH_KEY}'}, "
    flow.write_text(FLOW.replace("custom_params: {", env))
    needed = cli("tools", "flow.yaml", "clock")
    assert needed.code == 5
    assert "NO_SUCH_KEY" in needed.err


def test_what_cannot_be_asked(cli: Cli, flow: Path) -> None:
    assert (
        "The MCP servers of this file are: clock, peer." in cli("tools", "flow.yaml", "model").err
    )
    flow.write_text(FLOW.replace("mcp-server-time", "no-such-server"))
    gone = cli("tools", "flow.yaml")
    assert gone.code == 5
    assert "there is no command 'no-such-server'" in gone.err
    flow.write_text(FLOW.replace("mcp_server", "custom").replace("stdio:", "custom://"))
    assert "no agent is of type mcp_server" in cli("tools", "flow.yaml").err


def test_a_server_that_does_not_answer(cli: Cli, flow: Path) -> None:
    silent = FLOW.replace('"stdio:mcp-server-time", timeout: 60', '"stdio:sleep 60", timeout: 0.3')
    flow.write_text(silent)
    late = cli("tools", "flow.yaml", "clock")
    assert late.code == 5
    assert "the MCP server did not respond within 0.3 s" in late.err


@pytest.mark.slow
def test_nothing_is_offered(cli: Cli, flow: Path) -> None:
    flow.write_text(FLOW.replace("[convert_time]", "[other]"))
    nothing = cli("tools", "flow.yaml", "clock")
    assert (nothing.code, nothing.out) == (0, "")
    assert "no tools" in nothing.err
