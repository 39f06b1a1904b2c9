"""What the documentation shows is run: python blocks, and the commands marked `<!-- run -->`.

The blocks of a page share one temporary folder and run in the order of the page.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
from blocks import Block, blocks, pages  # noqa: E402

pytestmark = pytest.mark.slow
"""Most of its tests take more than a second."""

PAGES = pages(ROOT)


def read(page: Path) -> list[Block]:
    return blocks(page.relative_to(ROOT).as_posix(), page.read_text("utf-8"))


def run(command: list[str], folder: Path, code: int = 0) -> None:
    """Run in ``folder`` with this Python's commands first on the path; fail with what it said."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    env = {**os.environ, "PATH": path, "NO_COLOR": "1", "AGENTHIVE_HOME": str(folder / "home")}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == code, f"{command} -> {done.returncode}\n{done.stdout}{done.stderr}"


def execute(block: Block, folder: Path) -> None:
    """Do with one block what its language and its mark ask for."""
    where = f"{block.page}:{block.line}"
    if block.mark == "file":
        file = folder / block.value
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text)
    if block.language == "python":
        compile(block.text, where, "exec")
    if block.language == "python" and block.mark not in {"compile", "file"}:
        script = folder / "block.py"
        script.write_text(block.text)
        run([sys.executable, "-W", "error", str(script)], folder)
    for line in block.commands:
        words = shlex.split(line)
        if words[:2] == ["python3", "x.py"]:
            words = [sys.executable, str(ROOT / "x.py"), *words[2:]]
        run(words, folder, int(block.value or 0))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_page(page: Path, tmp_path: Path) -> None:
    for block in read(page):
        execute(block, tmp_path)


def test_readme_runs_something() -> None:
    assert any(block.executed for block in read(ROOT / "README.md"))


@pytest.mark.parametrize(
    "text",
    [
        "```python\nraise SystemExit(3)\n```\n",
        "<!-- compile -->\n```python\nthis is no python\n```\n",
        "<!-- run -->\n```bash\npython3 x.py no-such-command\n```\n",
        "<!-- file: a.py -->\n```python\n1/0\n```\n\n```python\nimport a\n```\n",
    ],
    ids=["python", "compile", "command", "file"],
)
def test_wrong_block_is_caught(text: str, tmp_path: Path) -> None:
    *before, wrong = blocks("page.md", text)
    for block in before:
        execute(block, tmp_path)
    with pytest.raises((AssertionError, SyntaxError)):
        execute(wrong, tmp_path)


def test_marks_are_understood(tmp_path: Path) -> None:
    text = (
        "<!-- run -->\n```console\n$ python3 x.py help\nsome output\n```\n"
        "```bash\npython3 x.py no-such-command\n```\n"
        "<!-- file: a.txt -->\n```yaml\nname: a\n```\n"
        "```python\nassert open('a.txt').read() == 'name: a\\n'\n```\n"
    )
    found = blocks("page.md", text)
    assert [block.executed for block in found] == [True, False, False, True]
    assert found[0].commands == ["python3 x.py help"]
    for block in found:
        execute(block, tmp_path)


def test_links_lead_somewhere() -> None:
    """Every relative link of every page, the decisions too, names a file that is there."""
    import re

    everything = [*PAGES, *(ROOT / "docs" / "decisions").glob("*.md"), ROOT / "CHANGELOG.md"]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in everything
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []
