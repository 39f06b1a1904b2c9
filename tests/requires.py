"""What a test needs beyond Python: without it the test skips and says how to install it.

Where AGENTHIVE_REQUIRE names it (``node,strace``), its absence is a failure. To add a thing: a line
in `THINGS`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

NODE: Final = Path(__file__).parent / "node" / "node_modules" / ".bin"
"""Where the node servers are that the tests talk to."""
NODE_BIN: Final = NODE


def _has_node() -> bool:
    return shutil.which("node") is not None and (NODE / "aimock").exists()


def find_faketime() -> str:
    """The library that gives a process another clock; empty if it is not installed."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    return str(found[0]) if found else ""


def _has_faketime() -> bool:
    return bool(find_faketime())


def _has_strace() -> bool:
    return shutil.which("strace") is not None


THINGS: Final[dict[str, tuple[Callable[[], bool], str]]] = {
    "node": (_has_node, "install node >= 20 and npm, then: python3 x.py setup"),
    "faketime": (_has_faketime, "apt-get install faketime"),
    "strace": (_has_strace, "apt-get install strace"),
}
"""Name -> is it there, and the command that brings it."""


def required(thing: str) -> bool:
    """Whether the environment says that it has to be there."""
    return thing in os.environ.get("AGENTHIVE_REQUIRE", "").replace(" ", "").split(",")


def require(thing: str) -> None:
    """Skip, or fail, unless ``thing`` is there."""
    there, how = THINGS[thing]
    if there():
        return
    if required(thing):
        pytest.fail(f"{thing} is required (AGENTHIVE_REQUIRE) and not there: {how}")
    pytest.skip(f"needs {thing}: {how}")
