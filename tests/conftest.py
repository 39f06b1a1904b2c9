"""Processes that tests start share the bytecode of what they import.

Importing agenthive from its sources takes three times as long as importing its bytecode, and the
tests start some hundred processes. Where PYTHONDONTWRITEBYTECODE keeps bytecode out of the source
tree, it goes to a folder that lasts as long as the session.
"""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest

FOLDER = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Name the folder in the environment, from which the workers of pytest-xdist have it too."""
    if os.environ.get("PYTHONDONTWRITEBYTECODE") and not os.environ.get("PYTHONPYCACHEPREFIX"):
        config.stash[FOLDER] = tempfile.mkdtemp(prefix="agenthive-bytecode-")
        os.environ["PYTHONPYCACHEPREFIX"] = config.stash[FOLDER]
        del os.environ["PYTHONDONTWRITEBYTECODE"]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove it, and leave the environment as it was."""
    if folder := config.stash.get(FOLDER, ""):
        shutil.rmtree(folder, ignore_errors=True)
        del os.environ["PYTHONPYCACHEPREFIX"]
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
