"""Listeners to streamed answers: text that is passed on as it comes in, and is never journaled.

A piece without a listener is dropped, and so are the oldest pieces of a listener that is too slow.
The answer that counts is the one in the journal.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

import msgspec

MAX_PIECES: Final = 10_000
"""Pieces that are kept for a slow listener."""


class Piece(msgspec.Struct, frozen=True):
    """The next text of a streamed answer."""

    #: Key of the task that made the call.
    task: str
    attempt: int
    #: Never empty.
    text: str


class ListenerQueue:
    """The pieces that one listener has not taken yet; iteration ends once closed and empty."""

    def __init__(self) -> None:
        self._pieces: deque[Piece] = deque(maxlen=MAX_PIECES)
        self._changed = asyncio.Event()
        self._closed = False

    def put(self, piece: Piece) -> None:
        """Add a piece; without room, the oldest one is dropped."""
        self._pieces.append(piece)
        self._changed.set()

    def close(self) -> None:
        """End the iteration after the pieces that are here."""
        self._closed = True
        self._changed.set()

    def __aiter__(self) -> ListenerQueue:
        return self

    async def __anext__(self) -> Piece:
        while not self._pieces:
            if self._closed:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._pieces.popleft()


class StreamListeners:
    """The queues of all listeners, by run."""

    def __init__(self) -> None:
        self._queues: dict[str, list[ListenerQueue]] = {}

    def add_listener(self, run: str) -> ListenerQueue:
        """A queue of the pieces of a run from now on, until `remove_listener`."""
        queue = ListenerQueue()
        self._queues.setdefault(run, []).append(queue)
        return queue

    def remove_listener(self, run: str, queue: ListenerQueue) -> None:
        """Remove the queue of a listener."""
        self._queues[run].remove(queue)
        if not self._queues[run]:
            del self._queues[run]

    def publish_piece(self, run: str, piece: Piece) -> None:
        """Pass a piece to all listeners of its run."""
        for queue in self._queues.get(run, ()):
            queue.put(piece)
