"""The examples run: the demo on repositories with odd histories, and with an endpoint broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
"""Most of its tests take more than a second."""

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "release_notes.yaml"
ODD = [
    "First",
    "A subject with 'quotes' and \"more\"",
    "Commit: 0123456789012345678901234567890123456789",
    "Message: not a message",
    "Ends with a quote'",
    "Ünïcode — and *markdown* [link](x)",
    "Add {{ braces }} and ${env:HOME}",
]


def git(folder: Path, *words: str) -> str:
    env = os.environ | {
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@example.com",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@example.com",
    }
    command = ["git", "-C", str(folder), *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder: Path, message: str) -> None:
    git(folder, "commit", "--allow-empty", "--quiet", "--cleanup=verbatim", "-m", message)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with odd subjects, a tag in the middle and a merge after it."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    for subject in ODD[:2]:
        commit(folder, subject)
    git(folder, "checkout", "--quiet", "-b", "side")
    commit(folder, "On the side")
    git(folder, "checkout", "--quiet", "main")
    commit(folder, "Before the tag")
    git(folder, "tag", "v1")
    git(folder, "merge", "--quiet", "--no-ff", "-m", "Merge the side", "side")
    for subject in ODD[2:]:
        body = "Body\n\nCommit: 0123456789012345678901234567890123456789\nMessage: no"
        commit(folder, f"{subject}\n\n{body}")
    return folder


def run(tmp_path: Path, file: Path, *words: str, **env: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-c", "from agenthive.cli import main; main()", "run", str(file)]
    command += ["--home", str(tmp_path / "home"), "--json", *words]
    command += ["--input", f"output={tmp_path / 'page.md'}"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AGENTHIVE")}
    done = subprocess.run(command, cwd=ROOT, env=clean | env, capture_output=True, text=True)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_release_notes_list_every_commit_since_the_tag(tmp_path: Path, repository: Path) -> None:
    code, found = run(tmp_path, EXAMPLE, "--input", f"repository={repository}")
    assert (code, found["status"]) == (0, "completed"), found["errors"]
    assert found["results"]["page"]["path"] == str(tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    listed = git(repository, "log", "--format=- %s (%h)", "--abbrev=10", "v1..HEAD").splitlines()
    assert len(listed) == 7
    assert sorted(line for line in page.splitlines() if line.startswith("- ")) == sorted(listed)
    assert "7 commits since v1." in page
    assert found["tasks"]["summary"]["tokens"] > 0


def test_release_notes_without_a_tag_list_the_last_twenty(tmp_path: Path, repository: Path) -> None:
    git(repository, "tag", "--delete", "v1")
    for number in range(30):
        commit(repository, f"Number {number}")
    code, _ = run(tmp_path, EXAMPLE, "--input", f"repository={repository}")
    page = (tmp_path / "page.md").read_text()
    assert code == 0
    assert [f"- Number {n} (" in page for n in range(30)] == [n >= 10 for n in range(30)]


def test_a_key_in_the_environment_changes_nothing(tmp_path: Path, repository: Path) -> None:
    keys = {"OPENAI_API_KEY": "sk-canary-canary", "ANTHROPIC_API_KEY": "sk-canary-canary"}
    code, found = run(tmp_path, EXAMPLE, "--input", f"repository={repository}", **keys)
    assert (code, found["results"]["summary"]["model"]) == (0, "offline-extractive")
    journal = b"".join(path.read_bytes() for path in (tmp_path / "home").glob("journal.db*"))
    assert b"canary" not in journal


@pytest.mark.parametrize(
    ("strategy", "code", "status"),
    [
        ("stop_on_first_failure", 1, "failed"),
        ("continue_on_failure", 1, "failed"),
        ("partial_completion_allowed", 7, "partially_completed"),
    ],
)
def test_a_broken_endpoint(
    strategy: str, code: int, status: str, tmp_path: Path, repository: Path
) -> None:
    text = EXAMPLE.read_text().replace("http://127.0.0.1:18377", "http://127.0.0.1:9")
    assert text.count("stop_on_first_failure") == 1
    broken = tmp_path / "broken.yaml"
    broken.write_text(text.replace("stop_on_first_failure", strategy))
    got, found = run(tmp_path, broken, "--input", f"repository={repository}")
    assert (got, found["status"]) == (code, status)
    assert "127.0.0.1:9" in found["errors"]["sections"]
    assert found["tasks"]["page"]["status"] == "skipped"
    assert found["tasks"]["sections"]["attempts"] == 3
    assert not (tmp_path / "page.md").exists()


@pytest.mark.parametrize("script", ["simple_demo.py", "demo.py"])
def test_scripts(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", f"examples/{script}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "completed" in done.stdout


def test_demo_script(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "examples/run_demo.py",
            "--home",
            str(tmp_path / "home"),
            "--input",
            f"output={tmp_path / 'page.md'}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "Completed tasks: 6/6" in done.stdout
    assert str(tmp_path / "page.md") in done.stdout
    for said in ("tokens", "journal: ", "next: agenthive show ", "Then try:"):
        assert said in done.stderr
    assert (tmp_path / "page.md").read_text().startswith("# Release notes")
