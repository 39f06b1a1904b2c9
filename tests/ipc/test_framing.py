"""Messages over a local connection: whole, bounded, and JSON."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from agenthive.errors import AgentUnavailable
from agenthive.ipc import framing

Ends: TypeAlias = tuple[
    asyncio.StreamReader, asyncio.StreamWriter, asyncio.StreamReader, asyncio.StreamWriter
]


@pytest.fixture
async def ends(tmp_path: Path) -> AsyncIterator[Ends]:
    """Both ends of a connection."""
    accepted: asyncio.Queue[Any] = asyncio.Queue()
    server = await asyncio.start_unix_server(
        lambda reader, writer: accepted.put_nowait((reader, writer)), tmp_path / "socket"
    )
    near_reader, near = await asyncio.open_unix_connection(tmp_path / "socket")
    far_reader, far = await accepted.get()
    yield near_reader, near, far_reader, far
    near.close()
    far.close()
    server.close()


async def test_messages_arrive_one_by_one(ends: Ends) -> None:
    _, near, far_reader, _ = ends
    said: list[Any] = [{"a": [1, None]}, "", "é" * 100_000, [], None]
    for message in said:
        await framing.send_message(near, message)
    assert [await framing.receive_message(far_reader) for _ in said] == said


async def test_who_has_gone_says_nothing(ends: Ends) -> None:
    _, near, far_reader, _ = ends
    near.write(b"\0\0\0\x09half")
    near.close()
    assert await framing.receive_message(far_reader) is None


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"\xff\xff\xff\xff", "4,294,967,295 bytes is announced"),
        (b"\0\0\0\3abc", "not JSON"),
        (b"\0\0\0\1{", "not JSON"),
        (b"\0\0\0\0", "not JSON"),
    ],
)
async def test_nonsense(ends: Ends, raw: bytes, words: str) -> None:
    _, near, far_reader, _ = ends
    near.write(raw)
    with pytest.raises(AgentUnavailable, match=words):
        await asyncio.wait_for(framing.receive_message(far_reader), 5)


async def test_too_much_is_not_sent(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    _, near, far_reader, _ = ends
    monkeypatch.setattr(framing, "MAX_MESSAGE_BYTES", 10)
    with pytest.raises(AgentUnavailable, match="a message of 12 bytes is more than 10"):
        await framing.send_message(near, "x" * 10)
    await framing.send_message(near, "x" * 8)
    assert await framing.receive_message(far_reader) == "x" * 8
