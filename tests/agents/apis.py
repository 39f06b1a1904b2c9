"""What the tests of the HTTP agent share: a server, an agent that calls it, and a secret."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from agenthive.agents import http
from agenthive.agents.base import AgentServices
from agenthive.core.model.calls import Call
from agenthive.core.model.workflow import AgentSpec
from agenthive.infra.egress import Egress
from agenthive.infra.secrets import Secrets
from tests.agents.wire import Wire

TOKEN = "wire-token-4711"


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as one:
        yield one


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIRE_TOKEN", TOKEN)


def make(url: str, login: dict[str, Any] | None = None, **custom: Any) -> http.HttpAgent:
    spec = AgentSpec(
        name="api", type="http_api", endpoint=url, authentication=login, custom_params=custom
    )
    made = http.make(spec, AgentServices(Secrets(), Egress()))
    assert isinstance(made, http.HttpAgent)
    return made


@pytest.fixture
async def api(wire: Wire) -> AsyncIterator[http.HttpAgent]:
    one = make(wire.url, max_body=100_000)
    yield one
    await one.close()


def asked(action: str = "fetch", *, key: str = "key-1", **parameters: Any) -> Call:
    return Call(
        run="r",
        task="t",
        attempt=1,
        key=key,
        agent="api",
        action=action,
        parameters=parameters,
        references=frozenset(["${env:WIRE_TOKEN}"]),
    )


async def fault(one: http.HttpAgent, action: str = "fetch", **parameters: Any) -> tuple[str, str]:
    found = (await one.perform(asked(action, **parameters))).fault
    assert found is not None
    return found.kind, found.message
