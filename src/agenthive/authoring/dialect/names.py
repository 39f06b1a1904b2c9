"""The rules for names of tasks, agents and inputs, and the weaker ones for titles.

The name of a task becomes part of keys such as ``name[i]`` (a mapped item), ``name~2`` (an
iteration) and ``parent/child``; characters that would make such a key ambiguous are forbidden.
"""

from __future__ import annotations

import re
import unicodedata

from agenthive.authoring.dialect.dialect import MAX_NAME

BARRED = "/[]#"
ROUND = re.compile(r"~[0-9]+$")


def title_fault(name: str) -> str:
    """Why ``name`` is not a valid title of a workflow; empty if it is valid."""
    if not name.strip():
        return "a name must not be empty"
    if len(name) > MAX_NAME:
        return f"a name can have at most {MAX_NAME} characters, and this one has {len(name)}"
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in name):
        return "a name must not contain control characters or line breaks"
    if not unicodedata.is_normalized("NFC", name):
        return "a name must be in Unicode normalization form C (NFC); type it again"
    return ""


def name_fault(name: str) -> str:
    """Why ``name`` is not a valid name of a task or an agent; empty if it is valid."""
    barred_chars = [char for char in BARRED if char in name]
    if barred_chars:
        return f"a name must not contain {' or '.join(barred_chars)}; use - or _"
    if ROUND.search(name):
        return (
            "a name must not end with ~ and a number, which marks iterations of a task; use - or _"
        )
    return title_fault(name)
