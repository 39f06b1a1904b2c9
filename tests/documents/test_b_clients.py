"""B36-B41: the clients, alone and in an engine, against aimock, which plays both vendors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agenthive.core.model.workflow import AgentSpec
from agenthive.errors import AgentHiveError, AgentUnavailable, APIError
from agenthive.facades.orchestration import (
    AgentStatus,
    AnthropicClient,
    CostConfig,
    LLMClient,
    LLMResponse,
    OpenAIClient,
    WorkflowStatus,
)
from agenthive.facades.orchestration.calls import ClientAgentFactory
from tests.agents.aimock import MODELS, Aimock, serving
from tests.agents.wire import Seen, Wire
from tests.documents.rig_b import FakeClient, agent, engine, executed, workflow
from tests.requires import require

KEY = "sk-bee-0123456789"
KINDS: dict[str, Any] = {"openai": OpenAIClient, "anthropic": AnthropicClient}
VENDORS = sorted(KINDS)
HEADERS = {"openai": ("authorization", f"Bearer {KEY}"), "anthropic": ("x-api-key", KEY)}
PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}
TOOL = {"name": "get_weather", "description": "The weather.", "input_schema": {"type": "object"}}


@pytest.fixture(scope="module")
def mock() -> Iterator[Aimock]:
    require("node")
    with serving(Path(__file__).with_name("aimock_b.json")) as running:
        yield running


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as server:
        yield server


@pytest.mark.parametrize("vendor", VENDORS)
async def test_b37_b39_b40_b41_a_completion(mock: Aimock, vendor: str) -> None:
    client = KINDS[vendor](api_key=KEY, base_url=mock.url)
    said = await client.complete(
        prompt="Analyze this data...", model=MODELS[vendor], temperature=0.7, max_tokens=1000
    )
    await client.close()
    assert isinstance(said, LLMResponse)
    assert (said.content, said.model) == ("All is well.", MODELS[vendor])
    assert (said.input_tokens, said.output_tokens) == (1000, 200)
    assert (said.finish_reason, said.tool_calls) == ("stop", None)
    assert said.metadata["usage"]["input_tokens"] == 1000


@pytest.mark.parametrize("vendor", VENDORS)
async def test_b37_what_is_asked_is_sent(vendor: str, wire: Wire) -> None:
    wire.answer(500)
    client = KINDS[vendor](KEY, base_url=wire.url)
    for _ in range(2):  # the client of a vendor is opened again after a close
        with pytest.raises(APIError):
            await client.complete("Hi", "m-1", 0.25, 77, [TOOL], top_p=0.5, system="Be kind.")
        await client.close()
    assert len(wire.seen) == 2, "nothing is tried again"
    sent = json.loads(wire.seen[0].body)
    assert (sent["model"], sent["temperature"], sent["max_tokens"]) == ("m-1", 0.25, 77)
    assert sent["top_p"] == 0.5
    assert "get_weather" in json.dumps(sent["tools"])
    assert {"role": "user", "content": "Hi"} in sent["messages"]
    assert "Be kind." in json.dumps(sent)
    name, value = HEADERS[vendor]
    assert wire.seen[0].headers[name] == value


@pytest.mark.parametrize("vendor", VENDORS)
async def test_b38_tool_calls_and_their_results(mock: Aimock, vendor: str) -> None:
    client = KINDS[vendor](KEY, base_url=mock.url)
    messages = [{"role": "user", "content": "weather in Köln?"}]
    said = await client.complete_with_tools(messages, MODELS[vendor], [TOOL])
    assert said.finish_reason == "tool_calls"
    (use,) = said.tool_calls or ()
    assert (use["name"], use["arguments"]) == ("get_weather", {"city": "Köln"})
    messages += [
        {"role": "assistant", "content": said.content, "tool_calls": said.tool_calls},
        {"role": "tool", "tool_call_id": use["id"], "content": "rain"},
    ]
    last = await client.complete_with_tools(messages, MODELS[vendor], [TOOL], tool_choice="auto")
    await client.close()
    assert (last.content, last.tool_calls) == ("It rains in Köln.", None)


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(("says", "told"), [("no entry", "HTTP 401"), ("broken", "HTTP 500")])
async def test_b39_b40_errors_are_of_the_house(
    mock: Aimock, vendor: str, says: str, told: str
) -> None:
    client = KINDS[vendor](KEY, base_url=mock.url)
    with pytest.raises(APIError, match=told) as caught:
        await client.complete(says, MODELS[vendor])
    await client.close()
    assert isinstance(caught.value, AgentHiveError)


@pytest.mark.parametrize("vendor", VENDORS)
async def test_b39_b40_the_key_is_never_shown(vendor: str, wire: Wire) -> None:
    """Not even by a server that sends it back."""

    def echo(seen: Seen) -> tuple[int, dict[str, str], bytes]:
        body = {"error": {"message": f"wrong key {seen.headers[HEADERS[vendor][0]]}"}}
        return 401, {}, json.dumps(body).encode()

    wire.reply = echo
    client = KINDS[vendor](KEY, base_url=wire.url)
    with pytest.raises(APIError, match="wrong key") as caught:
        await client.complete("Hi", "m")
    await client.close()
    shown = [repr(client), str(client), repr(caught.value), str(caught.value)]
    shown += [repr(caught.value.__dict__), repr(client._agent.config)]
    assert not any("0123456789" in text for text in shown)


async def test_b39_without_a_key_and_without_a_server() -> None:
    with pytest.raises(APIError, match="has no key"):
        await OpenAIClient("").complete("Hi", "gpt-4")
    client = OpenAIClient(KEY, base_url="http://127.0.0.1:9")
    with pytest.raises(AgentUnavailable, match=r"127\.0\.0\.1:9"):
        await client.complete("Hi", "gpt-4")
    await client.close()


async def test_b39_a_server_that_never_answers(wire: Wire) -> None:
    wire.hang()
    client = OpenAIClient(KEY, base_url=wire.url, timeout=0.2)
    with pytest.raises(AgentUnavailable, match=r"no response in 0\.2 s"):
        await client.complete("Hi", "gpt-4")
    await client.close()


def test_b36_is_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        LLMClient()  # type: ignore[abstract]
    assert issubclass(OpenAIClient, LLMClient)
    assert issubclass(AnthropicClient, LLMClient)


async def test_b38_a_client_of_ones_own_need_not_know_conversations() -> None:
    with pytest.raises(NotImplementedError, match="FakeClient has no complete_with_tools"):
        await FakeClient().complete_with_tools([], "m", [])


@pytest.mark.parametrize("vendor", VENDORS)
async def test_b16_an_engine_asks_the_vendor(mock: Aimock, vendor: str) -> None:
    """Through the hive: priced, with the idempotency key, with its tools."""
    client = KINDS[vendor](KEY, base_url=mock.url)
    config = {"model": MODELS[vendor], "temperature": 0.31}
    flow = workflow(
        agent("plain", "Analyze all", llm_config=config),
        agent("tool", "weather?", llm_config=config, tools=[TOOL], dependencies=["plain"]),
    )
    done = await executed(client, flow)
    plain, tool = (one.result for one in done.agents)
    assert done.status is WorkflowStatus.COMPLETED
    assert plain is not None
    assert tool is not None
    prices = {"openai": (2500, 10_000), "anthropic": (3000, 15_000)}[vendor]
    assert plain.cost == (1000 * prices[0] + 200 * prices[1]) / 1e9
    assert plain.output == {
        "content": "All is well.",
        "model": MODELS[vendor],
        "finish_reason": "stop",
    }
    assert tool.output is not None
    assert tool.output["tool_calls"][0]["arguments"] == {"city": "Köln"}
    heard = [call for call in mock.journal("__default__") if call["path"] == PATHS[vendor]]
    calls = [call for call in heard if call["body"].get("temperature") == 0.31]
    keys = [call["headers"].get("idempotency-key") for call in calls]
    assert len(keys) == len(set(keys)) == 2
    assert all(keys)


async def test_b16_a_pause_that_a_vendor_asks_for_is_no_try(mock: Aimock) -> None:
    client = OpenAIClient(KEY, base_url=mock.url)
    busy = agent("a", "busy", llm_config={"model": "gpt-4o"}, max_retries=0)
    done = await executed(client, workflow(busy))
    assert busy.status is AgentStatus.COMPLETED
    assert done.agents[0].result is not None
    assert done.agents[0].result.output is not None
    assert done.agents[0].result.output["content"] == "At last."


class Overloaded(Exception):
    """As vendors' packages raise it."""

    status_code = 401

    def __init__(self) -> None:
        super().__init__("who are you")


