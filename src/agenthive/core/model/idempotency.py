"""Idempotency keys: the name of one logical call, equal for all its attempts."""

from __future__ import annotations

from binascii import b2a_base64
from hashlib import sha256


class IdempotencyKeys:
    """The keys of one run: ``keys(task, number)`` is that of a task's logical call ``number``.

    base64url(SHA-256), 43 characters. The parts are length-prefixed, so no two different triples
    of run, task and number have the same input; what the run adds to it is hashed once.
    """

    __slots__ = ("_run",)

    def __init__(self, run: str) -> None:
        self._run = sha256(f"agenthive/key/1:{len(run)}:{run}".encode())

    def __call__(self, task: str, number: int = 1) -> str:
        hasher = self._run.copy()
        hasher.update(f"{len(task)}:{task}{number}".encode())
        return b2a_base64(hasher.digest(), newline=False).translate(_URL, b"=").decode()


_URL = bytes.maketrans(b"+/", b"-_")
