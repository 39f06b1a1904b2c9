"""Where a key could slip out on its way: an error that quotes it, a package that logs it, a cut."""

from __future__ import annotations

import json
import logging
from typing import Any

import msgspec
import pytest

from agenthive import authoring
from agenthive.agents.base import BaseAgent, login_headers
from agenthive.agents.llm.openai import OpenAIAgent
from agenthive.agents.registry import AgentRegistry
from agenthive.core.model.calls import Call, Reply
from agenthive.core.model.workflow import AgentSpec
from agenthive.errors import ConfigurationError
from agenthive.infra.egress import Egress
from agenthive.infra.secrets import Secrets
from tests.agents.rude_model import RudeModel, answer, asked, http

VENDORS = ("openai", "anthropic")
SECRET = "sk-bee-0123456789"
BEARER = {"type": "bearer", "token": "${env:BEE_KEY}"}
LOGINS = [
    BEARER,
    {"type": "api_key", "key": "${env:BEE_KEY}", "header": "X-API-Key"},
    {"type": "api_key", "key": "${env:BEE_KEY}", "header": "My-Own"},
]


def api(server: RudeModel) -> BaseAgent:
    """An HTTP API at the same server."""
    spec = AgentSpec(
        name="a", type="http_api", endpoint=f"http://{server.host}", authentication=BEARER
    )
    return AgentRegistry().find_agent(spec)


def fetch() -> Call:
    parameters = {"method": "POST", "json": {}}
    return Call(
        run="r", task="t", attempt=1, key="k", agent="a", action="request", parameters=parameters
    )


