"""The house keeps its rules, and each rule catches the fault it is there for."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
import house_rules as rules  # noqa: E402

SIGN = (
    '"""A room.\n\nIt holds things of one kind, each in a file of its own, one after the other.\n'
    + ('It never does what another room does, whoever asks.\n\nTo add a thing: a file.\n"""\n')
)
MODULE = '"""What it is for."""\n'
PURE = "src/agenthive/core/thing.py"
EXACTLY = rules.OVERPROMISED[0]

# For each rule: a file, and content that breaks the rule.
PLANTED = {
    "small_functions": (
        PURE,
        MODULE + "".join(f"def f{n}():\n" + "    x = 1\n" * 7 for n in range(20)),
    ),
    "signs": ("src/agenthive/core/__init__.py", '"""The core."""\n'),
    "told_modules": (PURE, "x = 1\n"),
    "telling_names": ("src/agenthive/core/utils.py", MODULE),
    "typed_core": (PURE, MODULE + "from typing import Any\nx: Any = 1\n"),
    "no_registry": ("requirements/dev.lock", f"--index-url https://{rules.REGISTRIES[0]}/simple\n"),
    "speaks_of_itself": ("docs/page.md", f"see {rules.WORKPLACE[0]}main\n"),
    "honest": ("docs/page.md", f"Every email is sent {EXACTLY.title()}.\n"),
    "short_readme": ("README.md", "line\n" * 121),
}
OTHERS = {
    "small_functions": (
        PURE,
        MODULE
        + "".join(f"def f{n}():\n    x = 1\n" for n in range(80))
        + "".join(f"def g{n}():\n" + "    x = 1\n" * 21 for n in range(20)),
    ),
    "signs": ("src/agenthive/room/__init__.py", SIGN.replace("never", "seldom")),
    "told_modules": ("src/agenthive/stores/a.py", "# What it is for.\nx = 1\n"),
    "telling_names": ("src/agenthive/common/thing.py", MODULE),
    "typed_core": ("src/agenthive/selection/a.py", MODULE + "import typing\nx: typing.Any = 1\n"),
    "no_registry": ("tests/node/package-lock.json", f'"https://{rules.REGISTRIES[2]}.com/x.tgz"'),
    "speaks_of_itself": ("src/agenthive/core/a.py", f'"""See {rules.WORKPLACE[2]}."""\n'),
    "honest": ("src/agenthive/core/a.py", f'"""A {rules.OVERPROMISED[2]} log."""\n'),
}


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A small house in which every rule is kept."""
    files = {
        "README.md": "# A house\n",
        "src/agenthive/__init__.py": MODULE,
        "src/agenthive/core/__init__.py": SIGN,
        PURE: MODULE + "def f():\n    return 1\n",
        "tests/core/test_thing.py": MODULE,
    }
    for name, text in files.items():
        write(tmp_path, name, text)
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_house_keeps(rule: rules.Rule) -> None:
    assert rule(ROOT) == []


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_clean_house_passes(rule: rules.Rule, house: Path) -> None:
    assert rule(house) == []


@pytest.mark.parametrize("plants", [PLANTED, OTHERS], ids=["one", "other"])
@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_planted_fault_is_caught(
    rule: rules.Rule, plants: dict[str, tuple[str, str]], house: Path
) -> None:
    if rule.__name__ not in plants:
        (house / "README.md").unlink()
        assert rule(house)
        return
    name, text = plants[rule.__name__]
    write(house, name, text)
    complaints = rule(house)
    assert complaints
    inside = name.removeprefix("src/agenthive/")
    assert any(inside in complaint or "function" in complaint for complaint in complaints)


def test_source_is_there() -> None:
    assert len(rules.sources(ROOT)) > 10, "the rules above looked at nothing"


def test_report_of_sizes() -> None:
    """The figures, for whoever wants them: `python3 x.py test tests/house -rP -k sizes`."""
    sizes = {file: rules.length(file.read_text("utf-8")) for file in rules.sources(ROOT)}
    largest = max(sizes, key=lambda file: sizes[file])
    lengths = rules.function_lengths(ROOT)
    tenth = sorted(lengths)[int(len(lengths) * 0.9)]
    print(f"{len(sizes)} files, largest {largest.relative_to(ROOT)} with {sizes[largest]} lines")
    print(f"{len(lengths)} functions, median {statistics.median(lengths)} lines, p90 {tenth}")
    assert lengths
