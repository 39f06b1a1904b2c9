"""Log lines: structured, on standard error, with a level and an ISO time, by structlog.

They are readable text on a terminal and JSON elsewhere. A part of agenthive that logs calls `log`;
structlog is imported with the first line that is shown. Never writes to standard output, which is
for data. Never scrubs: the caller must have removed secrets from the message.
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
#: The lowest level that is shown.
_least = logging.WARNING
_form = "auto"
_ready = False


def configure(level: str = "warning", form: str = "auto") -> None:
    """Set the lowest level shown (debug, info, warning, error) and the form.

    ``form`` is auto, console or json; ``auto`` is console on a terminal and json elsewhere.
    """
    global _least, _form, _ready
    _least, _form, _ready = LEVELS[level], form, False


def is_shown(level: str) -> bool:
    """Whether a line of this level would be shown."""
    return LEVELS[level] >= _least


def log(level: str, event: str, **fields: Any) -> None:
    """Write one line if its level is shown. A closed standard error is ignored."""
    if not is_shown(level):
        return
    # Imported here, because it takes longer than most commands take to run.
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
