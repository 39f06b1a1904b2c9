"""Who listens to answers as they come in: text that is passed on, and is no fact.

What nobody listens to is gone, and so is what a listener does not take in time: the oldest pieces
first. What counts is the answer in the journal.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

import msgspec

MAX_PIECES: Final = 10_000
"""Pieces that are kept for a listener that is slow."""


class Piece(msgspec.Struct, frozen=True):
    """The next text of an answer that is coming in, by the task and attempt it is of."""

    task: str
    attempt: int
    text: str


class ListenerQueue:
    """What one listener has still to hear; ends once it is closed and empty."""

    def __init__(self) -> None:
        self._pieces: deque[Piece] = deque(maxlen=MAX_PIECES)
        self._changed = asyncio.Event()
        self._closed = False

    def put(self, piece: Piece) -> None:
        """Another one has come in."""
        self._pieces.append(piece)
        self._changed.set()

    def close(self) -> None:
        """No other one comes."""
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
    """Those who listen, by run."""

    def __init__(self) -> None:
        self._queues: dict[str, list[ListenerQueue]] = {}

    def add_listener(self, run: str) -> ListenerQueue:
        """The pieces of a run from now on, until `remove_listener`."""
        queue = ListenerQueue()
        self._queues.setdefault(run, []).append(queue)
        return queue

    def remove_listener(self, run: str, queue: ListenerQueue) -> None:
        """Somebody listens no longer."""
        self._queues[run].remove(queue)
        if not self._queues[run]:
            del self._queues[run]

    def publish_piece(self, run: str, piece: Piece) -> None:
        """Pass a piece on to whoever listens to its run."""
        for queue in self._queues.get(run, ()):
            queue.put(piece)
