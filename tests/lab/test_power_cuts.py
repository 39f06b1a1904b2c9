"""Power cuts: the rebuilt states are right, sound code holds, planted bugs are caught."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.lab import disk, kept
from tests.lab.result import JOBS
from tests.lab.rows import t3
from tests.lab.strace import Call, read_calls
from tests.requires import require

pytestmark = pytest.mark.slow
"""Most of its tests take more than a second."""

HOME = "/h/home"
DB = f"{HOME}/db"


def make_calls(*steps: tuple[str, str] | tuple[str, str, object]) -> list[Call]:
    """Calls one after the other: (name, path, data or number or second name)."""
    steps_made = []
    for line, (name, path, *extra) in enumerate(steps):
        data = extra[0] if extra else b""
        texts: tuple[bytes, ...] = (path.encode(),)
        arguments = "AT, , O_RDWR|O_CREAT, 0600" if name == "openat" else ""
        if name == "pwrite64":
            assert isinstance(data, tuple)
            texts, arguments = (data[1],), f"3, , {len(data[1])}, {data[0]}"
        elif name == "ftruncate":
            texts, arguments = (), f"3, {data}"
        elif name == "rename":
            texts = (path.encode(), str(data).encode())
        steps_made.append(Call(name, path, texts, arguments, line, line))
    return steps_made


def cut_disk(
    steps: list[Call], mode: str, seed: int = 1, *, at_once: bool = True
) -> dict[str, bytes]:
    traced = disk.TracedDisk()
    for call in steps:
        traced.apply(call, ignore_sync=False)
    return traced.cut_power(mode, Random(seed), names_at_once=at_once)


BEGIN = (("mkdir", HOME), ("openat", DB), ("pwrite64", DB, (0, b"old")), ("fdatasync", DB))


def test_what_was_synced_is_there_and_what_was_not_may_be_gone() -> None:
    steps = make_calls(*BEGIN, ("pwrite64", DB, (5, b"new")), ("ftruncate", DB, 2))
    assert cut_disk(steps, "nothing") == {DB: b"old"}
    assert cut_disk(steps, "everything") == {DB: b"ol"}
    prefixes = {cut_disk(steps, "a prefix", seed)[DB] for seed in range(30)}
    assert prefixes == {b"old", b"old\0\0new", b"ol"}
    assert cut_disk([*steps, *make_calls(("fdatasync", DB))], "nothing") == {DB: b"old"}, (
        "it began too early"
    )
    late = Call("fdatasync", DB, (), "", 9, 10)
    assert cut_disk([*steps, late], "nothing") == {DB: b"ol"}


def test_a_write_is_torn_between_sectors() -> None:
    whole = b"a" * 700 + b"b" * 700
    steps = make_calls(*BEGIN, ("pwrite64", DB, (100, whole)))
    contents = {cut_disk(steps, "torn", seed)[DB] for seed in range(100)}
    assert len(contents) > 4
    for content in contents:
        padded = content.ljust(1500, b"\0")
        for start, end in ((100, 512), (512, 1024), (1024, 1500)):
            assert padded[start:end] in (whole[start - 100 : end - 100], bytes(end - start))


def test_names_are_safe_with_their_folder() -> None:
    steps = make_calls(*BEGIN, ("rename", DB, DB + "2"))
    late = {frozenset(cut_disk(steps, "everything", seed, at_once=False)) for seed in range(30)}
    assert late == {frozenset(), frozenset({DB}), frozenset({DB + "2"})}
    steps += [Call("fsync", HOME, (), "", 8, 9)]
    late = {frozenset(cut_disk(steps, "everything", seed, at_once=False)) for seed in range(30)}
    assert late == {frozenset(), frozenset({DB + "2"})}, "the home itself may still be gone"
    steps += [Call("fsync", "/h", (), "", 9, 10)]
    late = {frozenset(cut_disk(steps, "everything", seed, at_once=False)) for seed in range(30)}
    assert late == {frozenset({DB + "2"})}
    steps += make_calls(("unlink", DB + "2"))
    assert cut_disk(steps, "everything") == {}


def test_a_record_is_read(tmp_path: Path) -> None:
    out = tmp_path / "calls"
    name = "".join(f"\\x{byte:02x}" for byte in b"/db")
    out.write_text(
        f'7 pwrite64(3<{name}>, "\\x61\\x00", 2, 5 <unfinished ...>\n'
        f"8 fdatasync(4<{name}>) = -1 EIO (Input/output error)\n"
        "7 <... pwrite64 resumed>) = 2\n"
        f'8 rename("{name}", "\\x2f\\x63") = 0\n'
        f"8 fsync(4<{name}> <unfinished ...>\n"
    )
    write, moved, synced = read_calls(out)
    assert (write.path, write.texts, write.number) == ("/db", (b"a\0",), 5)
    assert (write.start, write.end) == (1, 3)
    assert moved.texts == (b"/db", b"/c")
    assert synced.end > 1000, "nobody was told that it had ended"
    out.write_text(f'7 pwrite64(3<{name}>, "\\x61"..., 2, 5) = 2\n')
    with pytest.raises(ValueError, match="not recorded whole"):
        read_calls(out)


async def test_what_is_lost_is_noticed(tmp_path: Path) -> None:
    promise = {"what": "told", "run": "r", "seq": 1, "at": 1, "type": "run.submitted"}
    assert await kept.find_lost(tmp_path, []) == []
    assert await kept.find_lost(tmp_path, [promise]) == ["lost: the whole journal, with 1 facts"]
    (tmp_path / "journal.db").write_bytes(b"nonsense" * 1000)
    [problem] = await kept.find_lost(tmp_path, [promise])
    assert "cannot be opened" in problem


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JOBS, "1")


@pytest.mark.usefixtures("alone")
def test_row(monkeypatch: pytest.MonkeyPatch) -> None:
    require("strace")
    monkeypatch.setattr(t3.records, "caught_bugs", lambda row, harness: {})
    monkeypatch.setattr(t3, "LONG", ((("first",), ()),))
    result = t3.run(range(1000, 1040), say=lambda text: None)
    assert result.violations == []
    assert result.clean
    assert set(result.planted) == {*t3.BUGS}
    assert int(result.figures["syncs recorded"]) > 50


@pytest.mark.usefixtures("alone")
def test_every_promise_is_looked_for(tmp_path: Path) -> None:
    """What the process says is complete, and a journal without it is found out."""
    require("strace")
    record = t3.record_lives(tmp_path / "a", t3.SHORT[:1])
    assert os.path.getsize(tmp_path / "a" / "calls0") > 10_000
    promises = kept.read_promises(tmp_path / "a" / "said")
    kinds = {promise["what"] for promise in promises}
    assert kinds == {"accepted", "called", "told", "ended"}
    assert len(record) > 100
    changes: list[Callable[[dict[str, object]], object]] = [
        lambda one: one.update(run="other"),
        lambda one: one.update(status="failed", seq=10_000, attempt=9),
    ]
    for change in changes:
        for kind in sorted(kinds):
            promise = dict(next(s for s in promises if s["what"] == kind))
            change(promise)
            problems = asyncio.run(kept.find_lost(tmp_path / "a" / "home", [promise]))
            if kind == "accepted" and promise["run"] != "other":
                assert problems == []
            else:
                assert [line[:5] for line in problems] == ["lost:"], kind
