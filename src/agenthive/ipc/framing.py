"""Messages over a local connection: a length, then that many bytes of JSON.

Four bytes, big endian, then the text. Nothing here knows what is said. A message longer than
`MOST` is refused before it is read. To add another wire: another pair of functions.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from agenthive.errors import AgentUnavailable

MOST: Final = 80 * 2**20
"""Bytes of one message: a workflow of the largest size an operator may write, and then some."""
_HEAD: Final = 4


async def send(writer: asyncio.StreamWriter, message: Any) -> None:
    """Write one message. Raises AgentUnavailable if it is too large, OSError if nobody is there."""
    body = msgspec.json.encode(message)
    if len(body) > MOST:
        raise AgentUnavailable(f"a message of {len(body):,} bytes is more than {MOST:,}")
    writer.write(len(body).to_bytes(_HEAD, "big") + body)
    await writer.drain()


async def receive(reader: asyncio.StreamReader) -> Any:
    """The next message, None when the other side has gone. Raises AgentUnavailable for nonsense."""
    try:
        head = await reader.readexactly(_HEAD)
        size = int.from_bytes(head, "big")
        if size > MOST:
            raise AgentUnavailable(f"a message of {size:,} bytes is announced, more than {MOST:,}")
        return msgspec.json.decode(await reader.readexactly(size))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except msgspec.DecodeError as error:
        raise AgentUnavailable(f"a message that is not JSON: {error}") from error
