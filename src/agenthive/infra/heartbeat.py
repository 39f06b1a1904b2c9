"""What a call reports while it runs: that it is alive (`heartbeat`), partial text (`emit_text`).

Both are called from within an agent's call, on the event loop or in a thread. The runtime sets the
listeners in the context of the call; without a listener a report is dropped. Nothing here is
recorded: that is the listener's decision.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

#: Receives the heartbeats of the call in this context. It may be called from any thread.
HEARTBEAT_LISTENER: Final[ContextVar[Callable[[Any], None] | None]] = ContextVar(
    "agenthive-heartbeat", default=None
)
#: Receives the partial text of the call in this context. It is called on the event loop.
TEXT_LISTENER: Final[ContextVar[Callable[[str], None] | None]] = ContextVar(
    "agenthive-say", default=None
)


def emit_text(text: str) -> None:
    """Report the next part of a streamed reply. It is shown to users and not recorded."""
    listener = TEXT_LISTENER.get()
    if listener is not None:
        listener(text)


def heartbeat(progress: Any = None) -> None:
    """Report that the call is alive. ``progress`` (any JSON) becomes the next `Call.progress`.

    A custom agent calls this often enough to stay within the task's heartbeat time-out; if the
    attempt fails, the next one can resume from ``progress``.
    """
    listener = HEARTBEAT_LISTENER.get()
    if listener is not None:
        listener(progress)
