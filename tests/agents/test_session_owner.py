"""A connection held open by a task of its own: many callers, one opener, one end."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from agenthive.agents.mcp import session_owner
from agenthive.agents.mcp.session_owner import ConnectionLost, SessionOwner
from tests.agents.peers import until


class Peer:
    """The other side, with what happened to it."""

    def __init__(self, *, opens: Any = None, closes: float = 0) -> None:
        self.told: list[str] = []
        self.gone = asyncio.Event()
        self._opens, self._closes = opens, closes
        self.opener: asyncio.Task[Any] | None = None

    async def open(self, stack: AsyncExitStack) -> str:
        self.opener = asyncio.current_task()
        stack.push_async_callback(self._close)
        if isinstance(self._opens, Exception):
            raise self._opens
        await asyncio.sleep(self._opens or 0)
        self.told.append("open")
        return "client"

    async def _close(self) -> None:
        assert asyncio.current_task() is self.opener
        try:
            await asyncio.sleep(self._closes)
        finally:
            self.told.append("close")

    async def wait_lost(self) -> None:
        await self.gone.wait()

    def describe_end(self) -> str:
        return "gone"

    def kill(self) -> None:
        self.told.append("kill")
        self.gone.set()


def held_by(peer: Peer, **rest: Any) -> SessionOwner[str]:
    return SessionOwner(peer, **{"start_timeout": 1.0, "idle_timeout": 60.0, **rest})


async def after(seconds: float, value: Any = None) -> Any:
    await asyncio.sleep(seconds)
    if isinstance(value, Exception):
        raise value
    return value


async def for_ever() -> None:
    await asyncio.Event().wait()


async def stubborn() -> None:
    """Does not hear that it is cancelled, for a while."""
    for _ in range(2):
        try:
            await asyncio.sleep(0.5)
        except asyncio.CancelledError:
            continue


async def cancelled(one: SessionOwner[str], work: Any) -> None:
    """Begin a call and give it up."""
    call = asyncio.ensure_future(one.run(work))
    await asyncio.sleep(0.02)
    call.cancel()
    await asyncio.wait({call})
    assert call.cancelled()


async def test_calls() -> None:
    peer = Peer()
    one = held_by(peer)
    assert await one.wait_ready() == "client"
    assert await asyncio.gather(*(one.run(after(0.01, n)) for n in range(5))) == list(range(5))
    with pytest.raises(ValueError, match="odd"):
        await one.run(after(0, ValueError("odd")))
    assert not one.retired
    await one.close()
    await one.close()
    assert one.retired
    assert peer.told == ["open", "close"]


async def test_what_cannot_be_opened() -> None:
    peer = Peer(opens=ConnectionError("refused"))
    one = held_by(peer)
    for _ in range(2):
        with pytest.raises(ConnectionError, match="refused"):
            await one.wait_ready()
    assert one.retired
    assert peer.told == ["close"]


async def test_what_takes_too_long_to_open() -> None:
    one = held_by(Peer(opens=10), start_timeout=0.05)
    with pytest.raises(TimeoutError):
        await one.wait_ready()


async def test_closed_before_it_was_open() -> None:
    peer = Peer(opens=10)
    one = held_by(peer)
    waiting = asyncio.ensure_future(one.wait_ready())
    await asyncio.sleep(0.02)
    await one.close()
    with pytest.raises(ConnectionLost):
        await waiting
    assert peer.told == ["close"]


async def test_closing_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_owner, "CLOSING", 0.05)
    peer = Peer(closes=60)
    one = held_by(peer)
    await one.wait_ready()
    await one.close()
    assert peer.told == ["open", "close"]


async def test_lost() -> None:
    peer = Peer()
    one = held_by(peer)
    await one.wait_ready()
    peer.gone.set()
    await asyncio.wait({one.owner})
    assert one.retired
    assert peer.told == ["open", "close"]


async def test_retired_when_the_last_call_has_ended() -> None:
    peer = Peer()
    one = held_by(peer)
    await one.wait_ready()
    call = asyncio.ensure_future(one.run(after(0.05, "done")))
    await asyncio.sleep(0)
    one.retire()
    assert one.retired
    assert peer.told == ["open"]
    assert await call == "done"
    await asyncio.wait({one.owner})
    assert peer.told == ["open", "close"]


async def test_closed_when_nobody_has_called_for_long() -> None:
    peer = Peer()
    one = held_by(peer, idle_timeout=0.1)
    await one.wait_ready()
    for _ in range(5):
        await one.run(after(0.05))
    assert not one.retired
    await one.run(after(0.2))  # a call under way is not idle
    assert not one.retired
    await asyncio.wait({one.owner}, timeout=1)
    assert one.retired
    assert peer.told == ["open", "close"]


async def test_never_called_at_all() -> None:
    one = held_by(Peer(), idle_timeout=0.05)
    await asyncio.wait({one.owner}, timeout=1)
    assert one.retired


async def test_a_cancelled_call_retires_what_has_no_pipe() -> None:
    peer = Peer()
    one = held_by(peer)
    await one.wait_ready()
    await cancelled(one, for_ever())
    assert one.retired
    await asyncio.wait({one.owner}, timeout=1)
    assert peer.told == ["open", "close"]


async def test_a_call_that_does_not_hear_costs_the_other_side_its_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_owner, "GIVE_UP", 0.05)
    peer = Peer()
    one = held_by(peer, ping=lambda client: after(0))
    await one.wait_ready()
    await cancelled(one, stubborn())
    assert one.retired
    assert "kill" in peer.told


async def test_a_call_that_fails_while_it_is_given_up() -> None:
    async def spoilt() -> None:
        try:
            await for_ever()
        finally:
            raise ValueError("spoilt")

    one = held_by(Peer(), ping=lambda client: after(0))
    await one.wait_ready()
    await cancelled(one, spoilt())
    assert not one.retired
    await one.close()


@pytest.mark.parametrize("answer", [None, ValueError("an error is an answer too")])
async def test_a_sign_of_life(answer: Any) -> None:
    pings: list[str] = []

    async def ping(client: str) -> None:
        pings.append(client)
        await after(0.05, answer)

    one = held_by(Peer(), ping=ping)
    await one.wait_ready()
    await cancelled(one, for_ever())
    await cancelled(one, for_ever())
    assert pings == ["client"]  # one question at a time
    await until(lambda: one._alive_check is None)
    assert not one.retired
    await one.close()


async def test_no_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_owner, "PROOF_OF_LIFE", 0.05)
    peer = Peer()
    one = held_by(peer, ping=lambda client: for_ever())
    await one.wait_ready()
    await cancelled(one, for_ever())
    await asyncio.wait({one.owner}, timeout=1)
    assert peer.told == ["open", "kill", "close"]


async def test_no_sign_of_life_while_it_works_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_owner, "PROOF_OF_LIFE", 0.05)
    peer = Peer()
    one = held_by(peer, ping=lambda client: for_ever())
    await one.wait_ready()
    other = asyncio.ensure_future(one.run(after(0.2, "done")))
    await cancelled(one, for_ever())
    assert await other == "done"
    assert "kill" not in peer.told
    await one.close()


async def test_closed_while_in_doubt() -> None:
    one = held_by(Peer(), ping=lambda client: for_ever())
    await one.wait_ready()
    await cancelled(one, for_ever())
    doubt = one._alive_check
    assert doubt is not None
    await one.close()
    await asyncio.wait({doubt}, timeout=1)
    assert doubt.cancelled()
