"""The rules of the house, as functions from a source tree to a list of complaints.

Each rule takes the root of a repository, so that a test can show it a tree with a fault in it. A
complaint names the file and what to do. To add a rule: a function here, a line in `RULES`, and a
planted fault in `test_rules.py`.
"""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

SOURCE = Path("src") / "agenthive"
LONGEST_README = 120
BANNED_STEMS = {"utils", "util", "helpers", "helper", "common", "misc", "base_manager"}
PURE = {"core", "selection"}

# Spelled in pieces, or this file would break the rules it keeps.
REGISTRIES = (
    "pypi" + ".org",
    "python" + "hosted.org",
    "registry" + ".npmjs",
    "registry" + ".yarnpkg",
)
WORKPLACE = (
    "/wo" + "rk/",
    "../sha" + "red",
    "DESIGN" + ".md",
    "INVENTORY" + ".md",
    "BRIEF" + ".md",
)
OVERPROMISED = ("exactly" + " once", "exactly" + "-once", "tamper" + "-proof", "tamper" + "proof")
# The words of others: quoted documents, programs we compare with, data.
QUOTED = ("tests/documents/", "tests/data/", "benchmarks/peers/")
BINARY = {".png", ".ico", ".gz", ".zip", ".db", ".woff2", ".bin"}

Rule = Callable[[Path], list[str]]


def list_tracked(root: Path) -> list[Path]:
    """The files that belong to the repository: what git tracks or would add."""
    command = ["git", "-C", str(root), "ls-files", "-co", "--exclude-standard", "-z"]
    listed = subprocess.run(command, capture_output=True, text=True)
    if listed.returncode == 0:
        files = [root / name for name in listed.stdout.split("\0") if name]
    else:
        files = [file for file in root.rglob("*") if ".venv" not in file.parts]
    return sorted(file for file in files if file.is_file())


def sources(root: Path) -> list[Path]:
    return sorted((root / SOURCE).rglob("*.py"))


def parse_trees(root: Path) -> Iterator[tuple[str, ast.Module]]:
    for file in sources(root):
        yield str(file.relative_to(root / SOURCE)), ast.parse(file.read_text("utf-8"))


def read_texts(root: Path) -> Iterator[tuple[str, str]]:
    for file in list_tracked(root):
        if file.suffix not in BINARY:
            yield file.relative_to(root).as_posix(), file.read_text("utf-8", errors="replace")


def length(text: str) -> int:
    return len(text.splitlines())


def body_length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its head and its docstring."""
    statements = function.body
    if isinstance(statements[0], ast.Expr) and isinstance(statements[0].value, ast.Constant):
        statements = statements[1:]
    if not statements:
        return 0
    return (statements[-1].end_lineno or 0) - statements[0].lineno + 1


def function_lengths(root: Path) -> list[int]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        body_length(node)
        for _, tree in parse_trees(root)
        for node in ast.walk(tree)
        if isinstance(node, kinds)
    ]


def small_functions(root: Path) -> list[str]:
    """Over the whole source: median at most 6 lines, nine of ten at most 20."""
    lengths = sorted(function_lengths(root))
    if len(lengths) < 10:
        return []
    median, tenth = statistics.median(lengths), lengths[int(len(lengths) * 0.9)]
    complaints = [] if median <= 6 else [f"median function length {median} lines, at most 6"]
    return (
        complaints
        if tenth <= 20
        else [*complaints, f"one function in ten has {tenth} lines or more"]
    )


def signs(root: Path) -> list[str]:
    """Every room's door says what lives there, what never does, and how to add to it."""
    complaints = []
    for name, tree in parse_trees(root):
        if not name.endswith("__init__.py") or name == "__init__.py":
            continue
        sign = (ast.get_docstring(tree) or "").lower()
        never = "never" in sign or "nothing here" in sign
        if len(sign) < 150 or not never or "add" not in sign:
            complaints.append(
                f"{name}: the docstring must say what lives here, what never, how to add"
            )
    return complaints


def told_modules(root: Path) -> list[str]:
    """Every module says what it is for."""
    return [
        f"{name}: no module docstring"
        for name, tree in parse_trees(root)
        if not ast.get_docstring(tree)
    ]


def telling_names(root: Path) -> list[str]:
    """A name says what is inside."""
    files = [file.relative_to(root) for file in sources(root)]
    return [
        f"{file}: name it after its subject"
        for file in files
        if {file.stem, *file.parent.parts} & BANNED_STEMS
    ]


def typed_core(root: Path) -> list[str]:
    """No ``Any`` where decisions are made: data there is JSONValue."""
    complaints = []
    for name, tree in parse_trees(root):
        if Path(name).parts[0] not in PURE:
            continue
        for node in ast.walk(tree):
            named = isinstance(node, ast.Name) and node.id == "Any"
            dotted = isinstance(node, ast.Attribute) and node.attr == "Any"
            if named or dotted:
                complaints.append(f"{name}:{node.lineno}: Any; use JSONValue or a type of its own")
    return complaints


def find_mentions(
    root: Path, phrases: tuple[str, ...], reason: str, skip: tuple[str, ...]
) -> list[str]:
    pattern = re.compile("|".join(map(re.escape, phrases)), re.IGNORECASE)
    complaints = []
    for name, text in read_texts(root):
        if skip and name.startswith(skip):
            continue
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            complaints.append(f"{name}:{line}: {match.group()!r}: {reason}")
    return complaints


def no_registry(root: Path) -> list[str]:
    """The locks must work with any index, so no host of one stands anywhere."""
    return find_mentions(root, REGISTRIES, "no index URL or registry host belongs here", ())


def speaks_of_itself(root: Path) -> list[str]:
    """The project refers to nothing outside itself."""
    return find_mentions(root, WORKPLACE, "refers outside the repository", ())


def honest(root: Path) -> list[str]:
    """What nobody can promise about the outside world is not promised."""
    return find_mentions(root, OVERPROMISED, "we cannot promise this; say what is true", QUOTED)


def short_readme(root: Path) -> list[str]:
    readme = root / "README.md"
    if not readme.is_file():
        return ["README.md is missing"]
    lines = length(readme.read_text("utf-8"))
    return [f"README.md: {lines} lines, at most 120"] if lines > LONGEST_README else []


RULES: tuple[Rule, ...] = (
    small_functions,
    signs,
    told_modules,
    telling_names,
    typed_core,
    no_registry,
    speaks_of_itself,
    honest,
    short_readme,
)
