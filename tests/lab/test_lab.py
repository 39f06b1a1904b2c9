"""The laboratory itself: ranges add up, digests tell sources apart, what is done is not redone, and
a row that finds something fails the gate.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.lab import __main__ as lab
from tests.lab import page, ranges, records, running, sources
from tests.lab.records import Line
from tests.lab.result import Result, Say, Skipped


def make_result(first: int, last: int, **overrides: object) -> Result:
    plain = Result(
        row="T9",
        first=first,
        last=last,
        count=last - first,
        violations=[],
        planted={},
        figures={"kills": last - first, "rate": 1.5, "who": "x"},
        seconds=2.0,
    )
    return replace(plain, **overrides)  # type: ignore[arg-type]


def make_line(
    first: int, last: int, digest: str = "d", date: str = "1", **overrides: object
) -> Line:
    return Line(make_result(first, last, **overrides), digest, "h", "c", date)


# Ranges.


def test_ranges_are_read() -> None:
    assert ranges.parse_range("3:7") == range(3, 7)
    for invalid in ("3", "7:3", "3:3", "-1:3", "a:b", ""):
        with pytest.raises(ValueError, match=r"range|int"):
            ranges.parse_range(invalid)


def test_ranges_join_and_part() -> None:
    assert ranges.merge_ranges([range(5, 9), range(0, 3), range(3, 5), range(20, 20)]) == [
        range(0, 9)
    ]
    assert ranges.count_units([range(0, 10), range(5, 15), range(20, 30)]) == 25
    assert ranges.subtract_ranges(range(0, 30), [range(5, 10), range(20, 25)]) == [
        range(0, 5),
        range(10, 20),
        range(25, 30),
    ]
    assert ranges.subtract_ranges(range(5, 8), [range(0, 10)]) == []
    assert ranges.subtract_ranges(range(5, 8), [range(0, 5), range(8, 9)]) == [range(5, 8)]
    assert ranges.split_range(range(3, 25), 10) == [range(3, 10), range(10, 20), range(20, 25)]


# Results.


def test_results_add_up_over_ranges_that_do_not_overlap() -> None:
    [total] = records.sum_results(
        [make_line(0, 10), make_line(10, 30, violations=["x"]), make_line(40, 50)]
    )
    assert (total.count, total.ranges) == (40, [range(0, 30), range(40, 50)])
    assert total.figures == {"kills": 40, "rate": 1.5, "who": "x"}
    assert total.seconds == 6.0
    assert total.violations == ["x"]


def test_overlaps_count_once() -> None:
    [total] = records.sum_results(
        [make_line(0, 10), make_line(0, 10), make_line(5, 15), make_line(0, 3)]
    )
    assert total.count == 15
    assert total.figures["kills"] == 10
    assert total.seconds == 2.0


def test_a_range_that_was_not_finished_counts_for_what_it_did() -> None:
    [total] = records.sum_results([make_line(0, 100, count=20)])
    assert total.ranges == [range(0, 20)]
    assert records.finished_ranges("T9", [make_line(0, 100, count=20)], "d") == []


def test_other_sources_are_told_apart_and_not_summed() -> None:
    new, old = records.sum_results([make_line(0, 10, "old", "1"), make_line(0, 20, "new", "2")])
    assert (new.digest, new.count) == ("new", 20)
    assert (old.digest, old.count) == ("old", 10)


def test_the_latest_hunt_counts_and_a_missed_bug_shows() -> None:
    [total] = records.sum_results(
        [
            make_line(0, 10, date="1", planted={"a": 3, "b": 1}),
            make_line(10, 20, date="2", planted={"a": None}),
        ]
    )
    assert total.planted == {"a": None, "b": 1}
    assert make_result(0, 1, planted={"a": None}).missed == ["a"]
    assert not make_result(0, 1, planted={"a": None}).clean
    assert not make_result(0, 9, count=1).clean


def test_bugs_caught_before_are_known_for_the_same_code_alone() -> None:
    lines = [make_line(0, 1, planted={"a": 3, "b": None})]
    assert records.caught_bugs("T9", "h", lines) == {"a": 3}
    assert records.caught_bugs("T9", "other", lines) == {}
    assert records.caught_bugs("T1", "h", lines) == {}


def test_what_says_nothing_new_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "lab" / "results.jsonl"
    assert records.append_line(make_line(0, 10), file)
    assert not records.append_line(make_line(0, 10), file)
    assert not records.append_line(make_line(2, 5), file)
    assert records.append_line(make_line(0, 11), file)
    assert records.append_line(make_line(0, 10, "other"), file)
    assert records.append_line(make_line(0, 10, violations=["x"]), file)
    assert records.append_line(make_line(0, 10, violations=["x"]), file)
    assert records.append_line(make_line(0, 10, planted={"a": 1}), file)
    assert len(records.read_results(file)) == 6
    assert records.read_results(file)[0] == make_line(0, 10)


# Sources.


def test_the_digest_is_of_contents_of_three_rooms(tmp_path: Path) -> None:
    for room in (*sources.ROOMS, "cli"):
        (tmp_path / "src" / "agenthive" / room).mkdir(parents=True)
        (tmp_path / "src" / "agenthive" / room / "a.py").write_text("x = 1\n")
    before = sources.digest(tmp_path)
    (tmp_path / "src/agenthive/cli/a.py").write_text("x = 2\n")
    (tmp_path / "src/agenthive/core/__pycache__").mkdir()
    (tmp_path / "src/agenthive/core/__pycache__/a.pyc").write_text("x")
    assert sources.digest(tmp_path) == before
    (tmp_path / "src/agenthive/stores/a.py").write_text("x = 2\n")
    changed = sources.digest(tmp_path)
    assert changed != before
    (tmp_path / "src/agenthive/stores/a.py").rename(tmp_path / "src/agenthive/stores/b.py")
    assert sources.digest(tmp_path) not in (before, changed)
    assert sources.current_commit(tmp_path) == ""


def test_the_commit_says_whether_sources_differ_from_it(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("x = 1\n")
    git = ("git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c")
    for arguments in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "x")):
        subprocess.run([*git, *arguments], check=True)
    clean = sources.current_commit(tmp_path)
    assert len(clean) == 12
    (tmp_path / "src" / "a.py").write_text("x = 2\n")
    assert sources.current_commit(tmp_path) == clean + "+"


# Rows and the gate.


def test_every_row_is_found_by_its_file() -> None:
    by_name = running.load_rows()
    files = {path.stem.upper() for path in running.FOLDER.glob("t*.py")}
    assert set(by_name) == files >= {"T1", "T2", "T8"}
    for row in by_name.values():
        assert len(row.WHAT.splitlines()) == 1
        assert len(row.GATE) <= len(row.NIGHTLY)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A row T9 that does what it is told, and files of its own."""
    done: list[range] = []
    row = SimpleNamespace(ROW="T9", WHAT="x", GATE=range(10), NIGHTLY=range(100), CHUNK=25)
    row.come_of = make_result

    def run(units: range, *, say: Say) -> Result:
        say("at it")
        done.append(units)
        outcome: Result = row.come_of(units.start, units.stop)
        return outcome

    row.run = run
    monkeypatch.setattr(records, "FILE", tmp_path / "results.jsonl")
    monkeypatch.setattr(page, "FILE", tmp_path / "RELIABILITY.md")
    monkeypatch.setattr(lab, "load_rows", lambda: {"T9": row})
    return SimpleNamespace(row=row, done=done, folder=tmp_path)


