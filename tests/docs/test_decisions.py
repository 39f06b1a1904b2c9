"""Every decision record has its number, its three parts and its line in the index."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "decisions"
RECORDS = sorted(FOLDER.glob("[0-9]*.md"))
PARTS = ["Context", "Decision", "Consequences"]


def test_numbers_have_no_gaps() -> None:
    assert [int(record.name[:4]) for record in RECORDS] == list(range(1, len(RECORDS) + 1))
    assert len(RECORDS) >= 15


def test_records_have_their_parts() -> None:
    for record in RECORDS:
        lines = record.read_text("utf-8").splitlines()
        assert lines[0].startswith(f"# {int(record.name[:4])}. "), record.name
        assert [line[3:] for line in lines if line.startswith("## ")] == PARTS, record.name


def test_records_have_status_and_date() -> None:
    status = re.compile(r"Status: (accepted|superseded by \d{4}), \d{4}-\d\d-\d\d")
    for record in RECORDS:
        lines = record.read_text("utf-8").splitlines()
        assert status.fullmatch(lines[2]), record.name


def test_index_lists_all() -> None:
    index = (FOLDER / "README.md").read_text("utf-8")
    assert [record.name for record in RECORDS if f"({record.name})" not in index] == []
