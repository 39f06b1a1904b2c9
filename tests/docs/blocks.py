"""Finds the code blocks of a Markdown page and what a comment before them asks for.

    <!-- run -->         the commands of the next block are run (python blocks always are)
    <!-- run: 8 -->      and end with that exit code
    <!-- file: NAME -->  the next block is written to NAME first
    <!-- edit: NAME -->  the next block, a diff without line numbers, is applied to NAME
    <!-- added -->      the commands of the next block need the page's files in the source tree
    <!-- compile -->     the next python block is only compiled: it needs what a test cannot have

Only lines that start with `agenthive` or `python3 x.py` are commands; `$ ` in front is dropped,
and in a console block all other lines are output. `tests/house/test_additions.py` carries out the
marks `edit` and `added` in a copy of the source tree, with the files of the page in it. To add a
mark: here, and in `test_blocks.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(
    r"(?:<!-- (?P<mark>[a-z]+)(?:: (?P<value>[^ ]+))? -->\n+)?"
    r"^```(?P<language>[a-z]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
SHELLS = {"bash", "console", "sh"}
COMMANDS = ("agenthive", "python3 x.py")


@dataclass(frozen=True)
class Block:
    """One fenced block: where it stands, what it is, what is asked for it."""

    page: str
    line: int
    language: str
    text: str
    mark: str
    value: str

    @property
    def commands(self) -> list[str]:
        """The lines of a shell block that are to be run."""
        if self.language not in SHELLS or self.mark != "run":
            return []
        lines = [line.removeprefix("$ ") for line in self.text.splitlines()]
        return [line for line in lines if line.startswith(COMMANDS)]

    @property
    def executed(self) -> bool:
        """Whether anything of it is run."""
        python = self.language == "python" and self.mark != "compile"
        return python or bool(self.commands)


def blocks(page: str, text: str) -> list[Block]:
    """The blocks of a page, in order."""
    return [
        Block(
            page=page,
            line=text.count("\n", 0, match.start("text")),
            language=match["language"],
            text=match["text"],
            mark=match["mark"] or "",
            value=match["value"] or "",
        )
        for match in BLOCK.finditer(text)
    ]


def pages(root: Path) -> list[Path]:
    """Every page people read, the decisions aside: they tell, they do not show."""
    found = [root / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
    docs = [page for page in (root / "docs").rglob("*.md") if page.parent.name != "decisions"]
    return [page for page in [*found, *sorted(docs)] if page.is_file()]
