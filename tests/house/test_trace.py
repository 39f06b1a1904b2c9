"""The trace of a reply is the same each time, and counts rooms by the layout it is shown."""

from __future__ import annotations

import json

import pytest

from tests.house import trace


def entry(
    file: str, function: str = "f", *, outside: bool = False, callback: int = 0
) -> trace.Entry:
    return trace.Entry(file, function, outside, callback)


def test_path_is_the_same_each_time() -> None:
    first, second = trace.record_path(), trace.record_path()
    assert first == second
    rooms = {item.file.split("/")[0] for item in first}
    assert {"runtimes", "core", "stores"} <= rooms
    assert any(item.outside_loop for item in first), "the writer thread is missing"
    assert first[-1].callback > 1, "the acknowledgement is missing"


def test_rooms_and_changes() -> None:
    entries = [
        entry("core/old.py"),
        entry("core/old.py"),
        entry("stores/a.py"),
        entry("x.py"),
    ]
    summary = trace.summarize(entries, trace.Layout())
    assert (summary.rooms, summary.room_changes) == (["core/old.py", "stores", "x.py"], 2)
    assert (len(summary.files), summary.file_changes) == (3, 2)


def test_planned_moves_and_splits() -> None:
    layout = trace.Layout(
        {
            "move": {"src/agenthive/core/old.py": "src/agenthive/core/engine/new.py"},
            "split": {"src/agenthive/both.py": {"src/agenthive/ipc/part.py": ["Part"]}},
        }
    )
    assert layout.find_room(entry("core/old.py")) == "core/engine"
    assert layout.find_file(entry("both.py", "Part.open")) == "ipc/part.py"
    assert layout.find_room(entry("both.py", "other")) == "both.py"


def test_threads_are_listed_behind_their_callback() -> None:
    recorder = trace.Recorder()
    thread = entry("stores/b.py", outside=True)
    recorder.entries = [entry("a.py"), thread, entry("c.py"), entry("d.py", callback=1)]
    files = [item.file for item in recorder.list_entries()]
    assert files == ["a.py", "c.py", "stores/b.py", "d.py"]


def test_printout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(trace, "record_path", lambda: [entry("a.py"), entry("hive/b.py")])
    assert trace.main(["--verbose"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("2 rooms, 1 changes of room\n2 files, 1 changes of file\n")
    assert "> hive" in printed
    assert trace.main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rooms"] == ["a.py", "hive"]
