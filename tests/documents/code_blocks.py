"""The code blocks of a document, by language and number, read from the document itself."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
B = HERE / "B-orchestration-engine-api.md"
C = HERE / "C-lead-agent-readme.md"


def blocks(language: str, document: Path = C) -> list[str]:
    """Every fenced block of one language, in order."""
    text = document.read_text(encoding="utf-8")
    return [m[1] for m in re.finditer(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)]


def block(language: str, holds: str, document: Path = C) -> str:
    """The one block of a language that holds a text."""
    found = [one for one in blocks(language, document) if holds in one]
    assert len(found) == 1, f"{len(found)} {language} blocks hold {holds!r}"
    return found[0]
