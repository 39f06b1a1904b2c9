"""What a model's server can do wrong, and what must never leave or show: both vendors' agents."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import msgspec
import pytest

from agenthive.agents.base import AgentServices
from agenthive.agents.llm.router import make
from agenthive.core.model.calls import Fault
from agenthive.core.model.workflow import AgentSpec, TaskSpec, WorkflowSpec
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.policies.retry import RetryPolicy
from agenthive.hive import Hive
from agenthive.infra.egress import Egress
from agenthive.infra.secrets import Secrets
from agenthive.testing import check_agent
from tests.agents.rude_model import RudeModel, answer, asked, http, told

VENDORS = ("openai", "anthropic")
SECRET = "sk-bee-0123456789"
BEARER = {"type": "bearer", "token": "${env:BEE_KEY}"}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEE_KEY", SECRET)


async def fault(vendor: str, wire: bytes, **custom: Any) -> Fault:
    """The fault that comes of one answer."""
    async with RudeModel(lambda body: wire) as server:
        agent = server.agent(vendor, authentication=BEARER, **custom)
        reply = await agent.perform(asked())
        await agent.close()
        assert len(server.heads) == 1, "nobody but the runtime tries again"
    assert reply.fault is not None
    assert SECRET not in repr(reply)
    return reply.fault


@pytest.mark.parametrize("vendor", VENDORS)
async def test_the_kit(vendor: str) -> None:
    def script(body: dict[str, Any]) -> bytes | None:
        match told(body):
            case "good":
                return http(200, answer(vendor, f"you said {SECRET}"))
            case "hang":
                return None
            case "large":
                return http(200, answer(vendor, "x" * 30_000))
        return http(500, {"error": {"message": f"no luck with {SECRET}"}})

    async with RudeModel(script) as server:
        await check_agent(
            lambda: server.agent(vendor, authentication=BEARER, max_body=20_000),
            good=asked("good"),
            bad=asked("bad"),
            hanging=asked("hang"),
            large=asked("large"),
            keys=lambda: server.keys,
            secrets=[SECRET],
            stopped=lambda: server.hanging == 0,
        )


@pytest.mark.parametrize("vendor", VENDORS)
async def test_cancelling_closes_the_connection(vendor: str) -> None:
    async with RudeModel(lambda body: None) as server:
        agent = server.agent(vendor)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(agent.perform(asked()), 0.5)
        for _ in range(100):
            if server.heads and not server.hanging:
                break
            await asyncio.sleep(0.02)
        assert (len(server.heads), server.hanging) == (1, 0)
        await agent.close()


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_run_that_waits_no_longer_closes_the_connection(vendor: str) -> None:
    async with RudeModel(lambda body: None) as server:
        spec = AgentSpec(
            name="model",
            type="ai_agent",
            endpoint=f"http://{server.host}",
            timeout=0.4,
            retry=RetryPolicy(max_attempts=2, initial_delay=0.01),
            custom_params={"provider": vendor, "model": "m-1"},
        )
        # What is imported at first use must not use up the time of the first call.
        await make(spec, AgentServices(Secrets(), Egress(guarded=True))).perform(asked())
        task = TaskSpec(name="t", agent="model", action="say something")
        async with Hive.open() as hive:
            report = await hive.run(WorkflowSpec(name="w", agents=(spec,), tasks=(task,)))
            assert server.hanging == 0
    assert (report.status, report.tasks["t"].attempts) == ("failed", 2)
    assert "timeout" in report.errors["t"]
    assert len(server.heads) == 2
    assert len(set(server.keys)) == 1


SAID = {"error": {"message": "so it is", "type": "some_error"}}
OVERLOADED = {"error": {"message": "so it is", "type": "overloaded_error"}}
QUOTA = {"error": {"message": "so it is", "code": "insufficient_quota"}}


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "retriable", "counts", "wait"),
    [
        (400, {}, SAID, "refused", False, False, None),
        (401, {}, SAID, "refused", False, False, None),
        (403, {}, SAID, "refused", False, False, None),
        (404, {}, SAID, "refused", False, False, None),
        (302, {"location": "http://127.0.0.1:9/"}, SAID, "invalid_reply", True, True, None),
        (408, {}, SAID, "unavailable", True, True, None),
        (429, {"retry-after": "7"}, SAID, "rate_limited", True, False, 7.0),
        (429, {"retry-after-ms": "1500"}, SAID, "rate_limited", True, False, 1.5),
        (429, {"x-ratelimit-reset-tokens": "1m2s"}, SAID, "rate_limited", True, False, 62.0),
        (429, {}, QUOTA, "refused", False, False, None),
        (500, {}, SAID, "unavailable", True, True, None),
        (500, {}, OVERLOADED, "overloaded", True, True, None),
        (503, {"retry-after": "3"}, SAID, "overloaded", True, True, 3.0),
        (529, {}, OVERLOADED, "overloaded", True, True, None),
        (502, {}, "so it is", "unavailable", True, True, None),
        (502, {}, '"so it is"', "unavailable", True, True, None),
    ],
)
async def test_a_status(
    vendor: str,
    status: int,
    headers: dict[str, str],
    body: object,
    kind: str,
    retriable: bool,
    counts: bool,
    wait: float | None,
) -> None:
    found = await fault(vendor, http(status, body, headers))
    assert (found.kind, found.retriable, found.counts, found.retry_after) == (
        kind,
        retriable,
        counts,
        wait,
    )
    assert found.message.replace('"', "") == f"HTTP {status}: so it is"


OPENAI_SHAPES: list[tuple[object, str]] = [
    ({"error": {"message": "no such thing"}}, "no such thing"),
    ({"id": "x", "choices": []}, "it has the keys choices, id"),
    ({}, "it has the keys -"),
    ({"choices": [{"message": None}]}, "keys choices"),
    ({"choices": [{"message": {"content": 7}}]}, "keys choices"),
    ({"choices": [{"message": {"tool_calls": [{"id": "1"}]}}]}, "keys choices"),
]
ANTHROPIC_SHAPES: list[tuple[object, str]] = [
    ({"error": {"message": "no such thing"}}, "no such thing"),
    ({"id": "x"}, "it has the keys id"),
    ({"content": "text"}, "keys content"),
    ({"content": [{"type": "text", "text": 7}]}, "keys content"),
    ({"content": [{"type": "tool_use", "id": "1"}]}, "keys content"),
]
ANY_SHAPES: list[tuple[object, str]] = [
    ("not JSON", "the response is not valid"),
    ("", "the response is not valid"),
    ("[1]", "not a JSON object"),
    ('{"a": NaN}', "NaN"),
    ('{"a": 1, "a": 2}', "twice"),
    (b"\xff\xfe{", "the response is not valid"),
    ("[" * 100_000, "nested too deep"),
]
SHAPES = [
    *(("openai", *case) for case in OPENAI_SHAPES + ANY_SHAPES),
    *(("anthropic", *case) for case in ANTHROPIC_SHAPES + ANY_SHAPES),
]


@pytest.mark.parametrize(("vendor", "body", "words"), SHAPES, ids=range(len(SHAPES)))
async def test_what_is_no_answer(vendor: str, body: object, words: str) -> None:
    found = await fault(vendor, http(200, body))
    kind = "unavailable" if words == "no such thing" else "invalid_reply"
    assert (found.kind, found.retriable, found.class_) == (kind, True, FaultClass.UNKNOWN)
    assert words in found.message


@pytest.mark.parametrize("vendor", VENDORS)
async def test_what_was_not_asked_for_or_is_too_much(vendor: str) -> None:
    packed = gzip.compress(b"{}")
    for wire, class_, words in (
        (
            http(200, packed, {"content-encoding": "gzip"}),
            FaultClass.UNKNOWN,
            "compressed (gzip)",
        ),
        (http(200, answer(vendor, "x" * 2000)), FaultClass.BAD_END, "larger than 1000 bytes"),
        # The status says more than the length of its text.
        (http(500, "x" * 2000), FaultClass.UNKNOWN, "HTTP 500: xxx"),
        (http(400, "x" * 2000), FaultClass.REFUSED, "HTTP 400: xxx"),
    ):
        found = await fault(vendor, wire, max_body=1000)
        assert found.class_ is class_
        assert words in found.message


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_connection_that_breaks(vendor: str) -> None:
    for wire in (b"", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", b"SMTP ready\r\n\r\n"):
        async with RudeModel(lambda body, wire=wire: wire) as server:  # type: ignore[misc]
            agent = server.agent(vendor)
            reply = await agent.perform(asked())
            await agent.close()
        assert reply.fault is not None
        assert (reply.fault.kind, reply.fault.retriable) == ("connection", True)
        assert reply.fault.message.startswith(f"{server.host}: ")
    # Nobody listens there any more.
    reply = await agent.perform(asked())
    assert reply.fault is not None
    assert reply.fault.kind == "connection"
    await agent.close()


@pytest.mark.parametrize("vendor", VENDORS)
async def test_secrets_do_not_come_back(vendor: str) -> None:
    long = f"{SECRET} " * 200
    found = await fault(vendor, http(401, {"error": {"message": long}}))
    assert found.message.startswith("HTTP 401: *** ***")
    assert len(found.message) == 500
    async with RudeModel(lambda body: http(200, answer(vendor, f"it is {SECRET}"))) as server:
        agent = server.agent(vendor, authentication=BEARER)
        reply = await agent.perform(asked())
        assert reply.result["content"] == "it is ***"  # type: ignore[index,call-overload]
        # A reference in a parameter is filled only if the definition itself holds it.
        own = asked("${env:BEE_KEY}")
        await agent.perform(own)
        await agent.perform(msgspec.structs.replace(own, references=frozenset(["${env:BEE_KEY}"])))
        await agent.close()
        assert [told(body) for body in server.bodies] == ["hello", "${env:BEE_KEY}", SECRET]


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_secret_belongs_to_one_host(vendor: str) -> None:
    secrets = Secrets()
    good = http(200, answer(vendor))
    async with RudeModel(lambda body: good) as one, RudeModel(lambda body: good) as other:
        agents = [one.agent(vendor, secrets, authentication=BEARER)]
        agents.append(other.agent(vendor, secrets, headers={"X-Key": "${env:BEE_KEY}"}))
        replies = [await agent.perform(asked()) for agent in agents]
        for agent in agents:
            await agent.close()
    assert replies[0].fault is None
    assert replies[1].fault is not None
    assert replies[1].fault.kind == "refused"
    assert f"was first sent to {one.host}" in replies[1].fault.message
    assert other.heads == []


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    ("login", "header", "value"),
    [
        ({"type": "bearer", "token": "${env:BEE_KEY}"}, "authorization", f"Bearer {SECRET}"),
        ({"type": "api_key", "key": "${env:BEE_KEY}", "header": "Api-Key"}, "api-key", SECRET),
        (
            {"type": "basic", "username": "bee", "password": "${env:BEE_KEY}"},
            "authorization",
            "Basic YmVlOnNrLWJlZS0wMTIzNDU2Nzg5",
        ),
    ],
)
async def test_logins(vendor: str, login: dict[str, Any], header: str, value: str) -> None:
    async with RudeModel(lambda body: http(200, answer(vendor))) as server:
        agent = server.agent(vendor, authentication=login)
        assert (await agent.perform(asked())).fault is None
        await agent.close()
    (head,) = server.heads
    assert head[header] == value
    assert {"authorization", "x-api-key", "api-key"} & set(head) == {header}


@pytest.mark.parametrize(
    ("vendor", "header"), [("openai", "authorization"), ("anthropic", "x-api-key")]
)
async def test_an_api_key_goes_where_the_vendor_wants_it(vendor: str, header: str) -> None:
    login = {"type": "api_key", "key": "${env:BEE_KEY}"}
    async with RudeModel(lambda body: http(200, answer(vendor))) as server:
        agent = server.agent(vendor, authentication=login)
        await agent.perform(asked())
        await agent.close()
    assert server.heads[0][header].removeprefix("Bearer ") == SECRET


@pytest.mark.parametrize("vendor", VENDORS)
async def test_the_environment_sends_nothing(vendor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = vendor.upper()
    for variable in ("API_KEY", "AUTH_TOKEN", "ADMIN_KEY", "ORG_ID", "PROJECT_ID"):
        monkeypatch.setenv(f"{name}_{variable}", f"ambient-{variable}")
    monkeypatch.setenv(f"{name}_CUSTOM_HEADERS", "X-Ambient: yes\nAuthorization: Bearer ambient\nx")
    monkeypatch.setenv(f"{name}_BASE_URL", "http://127.0.0.1:9/")
    async with RudeModel(lambda body: http(200, answer(vendor))) as server:
        agent = server.agent(vendor, headers={"X-Own": "mine"})
        assert (await agent.perform(asked())).fault is None
        await agent.close()
    (head,) = server.heads
    assert "ambient" not in repr(head).lower()
    assert head["x-own"] == "mine"


async def test_an_identity_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("ANTHROPIC_IDENTITY_TOKEN", "ambient")
    monkeypatch.setenv("ANTHROPIC_FEDERATION_RULE_ID", "fdrl_1")
    monkeypatch.setenv("ANTHROPIC_ORGANIZATION_ID", "00000000-0000-0000-0000-000000000001")
    async with RudeModel(lambda body: http(200, answer("anthropic"))) as server:
        agent = server.agent("anthropic")
        assert (await agent.perform(asked())).fault is None
        await agent.close()
    assert server.lines == ["POST /v1/messages HTTP/1.1"]
    assert "authorization" not in server.heads[0]


@pytest.mark.parametrize(
    ("endpoint", "name", "variable"),
    [
        ("https://api.openai.com/v1/chat/completions", "api.openai.com", "OPENAI_API_KEY"),
        ("https://api.anthropic.com", "api.anthropic.com", "ANTHROPIC_API_KEY"),
    ],
)
async def test_a_vendor_is_not_asked_without_a_key(
    endpoint: str, name: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(variable, raising=False)
    spec = AgentSpec(name="model", type="ai_agent", endpoint=endpoint)
    bare = make(spec, AgentServices(Secrets(), Egress()))
    found = (await bare.perform(asked(model="m"))).fault
    assert found is not None
    assert (found.kind, found.retriable, found.counts) == ("refused", False, False)
    assert f"has no key for {name}" in found.message
    assert f"${{env:{variable}}}" in found.message
    login = {"type": "bearer", "token": f"${{env:{variable}}}"}
    unset = make(
        msgspec.structs.replace(spec, authentication=login), AgentServices(Secrets(), Egress())
    )
    found = (await unset.perform(asked(model="m"))).fault
    assert found is not None
    assert found.message == (
        f"the environment variable {variable} is not set. "
        f"Set it before the run: export {variable}=VALUE"
    )
    await bare.close()
    await unset.close()


@pytest.mark.parametrize("vendor", VENDORS)
async def test_in_server_mode_loopback_is_refused(vendor: str) -> None:
    async with RudeModel(lambda body: http(200, answer(vendor))) as server:
        shut = server.agent(vendor, egress=Egress(guarded=True))
        found = (await shut.perform(asked())).fault
        allowed = server.agent(vendor, egress=Egress(guarded=True, allow=[server.host]))
        assert (await allowed.perform(asked())).fault is None
        await shut.close()
        await allowed.close()
    assert found is not None
    assert (found.kind, found.retriable) == ("refused", False)
    assert "not a public address" in found.message
    assert len(server.heads) == 1
