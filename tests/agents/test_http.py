"""The HTTP agent, against a real server on loopback that is told what to answer."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import zlib
from typing import Any

import pytest

from agenthive.agents import http
from agenthive.agents.base import AgentServices
from agenthive.core.model.workflow import AgentSpec, Effect
from agenthive.errors import ConfigurationError
from agenthive.infra.egress import Egress
from agenthive.infra.secrets import Secrets
from agenthive.testing import check_agent
from tests.agents.apis import TOKEN, api, asked, fault, make, token, wire
from tests.agents.peers import free_port, until
from tests.agents.wire import Answer, Seen, Wire

__all__ = ["api", "token", "wire"]  # fixtures

JSON = {"content-type": "application/json"}


async def test_the_kit(wire: Wire) -> None:
    def reply(seen: Seen) -> Answer | None:
        if seen.path == "/hang":
            return None
        if seen.path == "/bad":
            return 500, {}, json.dumps(seen.headers).encode()
        return 200, JSON, b'{"a": [1, 2.5, null]}' if seen.path == "/good" else b"x" * 100_001

    wire.reply = reply
    await check_agent(
        lambda: make(wire.url, {"type": "bearer", "token": "${env:WIRE_TOKEN}"}, max_body=100_000),
        good=asked(endpoint="/good"),
        bad=asked(endpoint="/bad"),
        hanging=asked(endpoint="/hang"),
        large=asked(endpoint="/large"),
        keys=lambda: [s.headers["idempotency-key"] for s in wire.seen if s.path == "/good"],
        secrets=[TOKEN],
        stopped=lambda: wire.gone == sum(seen.path == "/hang" for seen in wire.seen),
    )
    assert all(seen.headers["authorization"] == f"Bearer {TOKEN}" for seen in wire.seen)


# What is sent.


@pytest.mark.parametrize("method", sorted(http.METHODS))
async def test_methods(wire: Wire, api: http.HttpAgent, method: str) -> None:
    wire.answer(200, body="fine")
    reply = await api.perform(asked("request", method=method.lower(), endpoint="things/1"))
    assert reply.fault is None
    assert reply.result == ("" if method == "HEAD" else "fine")
    assert (wire.seen[0].method, wire.seen[0].path) == (method, "/things/1")
    assert wire.seen[0].headers["user-agent"] == "agenthive"


@pytest.mark.parametrize(
    ("base", "path", "query", "asked_for"),
    [
        ("", "", None, "/"),
        ("", "/a/b", None, "/a/b"),
        ("/v1/", "a", None, "/v1/a"),
        ("/v1?key=1", "a?b=2", None, "/v1/a?key=1&b=2"),
        ("/v1?key=1", "a", None, "/v1/a?key=1"),
        ("", "search", {"q": "a b&c", "n": 2}, "/search?q=a+b%26c&n=2"),
        ("", "@evil.example/", None, "/@evil.example/"),
    ],
)
async def test_addresses(wire: Wire, base: str, path: str, query: Any, asked_for: str) -> None:
    one = make(wire.url + base)
    assert (await one.perform(asked(endpoint=path, query=query))).fault is None
    await one.close()
    assert wire.seen[0].path.replace("%20", "+") == asked_for


async def test_a_whole_address_of_the_same_server(wire: Wire, api: http.HttpAgent) -> None:
    assert (await api.perform(asked(endpoint=f"{wire.url}/x"))).fault is None
    assert wire.seen[0].path == "/x"


@pytest.mark.parametrize("path", ["http://evil.example/", "//evil.example/x", "https://127.0.0.1"])
async def test_another_server_cannot_be_named(wire: Wire, api: http.HttpAgent, path: str) -> None:
    kind, message = await fault(api, endpoint=path)
    assert kind == "refused"
    assert "must be at the host of its agent" in message
    assert wire.seen == []


@pytest.mark.parametrize(
    ("parameters", "kind", "body"),
    [
        ({"json": {"a": [1]}}, "application/json", b'{"a":[1]}'),
        ({"json": 0}, "application/json", b"0"),
        ({"form": {"a": "x y", "b": 2}}, "application/x-www-form-urlencoded", b"a=x+y&b=2"),
        ({"body": "raw \u00e9"}, "", "raw \u00e9".encode()),
    ],
)
async def test_bodies(
    wire: Wire, api: http.HttpAgent, parameters: Any, kind: str, body: bytes
) -> None:
    assert (await api.perform(asked("request", method="POST", **parameters))).fault is None
    assert wire.seen[0].headers.get("content-type", "") == kind
    assert wire.seen[0].body == body


async def test_headers_and_the_secrets_in_them(wire: Wire, api: http.HttpAgent) -> None:
    given = {"X-Own": "${env:WIRE_TOKEN}", "X-Foreign": "${env:HOME}", "X-Empty": ""}
    assert (await api.perform(asked(headers=given))).fault is None
    seen = wire.seen[0].headers
    assert seen["x-own"] == TOKEN
    assert seen["x-foreign"] == "${env:HOME}"  # not of the definition: it came in with data
    assert "x-empty" not in seen


async def test_the_key(wire: Wire) -> None:
    one, other = make(wire.url), make(wire.url, idempotency_header="X-Once")
    for attempt in (1, 2):
        call = asked(key="same")
        await one.perform(call)
        assert wire.seen[attempt - 1].headers["idempotency-key"] == "same"
    await one.execute("fetch", {})
    assert "idempotency-key" not in wire.seen[2].headers
    await other.perform(asked(key="mine"))
    assert wire.seen[3].headers["x-once"] == "mine"
    await one.close()
    await other.close()


@pytest.mark.parametrize(
    ("login", "name", "value"),
    [
        ({"type": "bearer", "token": "${env:WIRE_TOKEN}"}, "authorization", f"Bearer {TOKEN}"),
        ({"type": "api_key", "key": "${env:WIRE_TOKEN}"}, "x-api-key", TOKEN),
        ({"type": "api_key", "key": "${env:WIRE_TOKEN}", "header": "X-Key"}, "x-key", TOKEN),
        (
            {"type": "basic", "username": "u", "password": "${env:WIRE_TOKEN}"},
            "authorization",
            "Basic " + base64.b64encode(f"u:{TOKEN}".encode()).decode(),
        ),
    ],
)
async def test_logging_in(wire: Wire, login: Any, name: str, value: str) -> None:
    wire.reply = lambda seen: (200, JSON, json.dumps(dict(seen.headers)).encode())
    one = make(wire.url, login)
    echoed = await one.perform(asked(headers={name.upper(): "of the task"}))
    await one.close()
    assert wire.seen[0].headers[name] == value
    assert value.split()[-1] not in repr(echoed)  # also not in base64
    assert "***" in repr(echoed)


async def test_a_secret_that_is_missing_is_named(wire: Wire) -> None:
    one = make(wire.url, {"type": "bearer", "token": "${env:NO_SUCH_TOKEN}"})
    kind, message = await fault(one)
    assert kind == "refused"
    assert "the environment variable NO_SUCH_TOKEN is not set. Set it before the run" in message
    assert wire.seen == []


async def test_a_secret_stays_with_its_host(wire: Wire) -> None:
    secrets = Secrets()
    login = {"type": "bearer", "token": "${env:WIRE_TOKEN}"}
    with Wire() as elsewhere:
        first, second = (
            http.make(
                AgentSpec(name="a", type="http_api", endpoint=url, authentication=login),
                AgentServices(secrets, Egress()),
            )
            for url in (wire.url, elsewhere.url)
        )
        assert (await first.perform(asked())).fault is None
        found = (await second.perform(asked())).fault
        assert found is not None
        assert "was first sent to" in found.message
        assert TOKEN not in found.message
        assert elsewhere.seen == []
        await first.close()
        await second.close()


@pytest.mark.parametrize(
    "parameters",
    [
        {"headers": {"Host": "evil.example"}},
        {"headers": {"Transfer-Encoding": "chunked"}},
        {"headers": {"content-LENGTH": "3"}},
        {"headers": {"X-A": "a\r\nX-B: b"}},
        {"headers": {"X-A\r\nX-B": "b"}},
        {"headers": {"X-A": "\u4e2d"}},
        {"headers": 7},
        {"json": {}, "body": "x"},
        {"form": 7},
        {"query": 7},
        {"method": "BREW"},
        {"endpoint": "\x00"},
    ],
    ids=str,
)
async def test_what_cannot_be_asked(wire: Wire, api: http.HttpAgent, parameters: Any) -> None:
    found = (await api.perform(asked("request", **{"method": "POST", **parameters}))).fault
    assert found is not None
    assert (found.kind, found.retriable) == ("refused", False)
    assert wire.seen == []


# What comes back.


@pytest.mark.parametrize(
    ("kind", "body", "result"),
    [
        ("application/json", b'{"a": 1}', {"a": 1}),
        ("application/problem+json; charset=utf-8", b"[1]", [1]),
        ("application/json", b"  ", None),
        ("text/plain", b'{"a": 1}', '{"a": 1}'),
        ("", "\u00e9".encode() + b"\xff", "\u00e9\ufffd"),
    ],
)
async def test_answers(
    wire: Wire, api: http.HttpAgent, kind: str, body: bytes, result: Any
) -> None:
    wire.answer(200, headers={"content-type": kind} if kind else {}, body=body)
    assert (await api.perform(asked())).result == result


async def test_ping(wire: Wire, api: http.HttpAgent) -> None:
    wire.answer(204)
    assert (await api.perform(asked("ping"))).result == {"status": 204}
    assert (await api.execute("ping", {})).result == {"status": 204}
    wire.answer(500, body="down")
    assert (await api.execute("ping", {})).error == "HTTP 500: down"


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": NaN}',
        b"[Infinity]",
        b'{"a": 1, "a": 2}',
        b'{"a": ',
        b"not json",
        b"[" * 100_000,
        b"1" * 5000,
    ],
    ids=lambda body: repr(body[:12]),
)
async def test_json_that_is_none(wire: Wire, api: http.HttpAgent, body: bytes) -> None:
    wire.answer(200, headers=JSON, body=body)
    kind, message = await fault(api)
    assert kind == "invalid_reply"
    assert "declared as JSON and cannot be decoded" in message


@pytest.mark.parametrize(
    ("status", "kind", "retriable", "wait", "counts"),
    [
        (400, "refused", False, None, False),
        (401, "refused", False, None, False),
        (404, "refused", False, None, False),
        (408, "unavailable", True, None, True),
        (429, "rate_limited", True, 7.0, True),
        (500, "unavailable", True, None, True),
        (503, "overloaded", True, 7.0, True),
        (529, "overloaded", True, 7.0, True),
    ],
)
async def test_statuses(
    wire: Wire,
    api: http.HttpAgent,
    status: int,
    kind: str,
    retriable: bool,
    wait: float | None,
    counts: bool,
) -> None:
    wire.answer(status, headers={"retry-after": "7"}, body="x" * 1000)
    found = (await api.perform(asked())).fault
    assert found is not None
    assert (found.kind, found.retriable, found.retry_after, found.counts) == (
        kind,
        retriable,
        wait,
        counts,
    )
    assert found.message == f"HTTP {status}: " + "x" * 300


def bomb(encoding: str) -> bytes:
    """100 MB of nothing, in a few kilobytes."""
    packer = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
    return b"".join(packer.compress(b"\0" * 2**20) for _ in range(100)) + packer.flush()


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_bomb_is_refused(wire: Wire, api: http.HttpAgent, encoding: str) -> None:
    content = bomb(encoding)
    assert len(content) < 200_000
    wire.answer(200, headers={"content-encoding": encoding}, body=content)
    assert (await fault(api))[0] == "invalid_reply"


async def test_an_encoded_answer_within_bounds(wire: Wire, api: http.HttpAgent) -> None:
    wire.answer(200, headers={"content-encoding": "gzip"}, body=gzip.compress(b"bees" * 1000))
    assert (await api.perform(asked())).result == "bees" * 1000


async def test_an_answer_that_is_badly_encoded(wire: Wire, api: http.HttpAgent) -> None:
    wire.answer(200, headers={"content-encoding": "gzip"}, body=b"this is no gzip")
    assert (await fault(api))[0] == "invalid_reply"


@pytest.mark.parametrize(("size", "fits"), [(100_000, True), (100_001, False)])
async def test_the_bound_is_what_it_says(
    wire: Wire, api: http.HttpAgent, size: int, fits: bool
) -> None:
    wire.answer(200, body=b"x" * size)
    assert ((await api.perform(asked())).fault is None) is fits


# The connection.


async def test_cookies_are_not_kept(wire: Wire, api: http.HttpAgent) -> None:
    wire.answer(200, headers={"set-cookie": "who=somebody; Path=/"})
    for _ in range(2):
        assert (await api.perform(asked())).fault is None
    assert "cookie" not in wire.seen[1].headers


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", b"\0"])
async def test_a_connection_that_breaks(wire: Wire, api: http.HttpAgent, raw: bytes) -> None:
    wire.answer(headers={"x-raw": "1"}, body=raw)
    found = (await api.perform(asked())).fault
    assert found is not None
    assert (found.kind, found.retriable, found.counts) == ("connection", True, True)
    assert found.message.startswith(f"127.0.0.1:{wire.port}: RemoteProtocolError")


async def test_nobody_listens() -> None:
    one = make(f"http://user:{TOKEN}@127.0.0.1:{(port := free_port())}")
    kind, message = await fault(one)
    await one.close()
    assert kind == "connection"
    assert message.startswith(f"127.0.0.1:{port}: ConnectError")


async def test_cancelling_hangs_up(wire: Wire, api: http.HttpAgent) -> None:
    wire.hang()
    call = asyncio.ensure_future(api.perform(asked()))
    await until(lambda: len(wire.seen) == 1)
    call.cancel()
    await asyncio.wait({call})
    assert call.cancelled()
    await until(lambda: wire.gone == 1)


async def test_connections_are_kept_and_closed(wire: Wire, api: http.HttpAgent) -> None:
    ports: set[Any] = set()
    wire.reply = lambda seen: (200, {}, b"")
    for _ in range(5):
        await api.perform(asked())
    pool = api._egress._pooled_client()._transport._inner._pool  # type: ignore[union-attr,attr-defined]
    assert len(pool.connections) == 1
    ports.update(pool.connections)
    await api.close()
    await api.close()
    assert api._egress._client is None
    assert pool.connections == []
    assert (await api.perform(asked())).fault is None  # closed is not broken


# What cannot be an agent, and what is known of one.


@pytest.mark.parametrize("endpoint", ["ftp://x", "stdio:x", "", "example.com"])
def test_what_is_no_address(endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match="not an http or https address"):
        make(endpoint)


def test_actions_and_effects() -> None:
    spec = make("http://x.invalid").config
    assert http.action_problem(spec, "fetch") is None
    problem = http.action_problem(spec, "brew")
    assert problem == "an HTTP API has no action 'brew'; it has fetch, ping, request"
    assert http.effect_of(spec, "ping") is Effect.NONE
    assert http.effect_of(spec, "fetch") is None


async def test_an_action_there_is_none_of(wire: Wire, api: http.HttpAgent) -> None:
    assert await fault(api, "brew") == (
        "refused",
        "an HTTP API has no action 'brew' with the method 'GET'",
    )
