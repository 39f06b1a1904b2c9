"""What a name may be. The rules are the same for tasks and agents; titles are laxer.

A task name becomes part of keys such as ``name[i]``, ``name~2`` and ``parent/child``, hence what is
barred.
"""

from __future__ import annotations

import re
import unicodedata

from agenthive.authoring.dialect.dialect import MAX_NAME

BARRED = "/[]#"
ROUND = re.compile(r"~[0-9]+$")


def title_fault(name: str) -> str:
    """Why ``name`` cannot be the name of a workflow; empty if it can."""
    if not name.strip():
        return "a name must not be empty"
    if len(name) > MAX_NAME:
        return f"a name may have at most {MAX_NAME} characters, this one has {len(name)}"
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in name):
        return "a name must not hold control characters or line breaks"
    if not unicodedata.is_normalized("NFC", name):
        return "a name must be in Unicode's composed form (NFC); type it again"
    return ""


def name_fault(name: str) -> str:
    """Why ``name`` cannot be the name of a task or an agent; empty if it can."""
    barred_chars = [char for char in BARRED if char in name]
    if barred_chars:
        return f"a name must not hold {' or '.join(barred_chars)}; use - or _"
    if ROUND.search(name):
        return "a name must not end with ~ and a number, as rounds of a task do; use - or _"
    return title_fault(name)
