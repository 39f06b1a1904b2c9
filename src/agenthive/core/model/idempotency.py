"""Idempotency keys: the name of one logical call, equal for all its attempts.

A retry after a crash must have the key of the attempt before, in every later version too: the
input of the hash never changes. A new form needs a new domain tag (``agenthive/key/2``).
"""

from __future__ import annotations

from binascii import b2a_base64
from hashlib import sha256


class IdempotencyKeys:
    """The keys of one run: ``keys(task, number)`` is the key of a task's logical call ``number``.

    A key is base64url(SHA-256(tag, run, task, number)) without padding, 43 characters. Run and task
    are length-prefixed, so no two different triples have the same input. The hash of tag and run is
    computed one time and copied for each key.
    """

    __slots__ = ("_run",)

    def __init__(self, run: str) -> None:
        self._run = sha256(f"agenthive/key/1:{len(run)}:{run}".encode())

    def __call__(self, task: str, number: int = 1) -> str:
        hasher = self._run.copy()
        hasher.update(f"{len(task)}:{task}{number}".encode())
        return b2a_base64(hasher.digest(), newline=False).translate(_URL, b"=").decode()


_URL = bytes.maketrans(b"+/", b"-_")
