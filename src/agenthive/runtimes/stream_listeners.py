"""Who listens to answers as they come in: text that is passed on, and is no fact.

What nobody listens to is gone, and so is what a listener does not take in time: the oldest pieces
first. What counts is the answer in the journal.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

import msgspec

MOST: Final = 10_000
"""Pieces that are kept for a listener that is slow."""


class Piece(msgspec.Struct, frozen=True):
    """The next text of an answer that is coming in, by the task and attempt it is of."""

    task: str
    attempt: int
    text: str


class Pieces:
    """What one listener has still to hear; ends once it is closed and empty."""

    def __init__(self) -> None:
        self._kept: deque[Piece] = deque(maxlen=MOST)
        self._more = asyncio.Event()
        self._closed = False

    def put(self, piece: Piece) -> None:
        """Another one has come in."""
        self._kept.append(piece)
        self._more.set()

    def close(self) -> None:
        """No other one comes."""
        self._closed = True
        self._more.set()

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> Piece:
        while not self._kept:
            if self._closed:
                raise StopAsyncIteration
            self._more.clear()
            await self._more.wait()
        return self._kept.popleft()


class Listeners:
    """Those who listen, by run."""

    def __init__(self) -> None:
        self._pieces: dict[str, list[Pieces]] = {}

    def join(self, run: str) -> Pieces:
        """The pieces of a run from now on, until `leave`."""
        pieces = Pieces()
        self._pieces.setdefault(run, []).append(pieces)
        return pieces

    def leave(self, run: str, pieces: Pieces) -> None:
        """Somebody listens no longer."""
        self._pieces[run].remove(pieces)
        if not self._pieces[run]:
            del self._pieces[run]

    def tell(self, run: str, piece: Piece) -> None:
        """Pass a piece on to whoever listens to its run."""
        for pieces in self._pieces.get(run, ()):
            pieces.put(piece)
