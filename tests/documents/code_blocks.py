"""The code blocks of a document, by language and number, read from the document itself."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
A = HERE / "A-agent-hive-api.md"
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


PACKAGES = (
    "lead_agent", "src", "advanced_orchestration", "external_api", "ml_enhancements", "cli",
)  # fmt: skip
"""The top-level packages that the documents import from."""
IMPORT = re.compile(rf"\bfrom (?:{'|'.join(PACKAGES)})\b[\w.]* import \w+(?:, \w+)*")


def import_lines(document: Path) -> list[str]:
    """Every import line of a document's packages that stands in a code block, once, in order."""
    text = document.read_text(encoding="utf-8")
    fenced = re.findall(r"```\w*\n(.*?)```", text, flags=re.DOTALL)
    return list(dict.fromkeys(line for part in fenced for line in IMPORT.findall(part)))
