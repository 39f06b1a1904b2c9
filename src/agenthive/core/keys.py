"""Idempotency keys: the name of one logical call, equal for all its attempts."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256


def call_key(run: str, task: str, number: int = 1) -> str:
    """The key of logical call ``number`` of a task: base64url(SHA-256), 43 characters.

    The parts are length-prefixed, so no two different triples have the same input.
    """
    text = f"agenthive/key/1:{len(run)}:{run}{len(task)}:{task}{number}"
    return urlsafe_b64encode(sha256(text.encode()).digest())[:43].decode("ascii")