@pytest.mark.parametrize("vendor", [*VENDORS, "http"])
@pytest.mark.parametrize(
    "value", [f"{SECRET}\nsecond-line", f"{SECRET}\x00", f"{SECRET}\u00fc"], ids=ascii
)
async def test_a_key_that_no_header_can_carry_is_not_quoted(
    vendor: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", {"BEE_KEY": value})
    async with RudeModel(lambda body: http(200, {})) as server:
        agent = api(server) if vendor == "http" else server.agent(vendor, authentication=BEARER)
        reply = await agent.perform(fetch() if vendor == "http" else asked())
        await agent.close()
        assert server.heads == []
    fault = reply.fault
    assert fault is not None
    assert (fault.kind, fault.retriable, fault.counts) == ("refused", False, False)
    assert "header 'Authorization' cannot be sent" in fault.message
    assert SECRET not in repr(reply)
    assert "second-line" not in repr(reply)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
async def test_a_line_end_is_no_part_of_a_key(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEE_KEY", f"{SECRET}{end}")
    assert Secrets().resolve("${env:BEE_KEY}").reveal() == SECRET
    monkeypatch.setenv("BEE_KEY", end)
    with pytest.raises(ConfigurationError, match="BEE_KEY is not set"):
        Secrets().resolve("${env:BEE_KEY}")


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("login", LOGINS, ids=lambda login: login.get("header", "bearer"))
async def test_nobody_logs_a_key(
    vendor: str,
    login: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("BEE_KEY", SECRET)
    with caplog.at_level(logging.DEBUG):
        async with RudeModel(lambda body: http(200, answer(vendor))) as server:
            agent = server.agent(vendor, authentication=login, headers={"X-Too": "${env:BEE_KEY}"})
            assert (await agent.perform(asked())).fault is None
            await agent.close()
    (head,) = server.heads
    assert head[login.get("header", "Authorization").lower()].removeprefix("Bearer ") == SECRET
    assert head["x-too"] == SECRET
    assert f"{vendor}._base_client" in {record.name for record in caplog.records}, "it does log"
    assert SECRET not in caplog.text


async def test_a_secret_is_blanked_out_before_the_message_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BEE_KEY", SECRET)
    # The secret lies across the place where the message of an HTTP API ends.
    text = "x" * (300 - len(SECRET) + 3) + SECRET
    async with RudeModel(lambda body: http(400, text)) as server:
        agent = api(server)
        reply = await agent.perform(fetch())
        await agent.close()
    assert reply.fault is not None
    assert "sk-bee" not in reply.fault.message


@pytest.mark.parametrize("vendor", VENDORS)
async def test_what_a_server_says_cannot_command_a_terminal(vendor: str) -> None:
    said = {"error": {"message": "red\x1b[31m\nline\x00"}}
    async with RudeModel(lambda body: http(500, said)) as server:
        agent = server.agent(vendor)
        reply = await agent.perform(asked())
        await agent.close()
    assert reply.fault is not None
    assert reply.fault.message == "HTTP 500: red [31m line "


WORKFLOW = """
agenthive: 1
name: w
agents:
  - name: m
    type: ai_agent
    endpoint: {endpoint}
    authentication: {{type: api_key, key: "${{env:BEE_KEY}}"}}
tasks:
  - {{name: t, agent: m, action: chat_completion, parameters: {{model: m-1}}}}
"""


@pytest.mark.parametrize(
    ("endpoint", "header"),
    [
        ("https://api.openai.com/v1/chat/completions", {"Authorization": f"Bearer {SECRET}"}),
        ("https://models.example.com/v1", {"X-API-Key": SECRET}),
    ],
)
def test_an_api_key_of_a_workflow_file_is_openais_bearer_token(
    endpoint: str, header: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEE_KEY", SECRET)
    (spec,) = authoring.loads(WORKFLOW.format(endpoint=endpoint)).spec.agents
    assert spec.authentication == {
        "type": "api_key",
        "key": "${env:BEE_KEY}",
        "header": "X-API-Key",
    }
    agent = OpenAIAgent(spec, Secrets(), Egress())
    login = msgspec.structs.replace(spec, authentication=dict(agent.login()))
    assert login_headers(login, Secrets(), "somewhere")[0] == header


async def heard(vendor: str, said: dict[str, Any], **parameters: Any) -> Reply:
    async with RudeModel(lambda body: http(200, said)) as server:
        agent = server.agent(vendor, prices=vendor)
        reply = await agent.perform(asked(**parameters))
        await agent.close()
    return reply


@pytest.mark.parametrize(
    ("vendor", "model", "counts", "cost"),
    [
        ("openai", "gpt-4o", {"prompt_tokens": 10, "completion_tokens": 2}, 45_000),
        ("anthropic", "claude-sonnet-4-5", {"input_tokens": 10, "output_tokens": 2}, 60_000),
    ],
)
async def test_a_server_that_does_not_say_which_model_it_is(
    vendor: str, model: str, counts: dict[str, int], cost: int
) -> None:
    reply = await heard(vendor, answer(vendor, model=None, usage=counts), model=model)
    assert reply.result["model"] == model  # type: ignore[index,call-overload]
    assert reply.usage is not None
    assert (reply.usage.model, reply.usage.cost) == (model, cost)


@pytest.mark.parametrize("end", ["stop", "tool_calls"])
async def test_arguments_that_are_no_object(end: str) -> None:
    use = {"id": "1", "function": {"name": "f", "arguments": json.dumps([1])}}
    choice = {"message": {"tool_calls": [use]}, "finish_reason": end}
    counts = {"prompt_tokens": 10, "completion_tokens": 2}
    reply = await heard("openai", answer("openai", choices=[choice], usage=counts))
    fault = reply.fault
    assert fault is not None
    assert (fault.kind, fault.counts) == ("invalid_reply", False)
    assert fault.message == "the arguments for 'f' are not a JSON object"
    assert fault.retriable
    assert reply.usage is not None


@pytest.mark.parametrize("vendor", VENDORS)
async def test_one_answer_a_call(vendor: str) -> None:
    reply = await heard(vendor, answer(vendor), n=2)
    assert reply.fault is not None
    assert (reply.fault.kind, reply.fault.retriable) == ("refused", False)
    assert "leave out the parameter 'n'" in reply.fault.message
    assert (await heard(vendor, answer(vendor), n=1)).fault is None
