"""Who listens to answers as they come in: text that is passed on, and is no fact.

What nobody listens to is gone, and so is what a listener does not take in time: the oldest pieces
first. What counts is the answer in the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from agenthive.core.states import RunStatus

MOST: Final = 10_000
"""Pieces that are kept for a listener that is slow."""


class Piece(msgspec.Struct, frozen=True):
    """The next text of an answer that is coming in, by the task and attempt it is of."""

    task: str
    attempt: int
    text: str


class Listeners:
    """Queues of pieces, by run."""

    def __init__(self) -> None:
        self._queues: dict[str, list[asyncio.Queue[Piece | None]]] = {}

    def tell(self, run: str, piece: Piece) -> None:
        """Pass a piece on to whoever listens to its run."""
        for queue in self._queues.get(run, ()):
            if queue.qsize() >= MOST:
                queue.get_nowait()
            queue.put_nowait(piece)

    async def listen(self, run: str, ended: asyncio.Future[RunStatus]) -> AsyncIterator[Piece]:
        """The pieces of a run from now on, until ``ended``."""
        queue: asyncio.Queue[Piece | None] = asyncio.Queue(MOST + 1)
        self._queues.setdefault(run, []).append(queue)
        # There is always room for this one.
        ended.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (piece := await queue.get()) is not None:
                yield piece
        finally:
            self._queues[run].remove(queue)
            if not self._queues[run]:
                del self._queues[run]
