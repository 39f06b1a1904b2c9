"""The output that the README shows is the real one, ids and times aside.

To write it again: `AGENTHIVE_WRITE_README=1 python3 x.py test tests/docs/test_readme_output.py`.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from blocks import blocks  # noqa: E402

README = HERE.parents[1] / "README.md"
SHOWN = re.compile(
    r"(<!-- output of the command above[^>]*-->\n```text\n)(.*?)(```\n<!-- end of output -->)",
    re.DOTALL,
)
VARIES = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{13,}", "ID"),
    (r"\d+(\.\d+)? ?(us|ms|s)\b", "TIME"),
    (r"\d\d:\d\d:\d\d(\.\d+)?", "CLOCK"),
    (r"/\S*hello-home", "hello-home"),
)


def steady(text: str) -> str:
    """The text without what differs from run to run."""
    for pattern, word in VARIES:
        text = re.sub(pattern, word, text)
    return text


def real_output(folder: Path) -> str:
    """What the README's example prints when it is run as the README says."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    env = {**os.environ, "PATH": path, "NO_COLOR": "1", "COLUMNS": "100"}
    for block in blocks("README.md", README.read_text("utf-8")):
        if block.mark == "file":
            (folder / block.value).write_text(block.text)
        for line in block.commands:
            done = subprocess.run(
                shlex.split(line), cwd=folder, env=env, capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 0, done.stderr
            return done.stdout
    raise AssertionError("the README runs no command")


def test_shown_output_is_the_real_one(tmp_path: Path) -> None:
    text = README.read_text("utf-8")
    shown = SHOWN.search(text)
    assert shown, "the README has lost its output block"
    real = real_output(tmp_path)
    if os.environ.get("AGENTHIVE_WRITE_README"):
        README.write_text(text[: shown.start(2)] + real + text[shown.end(2) :], "utf-8")
        return
    assert steady(shown[2]) == steady(real)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("run 0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b", "run 0190ffff-c3d4-7e5f-8a9b-0c1d2e3f4a5b", 1),
        ("Execution time: 0.12s", "Execution time: 1.9s", 1),
        ("Completed tasks: 2/2", "Completed tasks: 1/2", 0),
        ("status: completed", "status: failed", 0),
    ],
)
def test_only_ids_and_times_may_differ(one: str, other: str, same: int) -> None:
    assert (steady(one) == steady(other)) == bool(same)
