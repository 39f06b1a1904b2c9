"""Log lines: structured, on standard error, with level and ISO time (structlog).

JSON where a machine reads, a line for people on a terminal. Whoever logs calls `log`, which costs
nothing before something is logged. Never standard output, never a secret: values that were resolved
as secrets are scrubbed by whoever made the message.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Any, Final

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_least = logging.WARNING
_form = "auto"
_ready = False


def configure(level: str = "warning", form: str = "auto") -> None:
    """What is shown (debug, info, warning, error) and how (auto, console, json)."""
    global _least, _form, _ready
    _least, _form, _ready = LEVELS[level], form, False


def is_shown(level: str) -> bool:
    """Whether a line of that level would be shown."""
    return LEVELS[level] >= _least


def log(level: str, event: str, **fields: Any) -> None:
    """One line, if its level is shown. Work goes on though nobody takes the line."""
    if not is_shown(level):
        return
    # Imported here: structlog takes longer to import than most commands take to run.
    import structlog

    global _ready
    if not _ready:
        _configure_structlog(structlog)
        _ready = True
    with contextlib.suppress(OSError):
        getattr(structlog.get_logger("agenthive"), level)(event, **fields)


def _configure_structlog(structlog: Any) -> None:
    is_console = _form == "console" or (_form == "auto" and sys.stderr.isatty())
    renderer = (
        structlog.dev.ConsoleRenderer() if is_console else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_least),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
