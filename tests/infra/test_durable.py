"""What is made is made safe: every folder that got a name is synced after it got it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agenthive.infra import fsync as durable


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What was synced, while it was really synced."""
    found: list[Path] = []
    fsync = os.fsync

    def watched(handle: int) -> None:
        found.append(Path(f"/proc/self/fd/{handle}").resolve())
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    return found


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="asks /proc what was synced")
def test_every_folder_that_got_a_name_is_synced(tmp_path: Path, synced: list[Path]) -> None:
    wanted = tmp_path / "a" / "b" / "c"
    durable.make_folder(wanted)
    assert wanted.is_dir()
    assert set(synced) == {tmp_path, tmp_path / "a", tmp_path / "a" / "b"}
    assert wanted.stat().st_mode & 0o777 == 0o700
    synced.clear()
    durable.make_folder(wanted)
    assert synced == []


def test_a_folder_that_cannot_be_read_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "open", refuse)
    durable.sync_path(tmp_path)


def test_what_is_gone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        durable.sync_path(tmp_path / "gone")
