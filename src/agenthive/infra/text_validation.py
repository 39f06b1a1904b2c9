"""Checks of texts from outside. Never changes a text. To add a check: a function here."""

from __future__ import annotations


def is_text(value: str) -> bool:
    """Whether a text can be recorded: the journal is UTF-8, which has no lone surrogates.

    Such texts come from file names and arguments that are not UTF-8, and from JSON escapes.
    """
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
