"""The code blocks of document C, by language and number, read from the document itself."""

from __future__ import annotations

import re
from pathlib import Path

DOCUMENT = Path(__file__).parent / "C-lead-agent-readme.md"


def blocks(language: str) -> list[str]:
    """Every fenced block of one language, in order."""
    text = DOCUMENT.read_text(encoding="utf-8")
    return [m[1] for m in re.finditer(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)]


def block(language: str, holds: str) -> str:
    """The one block of a language that holds a text."""
    found = [one for one in blocks(language) if holds in one]
    assert len(found) == 1, f"{len(found)} {language} blocks hold {holds!r}"
    return found[0]
