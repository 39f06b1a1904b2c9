"""The HTTP agent and redirects: how many, what becomes of the request, what stays behind."""

from __future__ import annotations

import pytest

from agenthive.agents import http
from agenthive.core.model.calls import Reply
from agenthive.core.policies.fault_classes import FaultClass
from tests.agents.apis import TOKEN, api, asked, fault, make, token, wire
from tests.agents.wire import Answer, Seen, Wire

__all__ = ["api", "token", "wire"]  # fixtures


async def test_three_redirects_are_followed_and_not_four(wire: Wire, api: http.HttpAgent) -> None:
    def reply(seen: Seen) -> Answer:
        left = int(seen.path.strip("/"))
        return (302, {"location": f"/{left - 1}"}, b"") if left else (200, {}, b"there")

    wire.reply = reply
    assert (await api.perform(asked(endpoint="3"))).result == "there"
    kind, message = await fault(api, endpoint="4")
    assert kind == "invalid_reply"
    assert "more than 3 redirects" in message
    assert len(wire.seen) == 8


@pytest.mark.parametrize(
    ("status", "method", "after", "body"),
    [
        (301, "POST", "GET", b""),
        (302, "POST", "GET", b""),
        (303, "PUT", "GET", b""),
        (307, "POST", "POST", b"[1]"),
        (308, "PUT", "PUT", b"[1]"),
        (301, "DELETE", "DELETE", b"[1]"),
    ],
)
async def test_what_a_redirect_makes_of_a_request(
    wire: Wire, api: http.HttpAgent, status: int, method: str, after: str, body: bytes
) -> None:
    wire.reply = lambda seen: (
        (status, {"location": "/there"}, b"") if seen.path == "/" else (200, {}, b"")
    )
    assert (await api.perform(asked("request", method=method, json=[1]))).fault is None
    assert (wire.seen[1].method, wire.seen[1].body) == (after, body)
    assert wire.seen[1].headers["idempotency-key"] == "key-1"


async def test_credentials_stay_with_the_first_host(wire: Wire) -> None:
    login = {"type": "api_key", "key": "${env:WIRE_TOKEN}", "header": "X-Key"}
    one = make(wire.url, login)
    with Wire() as elsewhere:
        target = elsewhere.url
        wire.reply = lambda seen: (307, {"location": f"{target}/x"}, b"")
        given = {"Authorization": "${env:WIRE_TOKEN}", "X-Own": "mine", "Cookie": "c=1"}
        assert (await one.perform(asked(headers=given))).fault is None
        await one.close()
    assert wire.seen[0].headers["x-key"] == wire.seen[0].headers["authorization"] == TOKEN
    assert elsewhere.seen[0].path == "/x"
    assert TOKEN not in repr(elsewhere.seen[0])
    assert not {"x-own", "cookie", "x-key", "authorization"} & elsewhere.seen[0].headers.keys()


async def test_credentials_go_along_on_the_same_host(wire: Wire) -> None:
    one = make(wire.url, {"type": "bearer", "token": "${env:WIRE_TOKEN}"})
    wire.reply = lambda seen: (
        (302, {"location": "/there"}, b"") if seen.path == "/" else (200, {}, b"")
    )
    assert (await one.perform(asked())).fault is None
    await one.close()
    assert wire.seen[1].headers["authorization"] == f"Bearer {TOKEN}"


async def test_a_redirect_to_another_scheme(wire: Wire, api: http.HttpAgent) -> None:
    wire.answer(302, headers={"location": "file:///etc/passwd"})
    assert (await fault(api))[0] == "refused"


@pytest.mark.parametrize("status", [300, 302, 304, 305, 399])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_redirect_that_leads_nowhere(
    status: int, method: str, wire: Wire, api: http.HttpAgent
) -> None:
    wire.answer(status)
    reply = await api.perform(asked(method=method))
    if (status, method) == (304, "GET"):
        assert reply == Reply(result="")
    else:
        assert reply.fault is not None
        assert reply.fault.known_class is FaultClass.UNKNOWN
        assert reply.fault.message == f"HTTP {status}: a redirect that is not followed"