async def test_b16_what_a_client_of_ones_own_raises() -> None:
    """An HTTP status in an exception says whether trying again may help."""
    refused, broken = FakeClient(lambda prompt: Overloaded()), FakeClient(lambda prompt: KeyError())
    for client, tries in ((refused, 1), (broken, 3)):
        done = await executed(client, workflow(agent(max_retries=2)))
        (result,) = (one.result for one in done.agents)
        assert result is not None
        assert (len(client.asked), result.retry_count) == (tries, tries - 1)
        assert result.is_retriable() is (tries == 3)
        assert result.error


WRONG: dict[str, Any] = {
    "nothing": None,
    "a map": {"content": "x"},
    "negative": LLMResponse("x", "gpt-4", -5, 2),
    "no count": LLMResponse("x", "gpt-4", None, 1),  # type: ignore[arg-type]
    "half": LLMResponse("x", "gpt-4", 0.5, 1),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("what", WRONG)
async def test_b16_what_is_no_proper_answer_takes_nothing_back(what: str) -> None:
    """What was held counts as spent, whether there is an answer or not."""
    one = engine(FakeClient(lambda prompt: WRONG[what]))
    flow = workflow(agent(max_retries=0), cost_budget=1.0)
    await one.execute_workflow(await one.register_workflow(flow))
    answered = isinstance(WRONG[what], LLMResponse)
    assert flow.status is (WorkflowStatus.COMPLETED if answered else WorkflowStatus.FAILED)
    costs = one.cost_tracker.get_statistics()
    assert costs["total_cost"] == 0
    assert 0 < costs["assumed_cost"] < 1
    await one.shutdown()


async def test_b16_a_client_is_stopped_for_real() -> None:
    """A time-out cancels the call; the workflow goes on to its end."""
    slow = FakeClient(delay=60)
    done = await asyncio.wait_for(executed(slow, workflow(agent(timeout=0.05, max_retries=0))), 5)
    assert done.status is WorkflowStatus.FAILED
    assert slow.at_once == 0
    assert "timeout" in str(done.agents[0].result.error).lower()  # type: ignore[union-attr]


async def test_b37_a_client_serves_an_agent_outside_any_run() -> None:
    """The agent that runs call, called by itself: an answer, and an error of the client."""
    spec = AgentSpec(name="writer", type="llm_client", endpoint="client://writer")
    parameters = {"prompt": "Hi {name}", "model": "gpt-4", "inputs": {"name": "bee"}}
    writer = ClientAgentFactory(FakeClient(), CostConfig())(spec)
    response = await writer.execute("complete", parameters)
    assert response.success
    assert response.result["content"] == "done: Hi bee"
    broken = FakeClient(lambda prompt: ConnectionError("gone"))
    response = await ClientAgentFactory(broken, CostConfig())(spec).execute("complete", parameters)
    assert (response.success, response.result) == (False, None)
    assert "gone" in str(response.error)
