"""Failing calls, ill disks, flipped bits: the pieces of those rows, and that they can fail."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.lab import flips
from tests.lab.flips import JournalView
from tests.lab.result import Skipped
from tests.lab.rows import t4, t5, t6
from tests.planted.bugs import copy_with_bug, find_bug
from tests.requires import require

pytestmark = pytest.mark.slow
"""Most of its tests take more than a second."""


def test_points_are_always_the_same_and_cover_every_kind() -> None:
    points = [t4.choose_point(unit) for unit in range(500)]
    assert points == [t4.choose_point(unit) for unit in range(500)]
    assert {point.call for point in points} == {kind.call for kind in t4.KINDS}
    assert {"EIO", "ENOSPC", "EMFILE", "EROFS"} <= {point.error for point in points}
    assert {point.when.strip("0123456789") for point in points} == {"", "+", ".."}


def test_a_failing_call_is_borne_and_one_that_is_swallowed_is_caught(tmp_path: Path) -> None:
    require("strace")
    kinds, problems = t4.check_points(t4.SOUND, range(1, 2))
    assert kinds["went on"] + kinds["refused"] == 1
    assert problems == []
    source = copy_with_bug(find_bug("full_disk_acknowledged"), tmp_path)
    _, problems = t4.check_points(source, range(1, 2))
    assert problems


def test_ill_disks_are_borne() -> None:
    try:
        t5.require_mount()
    except Skipped as skip:
        pytest.skip(str(skip))
    assert t5.check_illnesses(t5.SOUND, range(3)) == []


def test_flips_are_found_and_a_build_that_checks_too_little_is_caught(tmp_path: Path) -> None:
    journal = t6.make_journal(tmp_path / "home", tmp_path / "said")
    counts, problems = t6.flip_units(journal, range(20), t6.SOUND)
    assert sum(counts.values()) == 20
    assert problems == []
    source = copy_with_bug(find_bug("list_not_checked"), tmp_path / "copy")
    assert t6.flip_units(journal, range(100), source)[1]


def test_a_flip_changes_one_bit_always_the_same(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    for _ in range(2):
        path.write_bytes(bytes(1000))
        assert flips.flip_bit(path, 2).startswith("byte ")
        assert sum(byte.bit_count() for byte in path.read_bytes()) == 1


def test_a_value_is_changed_where_a_table_takes_it(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE records (pos INTEGER PRIMARY KEY, payload TEXT NOT NULL) STRICT")
        for name in ("definitions", "blobs", "runs"):
            db.execute(f"CREATE TABLE {name} (name TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT")
        db.execute("INSERT INTO records VALUES (1, 'text')")
        db.commit()
    assert flips.flip_bit(path, 1) == "records.payload of 1"
    changed = flips.read_raw(path)
    assert changed is not None
    assert changed != [(b"text",)]


SOUND = JournalView([(1,)], "", {"": b"list", "r": b"report"})


@pytest.mark.parametrize(
    ("now", "kind", "wrong"),
    [
        (SOUND, "no matter", 0),
        (SOUND._replace(records=[(2,)]), "record", 1),
        (SOUND._replace(records=None, found="damage"), "record", 0),
        (SOUND._replace(read={"": b"list", "r": b"other"}), "no matter", 1),
        (SOUND._replace(read={"": b"list", "r": None}), "refused", 0),
        (SOUND._replace(read={"": b"other", "r": b"report"}, found="damage"), "found", 0),
    ],
)
def test_what_counts_as_wrong(now: JournalView, kind: str, wrong: int) -> None:
    actual, lines = flips.judge_flip(SOUND, now, "1: here")
    assert (actual, len(lines)) == (kind, wrong)