def test_a_clean_gate_passes(bench: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert lab.main(["gate"]) == 0
    entry = json.loads(capsys.readouterr().out)
    assert (entry["row"], entry["count"], entry["violations"]) == ("T9", 10, [])
    assert len(records.read_results()) == 1
    assert (bench.folder / "RELIABILITY.md").exists()
    assert lab.main(["gate"]) == 0
    assert bench.done == [range(10), range(10)]
    assert len(records.read_results()) == 1


WRONG: list[Callable[[int, int], Result]] = [
    lambda first, last: make_result(first, last, violations=["lost"]),
    lambda first, last: make_result(first, last, planted={"bug": None}),
    lambda first, last: make_result(first, last, count=last - first - 1),
]


@pytest.mark.parametrize("come_of", WRONG, ids=["violation", "missed bug", "left out"])
def test_a_gate_that_finds_something_fails(
    bench: SimpleNamespace, come_of: Callable[[int, int], Result]
) -> None:
    bench.row.come_of = come_of
    assert lab.main(["gate"]) == 1
    assert lab.main(["T9"]) == 1
    assert lab.main(["nightly"]) == 1
    assert records.read_results()[0].result == come_of(0, 10)


def test_long_runs_go_on_where_they_were(bench: SimpleNamespace) -> None:
    assert lab.main(["T9", "--seeds", "20:40"]) == 0
    assert lab.main(["nightly"]) == 0
    assert bench.done == [
        range(20, 25),
        range(25, 40),
        range(0, 20),
        range(40, 50),
        range(50, 75),
        range(75, 100),
    ]
    assert lab.main(["nightly"]) == 0
    assert len(bench.done) == 6
    assert lab.main(["T9", "--range", "0:10", "--again"]) == 0
    assert bench.done[-1] == range(0, 10)


def test_what_broke_is_done_again(bench: SimpleNamespace) -> None:
    bench.row.come_of = WRONG[0]
    assert lab.main(["T9"]) == 1
    bench.row.come_of = make_result
    assert lab.main(["T9"]) == 0
    assert bench.done == [range(10), range(10)]


def test_dry_runs_write_nothing(bench: SimpleNamespace) -> None:
    assert lab.main(["T9", "--dry"]) == 0
    assert list(bench.folder.iterdir()) == []


def test_a_row_that_cannot_run_here_is_skipped_unless_it_must(
    bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def come_of(first: int, last: int) -> Result:
        raise Skipped("strace", "apt-get install strace")

    bench.row.come_of = come_of
    monkeypatch.setenv("AGENTHIVE_REQUIRE", "node")
    assert lab.main(["gate"]) == 0
    monkeypatch.setenv("AGENTHIVE_REQUIRE", "node,strace")
    assert lab.main(["gate"]) == 1


def test_unknown_rows_are_refused(bench: SimpleNamespace) -> None:
    assert lab.main(["T77"]) == 2
    assert lab.main(["gate", "--rows", "T77"]) == 2
    assert bench.done == []
    assert lab.main(["gate", "--rows", "t9"]) == 0


def test_status_tells_of_these_sources_and_of_older_ones(
    bench: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    records.append_line(make_line(0, 7, "before"))
    assert lab.main(["T9"]) == 0
    capsys.readouterr()
    assert lab.main([]) == 0
    output = capsys.readouterr().out
    assert "7 units, 0 violations, 0 of 0 planted bugs caught, 1 (older: before)" in output
    assert "10 units" in output
    assert "(these sources)" in output


def test_the_page_tells_of_the_newest_sources_and_of_older_ones_apart(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    for entry in (
        make_line(0, 10, "old", "1", row="T2", planted={"bug": None}),
        make_line(0, 30, "new", "2", row="T2", planted={"bug": 4}, violations=["boo"]),
    ):
        records.append_line(entry, file)
    page_text = page.render_page(file)
    assert "T2: 30 kills, 1 violations (`c`)" in page_text
    assert "* violation: `boo`" in page_text
    assert "| bug | 4 |" in page_text
    assert (
        "* T2: 10 units, 0 violations, 0 of 1 planted bugs detected, "
        "commit `c`, sources `old`" in page_text
    )
