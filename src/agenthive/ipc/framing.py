"""Messages over a local connection: a length in four bytes, big endian, then that much JSON.

Nothing here knows what a message means. A message longer than `MAX_MESSAGE_BYTES` is refused before
it is read. To add another framing: another pair of functions.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from agenthive.errors import AgentUnavailable

MAX_MESSAGE_BYTES: Final = 80 * 2**20
"""Bytes of one message: the largest workflow that an operator may write (64 MiB), and the rest."""
_LENGTH_BYTES: Final = 4


async def send_message(writer: asyncio.StreamWriter, message: Any) -> None:
    """Write one message.

    Raises AgentUnavailable if it is too large, OSError if the other side has closed.
    """
    body = msgspec.json.encode(message)
    if len(body) > MAX_MESSAGE_BYTES:
        raise AgentUnavailable(
            f"a message of {len(body):,} bytes is more than {MAX_MESSAGE_BYTES:,}"
        )
    writer.write(len(body).to_bytes(_LENGTH_BYTES, "big") + body)
    await writer.drain()


async def receive_message(reader: asyncio.StreamReader) -> Any:
    """Read the next message; None when the other side has closed.

    Raises AgentUnavailable if the message is too large or is not JSON.
    """
    try:
        head = await reader.readexactly(_LENGTH_BYTES)
        size = int.from_bytes(head, "big")
        if size > MAX_MESSAGE_BYTES:
            raise AgentUnavailable(
                f"a message of {size:,} bytes is announced, more than {MAX_MESSAGE_BYTES:,}"
            )
        return msgspec.json.decode(await reader.readexactly(size))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except msgspec.DecodeError as error:
        raise AgentUnavailable(f"a message that is not JSON: {error}") from error
