"""The documents' names as they are installed: wheels of both distributions in a folder."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.wheels import call_console_script, clean_environment, install_wheels


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with freshly built wheels installed; nothing in it is from the source tree."""
    return install_wheels(tmp_path_factory.mktemp("wheels") / "site")


@pytest.fixture(scope="session")
def written(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `agenthive-compat files` writes."""
    folder = tmp_path_factory.mktemp("files") / "project"
    process = subprocess.run(
        call_console_script("agenthive-compat", "files", str(folder)),
        env=clean_environment(site), cwd=folder.parent, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A folder of a test's own with these files."""
    return shutil.copytree(written, tmp_path / "project")
