"""`agenthive-compat files DIR`: what it writes, what it refuses, its exit codes."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import agenthive
from agenthive.facades import document_files
from tests.documents.code_blocks import C
from tests.wheels import ROOT, call_console_script, clean_environment


@pytest.fixture
def call(site: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Calls the command where agenthive-compat is installed."""
    monkeypatch.syspath_prepend(site)
    return CliRunner()


def write(call: CliRunner, *words: object) -> Result:
    return call.invoke(
        document_files.main, ["files", *map(str, words)], prog_name="agenthive-compat"
    )


def list_files(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def test_writes_the_examples_of_the_repository(call: CliRunner, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "project"
    result = write(call, folder)
    assert result.exit_code == 0, result.output
    assert list_files(folder) == sorted(document_files.FILES)
    for name in set(document_files.FILES) - {"agenthive.toml"}:
        assert (folder / name).read_bytes() == (ROOT / name).read_bytes()
    assert result.stdout.splitlines() == [
        f"{folder / name}: {purpose}" for name, purpose in document_files.FILES.items()
    ]
    for name in document_files.NOT_YET:
        assert f"a feature that this version does not have: {name} (" in result.stderr


def test_every_file_says_what_it_is(call: CliRunner, tmp_path: Path) -> None:
    write(call, tmp_path)
    for name in document_files.FILES:
        start = (tmp_path / name).read_text("utf-8")[:4]
        assert start.startswith(("# ", '"""')), name


def test_document_names_the_files() -> None:
    text = C.read_text("utf-8")
    own = {"agenthive.toml", "examples/example_agents.py"}
    names = {*document_files.FILES} - own
    assert [name for name in names if name.split("/")[-1] not in text] == []
    assert [name for name in document_files.NOT_YET if name not in text] == ["cli.py", "Dockerfile"]


def test_refuses_to_overwrite(call: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "demo.py").write_text("mine")
    result = write(call, tmp_path)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert f"{tmp_path} has examples/demo.py already; overwrite with --force" in result.stderr
    assert list_files(tmp_path) == ["examples/demo.py"], "nothing may be written"
    assert (tmp_path / "examples" / "demo.py").read_text() == "mine"
    assert write(call, tmp_path, "--force").exit_code == 0
    assert "mine" not in (tmp_path / "examples" / "demo.py").read_text()
    assert write(call, tmp_path).exit_code == 2
    assert write(call, "--force", tmp_path).exit_code == 0


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["plain", "force"])
def test_refuses_what_is_no_file(force: list[str], call: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "agenthive.toml").mkdir()
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "demo.py").symlink_to(tmp_path / "nowhere")
    result = write(call, tmp_path, *force)
    assert result.exit_code == 2
    assert "agenthive.toml, examples/demo.py" in result.stderr
    assert list_files(tmp_path) == []


def test_folder_that_is_a_file(call: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    for folder in (tmp_path / "taken", tmp_path / "taken" / "below"):
        result = write(call, folder)
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"{folder} cannot be used: " in result.stderr


@pytest.mark.parametrize("words", [["files"], ["files", "a", "b"], ["nonsense"], ["--nonsense"]])
def test_wrong_usage(words: list[str], call: CliRunner) -> None:
    result = call.invoke(document_files.main, words, prog_name="agenthive-compat")
    assert result.exit_code == 2
    assert "Usage: agenthive-compat" in result.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-h"], "files"),
        (["files", "--help"], "--force"),
        (["--version"], f"agenthive-compat, version {agenthive.__version__}"),
    ],
)
def test_help_and_version(words: list[str], text: str, call: CliRunner) -> None:
    result = call.invoke(document_files.main, words)
    assert (result.exit_code, text in result.stdout) == (0, True)


def test_names_the_distribution_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_nothing(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", find_nothing)
    result = write(CliRunner(), tmp_path / "project")
    assert result.exit_code == 2
    assert "install it: pip install agenthive-compat" in result.stderr
    assert not (tmp_path / "project").exists()


def test_console_script(site: Path, tmp_path: Path) -> None:
    def run(*words: str) -> int:
        return subprocess.run(
            call_console_script("agenthive-compat", *words), cwd=tmp_path,
            env=clean_environment(site), capture_output=True, text=True, timeout=60,
        ).returncode  # fmt: skip

    assert [run("files", "project"), run("files", "project")] == [0, 2]
    assert run("files", "project", "--force") == 0
    assert run("--help") == 0
