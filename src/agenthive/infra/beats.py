"""Signs of life of a long call: `heartbeat` says that it goes on, and how far it is.

Called from within a call, on the event loop or in a thread. Who makes the call puts a listener in
place; without one a beat is heard by nobody, which does no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

LISTENER: Final[ContextVar[Callable[[Any], None] | None]] = ContextVar(
    "agenthive-heartbeat", default=None
)
"""Who hears the beats of the call that runs in this context. May be called from any thread."""


def heartbeat(progress: Any = None) -> None:
    """Say that the call goes on. ``progress`` is what the next attempt gets as `Call.progress`."""
    listener = LISTENER.get()
    if listener is not None:
        listener(progress)
