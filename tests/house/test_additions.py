"""The pages that say how to add something say all of it: their files, word for word, are enough.

Each page's files and edits go into a copy of the source tree; then its tests and commands are run
against the copy. A page that needs one edit more than it shows fails here.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests" / "docs"))
sys.path.insert(0, str(HERE))
from blocks import SHELLS, Block, blocks  # noqa: E402
from test_contracts import lint  # noqa: E402

pytestmark = pytest.mark.slow
"""Most of its tests take more than a second."""

HOW_TO = ROOT / "docs" / "howto"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PROGRAMS = {
    "agenthive": ("-c", "from agenthive.cli import main; main()"),
    "python3 x.py docs": ("docs/reference/generate.py",),
    "python3 -m": ("-m",),
}
"""How the commands of the pages begin -> what this Python is passed instead, in the copy."""


class Tree:
    """A copy of the source tree, with the files of one page in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "src", folder / "src", ignore=ignore)
        shutil.copytree(ROOT / "docs", folder / "docs", ignore=ignore)
        for name in ("pyproject.toml", "CONTRIBUTING.md"):
            shutil.copy(ROOT / name, folder / name)
        self.commands: list[str] = []
        self.tests: list[str] = []

    def add_page(self, name: str) -> Tree:
        """Do what a page says: write its files, make its edits, remember its commands."""
        page = HOW_TO / name
        for block in blocks(name, page.read_text("utf-8")):
            self.add_block(block)
        return self

    def add_block(self, block: Block) -> None:
        if block.mark == "file":
            self.write(block.value, block.text)
        elif block.mark == "edit":
            self.edit(block.value, block.text)
        elif block.mark == "added":
            assert block.language in SHELLS
            self.commands += block.text.splitlines()

    def write(self, name: str, text: str) -> Path:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        assert not file.exists(), f"{name} is there already"
        file.write_text(text)
        if name.startswith("tests/"):
            self.tests.append(name)
        return file

    def edit(self, name: str, diff: str) -> None:
        """Apply a diff without line numbers; what it replaces must be there, and only once."""
        lines = diff.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in " -")
        new = "".join(line[1:] for line in lines if line[0] in " +")
        file = self.folder / name
        text = file.read_text("utf-8")
        assert text.count(old) == 1, f"{name} has {text.count(old)} times:\n{old}"
        file.write_text(text.replace(old, new))

    def run_python(self, *words: str, code: int = 0) -> str:
        """Run this Python in the copy; what it printed."""
        path = os.pathsep.join(str(p) for p in (self.folder / "src", self.folder, ROOT))
        env = {
            **os.environ,
            "PYTHONPATH": path,
            "NO_COLOR": "1",
            "COLUMNS": "120",
            "AGENTHIVE_HOME": str(self.folder / "home"),
        }
        done = subprocess.run(
            [sys.executable, *words], cwd=self.folder, env=env, capture_output=True, text=True
        )
        printed = done.stdout + done.stderr
        assert done.returncode == code, f"{words} -> {done.returncode}\n{printed}"
        return printed

    def run(self, command: str, code: int = 0) -> str:
        """Run a command as the pages write it."""
        start = next(start for start in PROGRAMS if command.startswith(start))
        rest = shlex.split(command.removeprefix(start))
        return self.run_python(*PROGRAMS[start], *rest, code=code)

    def run_commands(self) -> str:
        """Run what the page says to run; all that was printed."""
        assert self.commands
        return "\n".join(self.run(command) for command in self.commands)

    def run_tests(self, *names: str) -> str:
        """Run the tests of the page, or those of the repository, against the copy; the result."""
        files = [str(ROOT / name) for name in names] or self.tests
        assert files
        config = ("-c", str(ROOT / "pyproject.toml")) if names else ("-c", os.devnull)
        printed = self.run_python(
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--import-mode=prepend",
            *config,
            "--rootdir",
            str(self.folder),
            *files,
        )
        return next(line for line in printed.splitlines() if " passed" in line)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    made = Tree(tmp_path)
    where = made.run_python("-c", "import agenthive; print(agenthive.__file__)")
    assert where.startswith(str(tmp_path)), "the tests would look at the real source tree"
    return made


def test_agent_kind(tree: Tree) -> None:
    """Listed, validated, planned, simulated and run, from one file."""
    tree.add_page("add-an-agent-kind.md")
    printed = tree.run_commands()
    assert "echo        An echo: say, wait\n" in printed
    assert "echo.yaml: valid (echo, 1 tasks, 1 agents)" in printed
    assert "Workflow completed with status: completed" in printed
    assert "  shout: hello" in printed
    assert tree.run_tests().startswith("1 passed")


def test_agent_kind_is_known_to_all_that_lists_kinds(tree: Tree) -> None:
    """The guess, the JSON Schema and the reference page, from the same file."""
    tree.add_page("add-an-agent-kind.md")
    text = (tree.folder / "echo.yaml").read_text()
    tree.write("typo.yaml", text.replace("type: echo", "type: ecko"))
    printed = tree.run("agenthive validate typo.yaml", code=2)
    assert "'ecko' is not one of ai_agent, mcp_server, http_api, custom, echo" in printed
    assert "Did you mean 'echo'?" in printed
    tree.write("fly.yaml", text.replace("action: say", "action: fly"))
    assert "an echo has no action 'fly'" in tree.run("agenthive validate fly.yaml", code=2)
    tree.run("python3 x.py docs")
    reference = tree.folder / "docs" / "reference" / "workflow.md"
    assert "`ai_agent`, `mcp_server`, `http_api`, `custom`, `echo`" in reference.read_text()
    schema = tree.folder / "src/agenthive/authoring/dialect/workflow.schema.json"
    assert '"echo"' in schema.read_text()


