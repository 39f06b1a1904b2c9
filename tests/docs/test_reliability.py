"""`RELIABILITY.md` is what the laboratory makes of its results, and a stale page is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import page, promises, running
from tests.lab.__main__ import main


def test_the_page_is_current() -> None:
    assert page.FILE.read_text("utf-8") == page.render_page(), "run: python3 x.py lab page"


def test_a_stale_page_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(page, "FILE", tmp_path / "RELIABILITY.md")
    assert main(["page", "--check"]) == 1
    assert main(["page"]) == 0
    assert main(["page", "--check"]) == 0
    page.FILE.write_text("old")
    assert main(["page", "--check"]) == 1
    assert "stale" in capsys.readouterr().out


def test_promises_name_tests_that_are_there() -> None:
    root = page.sources.ROOT
    rows = set(running.load_rows())
    for promise in promises.PROMISES:
        assert all((root / test).exists() for test in promise.tests), promise
        assert set(promise.rows) & (rows | {"T3", "T4", "T5", "T6"}) == set(promise.rows)
    names = [one.name for one in promises.PROMISES] + [name for name, _ in promises.LATER]
    assert len(names) == len(set(names))


def test_what_was_not_measured_is_called_so(tmp_path: Path) -> None:
    told = page.render_page(tmp_path / "none.jsonl")
    assert "T2: not measured yet" in told
    assert "Planted bugs" not in told.split("## Rows")[1]
