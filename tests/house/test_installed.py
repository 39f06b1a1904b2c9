"""What a user gets who installs the wheels into an empty environment, without a clone.

Needs a package index; skips with what pip said if none can be reached (``AGENTHIVE_REQUIRE=index``
makes that a failure). The tests build on each other: first the base alone, then agenthive-compat,
then the extra that the sample needs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import agenthive
from tests.docs.blocks import blocks
from tests.documents.code_blocks import B, C, import_lines
from tests.requires import required
from tests.wheels import ROOT, build_distribution, clean_environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

Process = subprocess.CompletedProcess[str]
SAMPLE = "examples/simple_workflow.yaml"
MODEL = """
agenthive: 1
name: with a model
agents: [{name: writer, type: ai_agent, endpoint: "https://api.openai.com/v1"}]
tasks: [{name: t, agent: writer, action: write, retry_config: {max_attempts: 1}}]
"""


class Installation:
    """An environment of its own, and a folder to work in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self.bin = folder / "venv" / "bin"
        self.environment = clean_environment(
            PATH=os.pathsep.join([str(self.bin), os.environ.get("PATH", os.defpath)])
        )
        command = [sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")]
        subprocess.run(command, env=self.environment, check=True, capture_output=True)

    def run(self, *words: str, folder: Path | None = None) -> Process:
        """Run a command of the environment: one of its scripts, or ``python``."""
        return subprocess.run(
            [str(self.bin / words[0]), *words[1:]], cwd=folder or self.folder,
            env=self.environment | {"XDG_CONFIG_HOME": str(self.folder / "xdg")},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    def call_pip(self, *words: str) -> Process:
        """Run our pip on the environment, which needs none of its own, with the user's settings."""
        command = [sys.executable, "-m", "pip", "--python", str(self.bin / "python")]
        return subprocess.run(
            [*command, "--disable-pip-version-check", *words],
            cwd=self.folder, env=self.environment, capture_output=True, text=True,
        )  # fmt: skip

    def install(self, *names: str) -> None:
        """Install from the index; whatever fails now is a fault of ours."""
        process = self.call_pip("install", "--quiet", "--no-compile", *names)
        assert process.returncode == 0, process.stdout + process.stderr

    def list_packages(self) -> set[str]:
        """The names of all that is installed."""
        process = self.call_pip("list", "--format", "json")
        return {package["name"] for package in json.loads(process.stdout)}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The wheel of each distribution."""
    folder = tmp_path_factory.mktemp("dist")
    names = ("agenthive-workflows", "agenthive-compat")
    return {name: str(build_distribution(name, folder)) for name in names}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, wheels: dict[str, str]) -> Installation:
    """agenthive-workflows without any extra."""
    installation = Installation(tmp_path_factory.mktemp("empty"))
    probe = installation.call_pip("install", "--dry-run", "--no-deps", "--retries", "1", "click")
    if probe.returncode:
        reason = "pip reaches no package index: " + (probe.stderr.strip().splitlines() or ["?"])[-1]
        pytest.fail(reason) if required("index") else pytest.skip(reason)
    installation.install(wheels["agenthive-workflows"])
    return installation


@pytest.fixture(scope="module")
def project(base: Installation, wheels: dict[str, str]) -> Path:
    """agenthive-compat beside it, and a folder with its files."""
    base.install(wheels["agenthive-compat"])
    process = base.run("agenthive-compat", "files", "project")
    assert process.returncode == 0, process.stderr
    return base.folder / "project"


def test_base_is_alone(base: Installation) -> None:
    packages = base.list_packages()
    assert "agenthive-workflows" in packages
    assert packages & {"openai", "anthropic", "mcp", "uvloop", "agenthive-compat"} == set()


def test_version(base: Installation) -> None:
    shown = f"agenthive, version {agenthive.__version__}\n"
    for words in (("python", "-m", "agenthive", "--version"), ("agenthive", "--version")):
        process = base.run(*words)
        assert (process.returncode, process.stdout) == (0, shown), process.stderr


def test_nothing_comes_from_a_clone(base: Installation) -> None:
    process = base.run("python", "-c", "import agenthive; print(agenthive.__file__)")
    assert process.stdout.startswith(str(base.bin.parent)), process.stderr


def test_readme_example(base: Installation) -> None:
    """The file and the command of the README, as they are printed there."""
    page = blocks("README.md", (ROOT / "README.md").read_text("utf-8"))
    (file,) = [block for block in page if block.mark == "file"]
    (base.folder / file.value).write_text(file.text)
    (command,) = [line for block in page for line in block.commands]
    process = subprocess.run(
        command, shell=True, cwd=base.folder, env=base.environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("Workflow completed with status: completed\nCompleted")
    assert "Completed tasks: 2/2" in process.stdout


def test_doctor(base: Installation) -> None:
    process = base.run("agenthive", "doctor")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "WRONG" not in process.stdout


def test_workflow_with_a_model_names_the_extra(base: Installation) -> None:
    (base.folder / "model.yaml").write_text(MODEL)
    process = base.run("agenthive", "run", "model.yaml", "--home", "model-home")
    assert process.returncode == 5, process.stderr
    assert "Traceback" not in process.stderr
    shown = process.stdout + process.stderr
    assert "agent 'writer' needs the package 'openai', which is not installed" in shown
    assert "pip install 'agenthive-workflows[openai]'" in shown


def test_import_lines_need_no_extra(base: Installation, project: Path) -> None:
    lines = [*import_lines(B), *import_lines(C), "import lead_agent.agents, external_api.models"]
    process = base.run("python", "-W", "error", "-c", "\n".join(lines), folder=project)
    assert process.returncode == 0, process.stderr


def test_refuses_to_write_the_files_again(base: Installation, project: Path) -> None:
    process = base.run("agenthive-compat", "files", str(project))
    assert (process.returncode, process.stdout) == (2, "")
    assert "overwrite with --force" in process.stderr


def test_sample_names_the_extra_that_it_needs(base: Installation, project: Path) -> None:
    process = base.run("python", "-m", "lead_agent.lead_agent", SAMPLE, folder=project)
    assert process.returncode == 5, process.stderr
    assert "pip install 'agenthive-workflows[mcp]'" in process.stdout + process.stderr


def test_sample_runs_with_the_extra(
    base: Installation, project: Path, wheels: dict[str, str]
) -> None:
    """The command that the document prints, and its demos."""
    base.install(f"{wheels['agenthive-workflows']}[mcp]", "mcp-server-time")
    process = base.run("python", "-m", "lead_agent.lead_agent", SAMPLE, folder=project)
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("Workflow completed with status: completed\nCompleted")
    assert "Completed tasks: 4/4" in process.stdout
    for script in ("examples/simple_demo.py", "examples/demo.py"):
        process = base.run("python", script, folder=project)
        assert process.returncode == 0, process.stderr


def test_pip_agrees_with_what_is_installed(base: Installation, project: Path) -> None:
    process = base.call_pip("check")
    assert process.returncode == 0, process.stdout
