"""`RELIABILITY.md`, made from `lab/results.jsonl` and the table of promises.

It tells of the newest sources that each row was measured on, never of what was not measured.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.lab import records, sources
from tests.lab.records import Total

FILE = sources.ROOT / "RELIABILITY.md"


def text(file: Path = records.FILE) -> str:
    """The page as it must be."""
    lines = [f"* {total.row}: {total.count}" for total in records.totals(records.read(file))]
    return "# Reliability\n\n" + "\n".join(lines) + "\n"


def write() -> None:
    """Write the page."""
    FILE.write_text(text(), "utf-8")


def main(*, check: bool) -> int:
    """Write it, or say whether it is what it must be."""
    if check:
        same = FILE.exists() and FILE.read_text("utf-8") == text()
        print("RELIABILITY.md is current" if same else "stale: python3 x.py lab page")
        return 0 if same else 1
    write()
    print(f"wrote {FILE.name}", file=sys.stderr)
    return 0


__all__ = ["Total", "main", "text", "write"]
