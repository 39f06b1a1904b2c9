"""Tools that some tests need, and what becomes of those tests where a tool is missing.

A test asks ``require("node")``. A missing tool skips it, saying how to install the tool, or fails
it when the environment variable AGENTHIVE_REQUIRE names the tool (``node,strace``). To add a tool:
a line in `TOOLS`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

NODE = Path(__file__).parent / "node"
NODE_BIN = NODE / "node_modules" / ".bin"
"""Where the node servers of package.json are; run them with `node_server`."""


def _node() -> bool:
    return shutil.which("node") is not None and (NODE_BIN / "aimock").exists()


def _strace() -> bool:
    return shutil.which("strace") is not None


TOOLS: dict[str, tuple[Callable[[], bool], str]] = {
    "node": (_node, "install node 20 and npm, then: python3 x.py setup"),
    "strace": (_strace, "apt-get install strace"),
}
"""Tool -> whether it is there, and the command that installs it."""


def required(tool: str) -> bool:
    """Whether AGENTHIVE_REQUIRE names the tool: then its tests may not be skipped."""
    named = os.environ.get("AGENTHIVE_REQUIRE", "").split(",")
    return tool in [name.strip() for name in named]


def require(tool: str) -> None:
    """Go on if the tool is there; else skip the test, or fail it if the tool is required."""
    there, install = TOOLS[tool]
    if there():
        return
    if required(tool):
        pytest.fail(f"{tool} is required (AGENTHIVE_REQUIRE) and missing: {install}")
    pytest.skip(f"{tool} is missing: {install}")


def node_server(name: str) -> str:
    """The path of a server from tests/node, by the name of its command. Needs ``node``."""
    require("node")
    return str(NODE_BIN / name)
