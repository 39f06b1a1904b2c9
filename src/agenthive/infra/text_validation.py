"""What texts from outside may hold. Never changes one. To add a question: a function here."""

from __future__ import annotations


def is_text(value: str) -> bool:
    """Whether it can be written down: a journal holds UTF-8."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