def test_agent_kind_in_a_file_of_the_operator(tree: Tree) -> None:
    """The same file works with `--agents`; without it the kind does not exist."""
    tree.add_page("add-an-agent-kind.md")
    shutil.move(tree.folder / "src/agenthive/agents/echo.py", tree.folder / "echo.py")
    assert "  shout: hello" in tree.run("agenthive run echo.yaml --agents echo.py")
    assert "(echo.py)" in tree.run("agenthive agents --agents echo.py")
    assert "'echo' is not one of" in tree.run("agenthive validate echo.yaml", code=2)


def test_agent_kind_that_lacks_a_function(tree: Tree) -> None:
    """The message names the function, the place in the workflow, and the page that helps."""
    tree.add_page("add-an-agent-kind.md")
    file = tree.folder / "src/agenthive/agents/echo.py"
    file.write_text(file.read_text().replace("def effect_of", "def effects_of"))
    printed = tree.run("agenthive validate echo.yaml", code=2)
    assert "agent kind 'echo' lacks the function effect_of(spec, action)" in printed
    assert "agents[0].type" in printed
    assert "docs/howto/add-an-agent-kind.md" in printed
    assert "lacks the function" in tree.run("agenthive agents")
    shutil.move(file, tree.folder / "echo.py")
    assert "lacks the function" in tree.run("agenthive run echo.yaml --agents echo.py", code=2)


def test_store(tree: Tree) -> None:
    """Its kit is green, and a hive opens it by its URL."""
    tree.add_page("add-a-store-or-runtime.md")
    tree.tests = ["tests/stores/test_jsonl.py"]
    assert tree.run_tests().startswith("1 passed")
    assert " completed\n" in tree.run_python("use_jsonl.py")


@pytest.mark.slow
def test_runtime(tree: Tree) -> None:
    """Its kit is green."""
    tree.add_page("add-a-store-or-runtime.md")
    tree.tests = ["tests/runtimes/test_minimal.py"]
    assert tree.run_tests().startswith("1 passed")


def test_command(tree: Tree) -> None:
    """Listed in the help, run, and on the reference page, from one file."""
    tree.add_page("add-a-command.md")
    printed = tree.run_commands()
    assert "\n  count       Count the runs of a home.\n" in printed
    assert "\n0 runs\n" in printed
    page = (tree.folder / "docs" / "reference" / "cli.md").read_text()
    assert "## agenthive count\n" in page


@pytest.mark.slow
def test_rule_of_the_machine(tree: Tree) -> None:
    """A guard and a row: its test, the tests of the tables and the simulator are green."""
    tree.add_page("add-a-rule.md")
    assert tree.run_tests().startswith("1 passed")
    tree.run_tests("tests/core/test_transitions.py", "tests/core/test_sagas.py")
    assert '"violations":0' in tree.run_commands()
    diagram = (tree.folder / "docs" / "reference" / "states.md").read_text()
    assert "too_many_failures" in diagram


def test_event(tree: Tree) -> None:
    """A class, a member of the union, a row: its test is green and it is on the reference page."""
    tree.add_page("add-an-event-or-command.md")
    assert tree.run_tests().startswith("3 passed")
    tree.run_commands()
    page = (tree.folder / "docs" / "reference" / "events.md").read_text()
    assert "| `task.noted` | `task`, `text` | A person left a note on a task" in page


@pytest.mark.slow
def test_additions_keep_the_contracts(tree: Tree) -> None:
    """What the pages show imports nothing that it must not."""
    for page in pages():
        tree.add_page(page)
    code, printed = lint(tree.folder / "src")
    assert code == 0, printed


def pages() -> list[str]:
    return sorted(page.name for page in HOW_TO.glob("add-a*.md"))


def test_every_row_of_contributing_has_its_page() -> None:
    """The table links each page, and each page shows at least one file."""
    table = CONTRIBUTING.read_text("utf-8").partition("## Where things are added")[2]
    rows = [line for line in table.partition("\n## ")[0].splitlines() if line.startswith("| [a")]
    assert len(rows) >= 6
    linked = {page for page in pages() for row in rows if f"(docs/howto/{page})" in row}
    assert linked == set(pages())
    assert [row for row in rows if "(docs/howto/add-a" not in row] == []
    for page in pages():
        marks = [block.mark for block in blocks(page, (HOW_TO / page).read_text("utf-8"))]
        assert "file" in marks, page


@pytest.mark.parametrize(
    "text",
    [
        "<!-- edit: src/agenthive/core/values.py -->\n```diff\n no such line\n+x = 1\n```\n",
        "<!-- file: src/agenthive/core/values.py -->\n```python\nx = 1\n```\n",
    ],
)
def test_page_that_does_not_fit_the_tree_is_caught(text: str, tree: Tree) -> None:
    (block,) = blocks("page.md", text)
    with pytest.raises(AssertionError):
        tree.add_block(block)
