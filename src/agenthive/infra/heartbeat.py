"""What a call reports while it runs: `heartbeat` that it is alive, `emit_text` partial output.

Called from within a call, on the event loop or in a thread. Who makes the call puts a listener in
place; without one it is heard by nobody, which does no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

HEARTBEAT_LISTENER: Final[ContextVar[Callable[[Any], None] | None]] = ContextVar(
    "agenthive-heartbeat", default=None
)
"""Who hears the beats of the call that runs in this context. May be called from any thread."""


TEXT_LISTENER: Final[ContextVar[Callable[[str], None] | None]] = ContextVar(
    "agenthive-say", default=None
)
"""Who hears the text of an answer as it comes in, on the event loop."""


def emit_text(text: str) -> None:
    """Pass on the next piece of an answer that comes in pieces. It is no fact, and not recorded."""
    listener = TEXT_LISTENER.get()
    if listener is not None:
        listener(text)


def heartbeat(progress: Any = None) -> None:
    """Say that the call goes on. ``progress`` is what the next attempt gets as `Call.progress`."""
    listener = HEARTBEAT_LISTENER.get()
    if listener is not None:
        listener(progress)
