"""What every kind shares: the contract of `execute`, and faults out of exceptions."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from agenthive.agents import base
from agenthive.agents.base import AgentResponse, BaseAgent
from agenthive.core.model.calls import Call
from agenthive.core.model.workflow import AgentSpec, Effect
from agenthive.errors import AgentError, APIError, ConfigurationError, EgressRefused
from agenthive.infra.secrets import Secrets
from agenthive.testing import check_agent

SPEC = AgentSpec(name="a", type="custom", endpoint="custom://a", custom_params={"x": 1})


class Simple(BaseAgent):
    """A user's agent that stops at `execute`."""

    pure_actions = frozenset({"look"})

    async def execute(self, action: str, parameters: dict[str, Any]) -> AgentResponse:
        if action == "look":
            return AgentResponse(success=True, result=parameters)
        if action == "crash":
            raise RuntimeError("crashed")
        return AgentResponse(success=False, error=parameters.get("error"))


def asked(action: str, **parameters: Any) -> Call:
    return Call(
        run="r", task="t", attempt=1, key="k", agent="a", action=action, parameters=parameters
    )


async def test_the_kit() -> None:
    await check_agent(
        lambda: Simple(SPEC), good=asked("look"), bad=asked("crash"), hanging=None, keys=None
    )


async def test_execute_alone() -> None:
    one = Simple(SPEC)
    assert (one.name, one.config, one.kind) == ("a", SPEC, "custom")
    assert (await one.perform(asked("look", a=1))).result == {"a": 1}
    for action, parameters, message in (
        ("crash", {}, "RuntimeError: crashed"),
        ("x", {"error": "no"}, "no"),
        ("x", {}, "the agent gave no reason"),
    ):
        fault = (await one.perform(asked(action, **parameters))).fault
        assert fault is not None
        assert (fault.kind, fault.message, fault.counts) == ("agent_error", message, False)
        alone = await base.execute_via_perform(one, action, parameters)
        assert (alone.success, alone.error) == (False, message)


def test_what_is_known_of_actions() -> None:
    assert Simple.action_problem(SPEC, "anything") is None
    assert Simple.effect_of(SPEC, "look") is Effect.NONE
    assert Simple.effect_of(SPEC, "touch") is None


def test_options() -> None:
    assert base.get_option(SPEC, "x", 5) == 1
    assert base.get_option(SPEC, "y", 5) == 5


REQUEST = httpx2.Request("GET", "http://x.invalid")


@pytest.mark.parametrize(
    ("error", "kind", "retriable", "message"),
    [
        (ConfigurationError("no"), "refused", False, "no"),
        (EgressRefused("not there"), "refused", False, "not there"),
        (APIError("too large"), "invalid_reply", True, "too large"),
        (AgentError("the tool failed"), "agent_error", True, "the tool failed"),
        (TimeoutError(), "timeout", True, "Request timeout"),
        (httpx2.ReadTimeout("slow"), "timeout", True, "Request timeout"),
        (ConnectionResetError("gone"), "connection", True, "ConnectionResetError: gone"),
        (httpx2.ConnectError(""), "connection", True, "ConnectError"),
        (httpx2.DecodingError("bad"), "invalid_reply", True, "DecodingError: bad"),
        (ValueError("odd\nsecond line"), "invalid_reply", True, "ValueError: odd"),
        (RecursionError("deep"), "invalid_reply", True, "RecursionError: deep"),
        (KeyError("k"), "agent_error", True, "KeyError: 'k'"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_faults_out_of_exceptions(
    error: Exception, kind: str, retriable: bool, message: str
) -> None:
    fault = base.fault_of(error)
    assert (fault.kind, fault.retriable) == (kind, retriable)
    assert fault.message.endswith(message)
    assert fault.counts is (kind in ("connection", "timeout", "invalid_reply"))


def test_nobody_logs_in_without_being_asked_to() -> None:
    assert base.login_headers(SPEC, Secrets(), "x.invalid") == ({}, ())


@pytest.mark.parametrize(("value", "size"), [("é", 4), ({"a": [1, None]}, 16)])
def test_sizes(value: Any, size: int) -> None:
    assert base.check_size(value, size) == size
    with pytest.raises(APIError, match=f"larger than {size - 1} bytes"):
        base.check_size(value, size - 1)


def test_sizes_of_what_is_no_json() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        base.check_size(float("nan"), 100)
