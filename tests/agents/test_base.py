"""What every kind shares: the contract of `execute`, and faults out of exceptions."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from agenthive.agents import base, faults, results
from agenthive.agents.base import AgentResponse, BaseAgent, parse_strict_json
from agenthive.core.model.calls import Call
from agenthive.core.model.workflow import AgentSpec, Effect
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.errors import (
    AgentError,
    APIError,
    ConfigurationError,
    EgressRefused,
    ResultTooLarge,
    SecretMissing,
)
from agenthive.infra.secrets import Secrets
from agenthive.testing import check_agent

SPEC = AgentSpec(name="a", type="custom", endpoint="custom://a", custom_params={"x": 1})
NOT_SENT, REFUSED, BAD_END, UNKNOWN = FaultClass


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
        assert (fault.kind, fault.message) == ("agent_error", message)
        assert (fault.class_, fault.counts) == (FaultClass.UNKNOWN, True)
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
    ("error", "class_", "kind", "message"),
    [
        (ConfigurationError("no"), NOT_SENT, "refused", "no"),
        (SecretMissing("not set"), NOT_SENT, "refused", "not set"),
        (EgressRefused("not there"), NOT_SENT, "refused", "not there"),
        (httpx2.ConnectError(""), NOT_SENT, "connection", "ConnectError"),
        (httpx2.ConnectTimeout(""), NOT_SENT, "timeout", "Request timeout"),
        (httpx2.PoolTimeout(""), NOT_SENT, "timeout", "Request timeout"),
        (ResultTooLarge("too large"), BAD_END, "invalid_reply", "too large"),
        (NotImplementedError("later"), BAD_END, "agent_error", "NotImplementedError: later"),
        (APIError("no answer"), UNKNOWN, "invalid_reply", "no answer"),
        (AgentError("the tool failed"), UNKNOWN, "agent_error", "the tool failed"),
        (TimeoutError(), UNKNOWN, "timeout", "Request timeout"),
        (httpx2.ReadTimeout("slow"), UNKNOWN, "timeout", "Request timeout"),
        (httpx2.WriteTimeout("slow"), UNKNOWN, "timeout", "Request timeout"),
        (httpx2.ReadError("gone"), UNKNOWN, "connection", "ReadError: gone"),
        (httpx2.WriteError("gone"), UNKNOWN, "connection", "WriteError: gone"),
        (httpx2.RemoteProtocolError("x"), UNKNOWN, "connection", "RemoteProtocolError: x"),
        (httpx2.LocalProtocolError("x"), UNKNOWN, "connection", "LocalProtocolError: x"),
        (ConnectionResetError("gone"), UNKNOWN, "connection", "ConnectionResetError: gone"),
        (ConnectionRefusedError("gone"), UNKNOWN, "connection", "ConnectionRefusedError: gone"),
        (httpx2.DecodingError("bad"), UNKNOWN, "invalid_reply", "DecodingError: bad"),
        (ValueError("odd\nsecond line"), UNKNOWN, "invalid_reply", "ValueError: odd"),
        (RecursionError("deep"), UNKNOWN, "invalid_reply", "RecursionError: deep"),
        (KeyError("k"), UNKNOWN, "agent_error", "KeyError: 'k'"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_faults_out_of_exceptions(
    error: Exception, class_: FaultClass, kind: str, message: str
) -> None:
    fault = faults.fault_of(error)
    assert (fault.class_, fault.kind) == (class_, kind)
    assert fault.message.endswith(message)
    is_final = isinstance(error, ConfigurationError | EgressRefused)
    assert fault.retriable is (not is_final or isinstance(error, SecretMissing))
    assert fault.counts is (class_ in (NOT_SENT, UNKNOWN) and not is_final)


STATUS_CLASSES = [
    (REFUSED, (400, 401, 402, 403, 404, 405, 410, 413, 415, 422, 451)),
    (UNKNOWN, (301, 302, 303, 307, 308, 408, 409, 425, 429, 499, 500, 501, 502, 503, 504, 529)),
]


@pytest.mark.parametrize(
    ("class_", "status"), [(class_, one) for class_, many in STATUS_CLASSES for one in many]
)
def test_a_status_has_the_class_of_the_table(class_: FaultClass, status: int) -> None:
    fault = faults.status_fault(status, {}, "text")
    assert (fault.class_, fault.counts) == (class_, class_ is UNKNOWN)
    declared = faults.status_fault(status, {}, "text", [status])
    assert (declared.class_, declared.counts) == (REFUSED, False)


@pytest.mark.parametrize(
    ("options", "host", "statuses"),
    [
        ({}, "api.openai.com", {429}),
        ({}, "api.anthropic.com", {429}),
        ({}, "anthropic.com", {429}),
        ({}, "notopenai.com", set()),
        ({}, "openai.com.example.org", set()),
        ({"refused_statuses": [429, 503]}, "shop.example", {429, 503}),
        ({"refused_statuses": [409]}, "api.openai.com", {409, 429}),
    ],
)
def test_where_a_429_is_a_refusal(options: dict[str, Any], host: str, statuses: set[int]) -> None:
    assert faults.find_refused_statuses(options, host) == statuses


@pytest.mark.parametrize("wrong", [429, "429", ["429"], [True], [200], [399], [600], [None]])
def test_what_is_no_list_of_statuses(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="must be a list of HTTP statuses"):
        faults.find_refused_statuses({"refused_statuses": wrong}, "x")


def test_nobody_logs_in_without_being_asked_to() -> None:
    assert base.login_headers(SPEC, Secrets(), "x.invalid") == ({}, ())


@pytest.mark.parametrize(("value", "size"), [("é", 4), ({"a": [1, None]}, 16)])
def test_sizes(value: Any, size: int) -> None:
    assert results.check_size(value, size) == size
    with pytest.raises(ResultTooLarge, match=f"larger than {size - 1} bytes"):
        results.check_size(value, size - 1)


def test_sizes_of_what_is_no_json() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        results.check_size(float("nan"), 100)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[1e400]", "the number 1e400 is larger"),
        ("-1e999", "is larger"),
        ("9" * 4001, "a number of 4,001 digits"),
        ("9" * 5000, "a number of 5,000 digits"),
        ("NaN", "NaN is not JSON"),
        ('{"a": 1, "a": 2}', "twice"),
    ],
)
def test_json_that_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_strict_json(text)


def test_json_that_is_read() -> None:
    assert parse_strict_json("[1e308, 1e-400, -0.0]") == [1e308, 0.0, 0.0]
    assert parse_strict_json("9" * 4000) == int("9" * 4000)
