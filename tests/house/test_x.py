"""The bootstrap: what it refuses, when it sets up, what it tells uv and how it reports."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def x(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """x.py as a module, its .venv in a temporary folder."""
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "x.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "STAMP", tmp_path / "stamp")
    monkeypatch.setattr(module, "NODE_STAMP", tmp_path / "node-stamp")
    monkeypatch.setattr(module, "NODE_LOCK", tmp_path / "package-lock.json")
    return module


def call(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(ROOT / "x.py"), *args]
    return subprocess.run(command, capture_output=True, text=True, cwd="/")


def test_unknown_command_is_refused_with_help() -> None:
    done = call("instal")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "no command 'instal'" in done.stderr
    assert "python3 x.py COMMAND" in done.stderr
    assert call().returncode == 2


@pytest.mark.parametrize("word", ["help", "--help", "-h"])
def test_help(word: str, x: ModuleType) -> None:
    done = call(word)
    assert done.returncode == 0
    assert [name for name in x.COMMANDS if f"\n    {name} " not in done.stdout] == []


def test_makefile_has_the_same_names(x: ModuleType) -> None:
    first = next(
        line for line in (ROOT / "Makefile").read_text().splitlines() if "COMMANDS :=" in line
    )
    assert first.split(":=")[1].split() == list(x.COMMANDS)


def test_old_python_is_refused(
    x: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(x, "OLDEST", (99, 0))
    assert x.main(["test"]) == 2
    assert "Python 99.0 or newer is needed" in capsys.readouterr().err


def test_sets_up_once_and_again_after_a_change(
    x: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks = tmp_path / "requirements"
    locks.mkdir()
    for name in ("dev.lock", "installer.lock"):
        (locks / name).write_text("a==1")
    marks: list[str] = []

    def install(mark: str) -> None:
        marks.append(mark)
        x.STAMP.write_text(mark)

    monkeypatch.setattr(x, "LOCKS", locks)
    monkeypatch.setattr(x, "setup_python", install)
    x.ensure()
    started = time.perf_counter()
    x.ensure()
    assert time.perf_counter() - started < 1
    assert len(marks) == 1
    (locks / "dev.lock").write_text("a==2")
    x.ensure()
    x.ensure()
    assert len(marks) == len(set(marks)) == 2


def test_uv_is_told_what_pip_is_told(x: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*x.PIP_TO_UV, *x.PIP_TO_UV.values()):
        monkeypatch.delenv(name, raising=False)
    assert not set(x.PIP_TO_UV.values()) & set(x.environment())
    monkeypatch.setenv("PIP_FIND_LINKS", "wheels")
    monkeypatch.setenv("PIP_INDEX_URL", "theirs")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "mine")
    env = x.environment()
    assert (env["UV_FIND_LINKS"], env["UV_DEFAULT_INDEX"]) == ("wheels", "mine")
    assert env["PATH"].startswith(str(x.BIN))


def test_without_uv_pip_installs_the_same_lock(
    x: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def quiet(*command: object) -> tuple[int, str]:
        calls.append(" ".join(map(str, command)))
        return int("installer.lock" in calls[-1]), "no wheel for this machine"

    monkeypatch.setattr(x, "quiet", quiet)
    assert x.install() == "pip"
    assert [word in calls[1] for word in ("pip install", "--require-hashes", "dev.lock")] == [
        True
    ] * 3
    assert "--no-build-isolation -e" in calls[2]
    assert not any("uv pip" in call for call in calls)


def test_node_is_wanted_only_when_required(
    x: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    x.NODE_LOCK.write_text("{}")
    monkeypatch.setattr(x.shutil, "which", lambda name: None)
    monkeypatch.delenv("AGENTHIVE_REQUIRE", raising=False)
    x.setup_node()
    assert "tests that need node will be skipped" in capsys.readouterr().err
    monkeypatch.setenv("AGENTHIVE_REQUIRE", "strace, node")
    with pytest.raises(SystemExit, match="node is required"):
        x.setup_node()


def test_check_reads_its_options(x: ModuleType) -> None:
    assert x.options([]) == (False, set(), set())
    assert x.options(["--fast", "--only", "lint,types"]) == (True, {"lint", "types"}, set())
    assert x.options(["--skip", "tests"]) == (False, set(), {"tests"})
    for wrong in (["--only"], ["--only", "nonsense"], ["nonsense"]):
        with pytest.raises(SystemExit) as caught:
            x.options(wrong)
        assert caught.value.code == 2


@pytest.mark.parametrize(("code", "verdict"), [(0, "ok"), (3, "FAILED")])
def test_check_runs_every_step_and_sums_up(
    code: int,
    verdict: str,
    x: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(x, "ensure", lambda *, node: None)
    monkeypatch.setattr(x, "quiet", lambda *command: (code, f"{command[0]}\n== 3 passed ==\n----"))
    assert x.check(["--skip", "house"]) == (1 if code else 0)
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line.endswith("s  3 passed")]
    lines = [line for line in lines if line.split()[0] not in x.SHOWN]
    assert [line.split()[:2] for line in lines] == [
        [name, verdict] for name in x.steps(False) if name not in {"house", *x.SHOWN}
    ]
    for name in x.SHOWN:
        assert f"{name:14} {verdict:7}" in printed
        assert ("shown below" in printed) != bool(code)
    assert ("failed: format, lint" in printed) == bool(code)


def test_fast_check_leaves_out_what_is_slow(x: ModuleType) -> None:
    assert x.steps(True)["tests"][-2:] == ("-m", "not slow")
    assert {"coverage", "coverage-core"} == set(x.steps(False)) - set(x.steps(True))


@pytest.fixture
def checkout(x: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small repository that `x.py release` works on."""
    module = tmp_path / "src" / "agenthive" / "__init__.py"
    module.parent.mkdir(parents=True)
    module.write_text('"""A package."""\n\n__version__ = "0.1.0"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changes\n\n## Unreleased\n\n* A change.\n")
    monkeypatch.setattr(x, "ROOT", tmp_path)
    for name, value in {"user.name": "a", "user.email": "a@example.com"}.items():
        for prefix in ("GIT_AUTHOR", "GIT_COMMITTER"):
            monkeypatch.setenv(f"{prefix}_{name.removeprefix('user.').upper()}", value)
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "First"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    return tmp_path


def ask_git(checkout: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(checkout), *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_release_sets_the_version_and_tags(x: ModuleType, checkout: Path) -> None:
    assert x.release(["0.2.0"]) == 0
    module = (checkout / "src" / "agenthive" / "__init__.py").read_text()
    assert '__version__ = "0.2.0"' in module
    changes = (checkout / "CHANGELOG.md").read_text()
    assert re.search(r"## Unreleased\n\n## 0\.2\.0 - \d{4}-\d\d-\d\d\n\n\* A change\.", changes)
    assert ask_git(checkout, "tag") == "v0.2.0"
    assert ask_git(checkout, "status", "--porcelain") == ""
    assert x.release(["0.2.0"]) == 1, "the tag exists already"


@pytest.mark.parametrize("words", [[], ["next"], ["1.0"], ["1.0.0", "now"]])
def test_release_needs_a_version(x: ModuleType, checkout: Path, words: list[str]) -> None:
    assert x.release(words) == 2
    assert ask_git(checkout, "tag") == ""


def test_release_refuses_changes_that_are_not_committed(x: ModuleType, checkout: Path) -> None:
    (checkout / "CHANGELOG.md").write_text("changed")
    assert x.release(["0.2.0"]) == 1
    assert ask_git(checkout, "tag") == ""
