"""The event loop of a process that is ours: uvloop where it is installed, else asyncio's own.

uvloop wakes up sooner after a commit: a chain of tasks takes a tenth less. A hive works on either,
and never asks which; whoever brings a loop of their own does not need this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` to its end, as `asyncio.run` does."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)
