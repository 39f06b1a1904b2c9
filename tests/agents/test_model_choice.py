"""Which vendor an agent of type ai_agent means, and when its package is imported."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from agenthive.agents.base import AgentServices, BaseAgent
from agenthive.agents.llm import router
from agenthive.core.model.calls import Call, Reply
from agenthive.core.model.workflow import AgentSpec, Effect
from agenthive.errors import ConfigurationError
from agenthive.infra.egress import Egress
from agenthive.infra.secrets import Secrets
from tests.agents.rude_model import RudeModel, answer, asked, http

OFFLINE = "offline://extractive"


def spec(endpoint: str = OFFLINE, **custom: Any) -> AgentSpec:
    return AgentSpec(name="model", type="ai_agent", endpoint=endpoint, custom_params=custom)


@pytest.mark.parametrize(
    ("endpoint", "provider", "vendor"),
    [
        (OFFLINE, None, "offline"),
        (OFFLINE, "openai", "offline"),
        ("https://api.openai.com/v1/chat/completions", None, "openai"),
        ("https://api.anthropic.com/v1/messages", None, "anthropic"),
        ("https://anthropic.com", None, "anthropic"),
        ("https://notanthropic.com", None, "openai"),
        ("http://127.0.0.1:8000", None, "openai"),
        ("http://127.0.0.1:8000", "anthropic", "anthropic"),
        ("http://127.0.0.1:8000", "offline", "offline"),
        ("http://127.0.0.1:8000", "somebody", "openai"),
    ],
)
def test_the_vendor_of_an_endpoint(endpoint: str, provider: str | None, vendor: str) -> None:
    custom = {} if provider is None else {"provider": provider}
    assert router.vendor_of(spec(endpoint, **custom)) == vendor


def test_what_is_no_address_of_a_model() -> None:
    with pytest.raises(ConfigurationError, match="'ftp://x' is not an address of a model"):
        router.make(spec("ftp://x"), AgentServices(Secrets(), Egress()))


def test_what_is_known_of_its_actions() -> None:
    assert router.action_problem(spec(), "anything at all") is None
    assert router.effect_of(spec(), "x") is Effect.NONE
    assert router.effect_of(spec("http://127.0.0.1:1"), "x") is None


async def test_the_offline_model_is_one_of_them() -> None:
    agent = router.make(spec(), AgentServices(Secrets(), Egress()))
    reply = await agent.perform(asked("Bees dance."))
    outside = await agent.execute("summarize", {"text": "Bees dance."})
    named = await agent.perform(asked("Bees dance.", model="offline:extractive"))
    assert reply.result == outside.result == named.result
    await agent.close()
    await agent.close()


class Noting(BaseAgent):
    """Stands in for a vendor that is not to be called from a test: notes what it was made with."""

    made: list[Noting]

    def __init__(self, config: AgentSpec) -> None:
        super().__init__(config)
        self.asked: list[dict[str, Any]] = []
        self.made.append(self)

    async def perform(self, call: Call) -> Reply:
        self.asked.append(call.parameters)
        return Reply(result="noted")

    async def execute(self, action: str, parameters: dict[str, Any]) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("model", "endpoint", "variable"),
    [
        ("openai:gpt-4o", "https://api.openai.com/v1", "${env:OPENAI_API_KEY}"),
        ("anthropic:claude", "https://api.anthropic.com", "${env:ANTHROPIC_API_KEY}"),
    ],
)
async def test_a_model_may_be_named_with_its_vendor(
    model: str, endpoint: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Noted(Noting):
        made: list[Noting] = []  # noqa: RUF012 - one list a test

    vendor, _, name = model.partition(":")
    monkeypatch.setattr(f"agenthive.agents.llm.{vendor}.make", lambda spec, *rest: Noted(spec))
    agent = router.make(spec(), AgentServices(Secrets(), Egress()))
    call = asked("x", model=model)
    await asyncio.gather(*(agent.perform(call) for _ in range(3)))
    assert (await agent.perform(call)).result == "noted"
    await agent.close()
    (made,) = Noted.made
    assert made.config.endpoint == endpoint
    assert made.config.authentication == {"type": "api_key", "key": variable}
    assert [parameters["model"] for parameters in made.asked] == [name] * 4


async def test_the_vendor_of_the_endpoint_keeps_its_own_login() -> None:
    async with RudeModel(lambda body: http(200, answer("openai"))) as server:
        agent = server.agent("openai")
        for model in ("openai:bee-1", "llama3:8b"):
            assert (await agent.perform(asked(model=model))).fault is None
        await agent.close()
    assert [body["model"] for body in server.bodies] == ["bee-1", "llama3:8b"]


async def test_a_wrong_definition_is_a_refusal() -> None:
    agent = router.make(spec(), AgentServices(Secrets(), Egress()))
    agent.config = msgspec.structs.replace(agent.config, endpoint="ftp://x")
    found = (await agent.perform(asked())).fault
    assert found is not None
    assert (found.kind, found.retriable, found.counts) == ("refused", False, False)
    outside = await agent.execute("x", {})
    assert (outside.success, outside.error) == (False, found.message)


VENDORS_PACKAGES = ("openai", "anthropic", "mcp", "genai_prices")


@pytest.mark.parametrize(
    "what",
    [
        "import agenthive, agenthive.hive, agenthive.cli",
        "from agenthive.agents.llm import router as models; models.make("
        "models.AgentSpec(name='a', type='ai_agent', endpoint='https://api.openai.com'),"
        "models.AgentServices(0, 0))",
    ],
)
def test_no_vendors_package_before_it_is_needed(what: str) -> None:
    shown = f"{what}\nimport sys; print([n for n in {VENDORS_PACKAGES} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
