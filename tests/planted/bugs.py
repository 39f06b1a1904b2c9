"""Bugs that are planted in a copy of the source, addressed by function and syntax tree.

A bug is a file `NAME.toml`: a sentence that says what is wrong, and one or more changes.

    bug = "A retry gets an idempotency key of its own."

    [[change]]
    function = "agenthive.core.engine.driver:Driver._start"
    old = '''live.key(key)'''
    new = '''live.key(key, attempt)'''

``function`` is a module and a qualified name. ``module:Class`` and ``module:`` are the level of a
class and of a module, without the functions in them. ``old`` is an expression, or statements that
follow each other, and must occur there once and no more; ``new`` takes its place, and may be empty
to remove statements. Syntax trees are compared: a bug survives code that moves, new comments and
another format, and is stale as soon as the code that it changes is another. Code within an f-string
is not looked at (Python 3.11 does not say where it is): take the whole f-string.
"""

from __future__ import annotations

import ast
import difflib
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from tests.copies import SOURCE, copy_source

PLANTED = Path(__file__).parent
LAB = PLANTED.parent / "lab" / "plants"
"""Bugs that the simulator cannot see, for rows of the laboratory."""
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
BLOCKS = ("body", "orelse", "finalbody")
Code = Sequence[ast.expr | ast.stmt]
"""One expression, or statements that follow each other."""


class Stale(Exception):
    """A bug does not fit the source any more: plant the same bug in the new code."""


class Change(NamedTuple):
    """Code of one function (of a class or module where it is the name of a class, or empty)."""

    module: str
    function: str
    old: str
    new: str

    @property
    def place(self) -> str:
        """As files and messages name it."""
        return f"{self.module}:{self.function}"


class Bug(NamedTuple):
    """What is wrong, as a sentence, and the changes that make it so."""

    name: str
    sentence: str
    changes: tuple[Change, ...]


class Match(NamedTuple):
    """Code in a source that is to be replaced: its nodes, and the characters that they take up.

    ``column``: of its first line. ``whole_block``: no other statement is in its block.
    """

    nodes: Code
    start: int
    end: int
    column: int
    whole_block: bool


class _ChangeTable(msgspec.Struct, forbid_unknown_fields=True):
    function: str
    old: str
    new: str


class _BugFile(msgspec.Struct, forbid_unknown_fields=True):
    bug: str
    change: list[_ChangeTable]


# ------------------------------------------------------------------------------------------- files


def load_bug(path: Path) -> Bug:
    """Read a bug. Raises ValueError if the file is not as it must be."""
    try:
        file = msgspec.toml.decode(path.read_bytes(), type=_BugFile)
        changes = tuple(_load_change(table) for table in file.change)
    except (msgspec.DecodeError, SyntaxError) as error:
        raise ValueError(f"{path.name}: {error}") from error
    if not file.bug.strip() or not changes:
        raise ValueError(f"{path.name}: a bug has a sentence and at least one change")
    return Bug(path.stem, file.bug, changes)


def _load_change(table: _ChangeTable) -> Change:
    module, colon, function = table.function.partition(":")
    if not module or not colon:
        raise SyntaxError(f"{table.function!r} is not of the form module:function")
    change = Change(module, function, table.old, table.new)
    old, _ = _parse_change(change)
    if not old:
        raise SyntaxError("old is empty")
    return change


def list_bugs(folder: Path = PLANTED) -> list[Bug]:
    """The bugs of a folder; without one, those that the simulator must catch."""
    return [load_bug(path) for path in sorted(folder.glob("*.toml"))]


def find_bug(name: str) -> Bug:
    """The bug of this name, whether or not the simulator can see it."""
    paths = [folder / f"{name}.toml" for folder in (PLANTED, LAB)]
    return load_bug(next((path for path in paths if path.exists()), paths[0]))


def copy_with_bug(bug: Bug | None, root: Path) -> Path:
    """Copy the source below ``root``, with that bug in it; what to put on PYTHONPATH."""
    target = copy_source(root / "src")
    if bug is not None:
        apply_bug(bug, root)
    return target


def apply_bug(bug: Bug, root: Path) -> list[str]:
    """Change the source below ``root``; the files that were changed, relative to it."""
    texts = edit_sources(bug, root / "src")
    for path, text in texts.items():
        path.write_text(text, "utf-8")
    return [path.relative_to(root).as_posix() for path in texts]


def edit_sources(bug: Bug, source: Path = SOURCE) -> dict[Path, str]:
    """The files that a bug changes, and the text that each of them gets; nothing is written.

    Raises Stale if a change does not fit, ValueError if what comes out is not meant or no Python.
    """
    changes: dict[Path, list[Change]] = {}
    try:
        for change in bug.changes:
            changes.setdefault(_find_file(change.module, source), []).append(change)
        return {
            path: edit_source(changes[path], path.read_text("utf-8")) for path in sorted(changes)
        }
    except (Stale, ValueError, SyntaxError) as error:
        kind = Stale if isinstance(error, Stale) else ValueError
        raise kind(f"{bug.name}: {error}") from error


def _find_file(module: str, source: Path) -> Path:
    path = source.joinpath(*module.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.exists():
            return file
    files = [file.relative_to(source).as_posix() for file in source.rglob(f"{path.name}.py")]
    raise Stale(f"there is no module {module}; files of that name: {', '.join(files) or 'none'}")


# ----------------------------------------------------------------------------------------- changes


def edit_source(changes: Sequence[Change], source: str) -> str:
    """Make changes to a module; each is located in the source as it was before all of them."""
    tree = ast.parse(source)
    matches = {change: _find_match(change, source, tree) for change in changes}
    text, limit = source, len(source)
    for change, match in sorted(matches.items(), key=lambda pair: -pair[1].start):
        if match.end > limit:
            raise ValueError(f"{change.place}: two changes overlap")
        text = text[: match.start] + _format_new(change, match) + text[match.end :]
        limit = match.start
    # What was done to the text must be what is meant: the same nodes replaced in the tree.
    if ast.dump(ast.parse(text)) != ast.dump(_Replacer(matches).generic_visit(tree)):
        raise ValueError(f"{changes[0].place}: new cannot be put there as text: replace more code")
    compile(text, changes[0].module, "exec", dont_inherit=True)
    return text


def locate_change(change: Change, source_text: str) -> tuple[int, int]:
    """Where the old code of a change begins and ends, in characters from the start of the text."""
    match = _find_match(change, source_text, ast.parse(source_text))
    return match.start, match.end


def describe_change(change: Change) -> str:
    """What is changed into what, whatever its format; to remove statements is to pass."""
    old, new = _parse_change(change)
    texts = ["; ".join(map(ast.dump, code)) for code in (old, new or [ast.Pass()])]
    return f"{change.place}: {texts[0]} -> {texts[1]}"


class _Replacer(ast.NodeTransformer):
    """Puts the new nodes of changes where the old ones are."""

    def __init__(self, matches: dict[Change, Match]) -> None:
        self._new: dict[int, ast.AST | list[ast.AST]] = {}
        for change, match in matches.items():
            _, nodes = _parse_change(change)
            self._new |= {id(node): [] for node in match.nodes}
            if not nodes and match.whole_block:
                nodes = [ast.Pass()]
            expression = isinstance(match.nodes[0], ast.expr)
            self._new[id(match.nodes[0])] = nodes[0] if expression else list(nodes)

    def visit(self, node: ast.AST) -> ast.AST | list[ast.AST]:
        new = self._new.get(id(node))
        return self.generic_visit(node) if new is None else new


def _format_new(change: Change, match: Match) -> str:
    text = textwrap.dedent(change.new).strip()
    if isinstance(match.nodes[0], ast.expr):
        return f"({text})"
    if not text:
        return "pass" if match.whole_block else ""
    return textwrap.indent(text, " " * match.column).lstrip()


def _parse_change(change: Change) -> tuple[Code, Code]:
    """Old and new nodes: one expression each, or statements each."""
    old, new = _parse(change.old), _parse(change.new)
    if isinstance(old, ast.expr) and isinstance(new, ast.expr):
        return [old], [new]
    return _as_statements(old), _as_statements(new)


def _parse(text: str) -> ast.expr | list[ast.stmt]:
    text = textwrap.dedent(text).strip()
    try:
        statements = ast.parse(text).body
    except SyntaxError as error:
        try:
            # An expression over several lines needs no parentheses of its own.
            return ast.parse(f"({text}\n)", mode="eval").body
        except SyntaxError:
            raise SyntaxError(f"{error.msg}: {text}") from error
    if len(statements) == 1 and isinstance(statements[0], ast.Expr):
        return statements[0].value
    return statements


def _as_statements(code: ast.expr | list[ast.stmt]) -> list[ast.stmt]:
    return [ast.Expr(code)] if isinstance(code, ast.expr) else code


# ----------------------------------------------------------------------------------------- matches


def _find_match(change: Change, source: str, tree: ast.Module) -> Match:
    """The one place where the old code of a change occurs. Raises Stale if it is not just one."""
    scopes = _find_scopes(change, tree)
    old, _ = _parse_change(change)
    dumps = [ast.dump(node) for node in old]
    candidates = [candidate for scope in scopes for candidate in _list_candidates(scope, old)]
    matches = [nodes for nodes in candidates if [ast.dump(node) for node in nodes] == dumps]
    if not matches:
        raise Stale(f"{change.place} does not contain\n{_describe_code(old, candidates)}")
    if len(matches) > 1:
        lines = ", ".join(str(line) for line in sorted(nodes[0].lineno for nodes in matches))
        raise Stale(
            f"{change.place} contains the old code {len(matches)} times (lines {lines}):"
            f" take more code around it\n{_indent(old)}"
        )
    return _measure_match(matches[0], scopes, source)


def _find_scopes(change: Change, tree: ast.Module) -> list[ast.AST]:
    """The definitions of that name: several if it is overloaded, or a property with a setter."""
    if not change.function:
        return [tree]
    definitions = list(_list_definitions(tree))
    scopes = [node for name, node in definitions if name == change.function]
    if not scopes:
        names = [name for name, _ in definitions]
        near = difflib.get_close_matches(change.function, names)
        last = change.function.rpartition(".")[2]
        near += [name for name in names if name.rpartition(".")[2] == last and name not in near]
        raise Stale(f"there is no {change.place}; nearest: {', '.join(near) or 'none'}")
    return scopes


def _list_definitions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Qualified name and node of each function and class."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, DEFINITIONS):
            yield prefix + child.name, child
            yield from _list_definitions(child, f"{prefix}{child.name}.")
        elif not isinstance(child, ast.expr):
            yield from _list_definitions(child, prefix)


def _list_candidates(scope: ast.AST, old: Code) -> Iterator[Code]:
    """Code of the scope that has the form of the old code: its kind, its number of statements."""
    for node in _walk_scope(scope):
        if isinstance(old[0], ast.expr):
            if isinstance(node, ast.expr):
                yield [node]
        else:
            for block in _list_blocks(node):
                for first in range(len(block) - len(old) + 1):
                    yield block[first : first + len(old)]


def _walk_scope(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function; of a class or module those outside the definitions in it."""
    others = DEFINITIONS if isinstance(scope, (ast.Module, ast.ClassDef)) else ()
    nodes = [scope]
    while nodes:
        node = nodes.pop()
        yield node
        if not isinstance(node, ast.JoinedStr):
            nodes += [
                child for child in ast.iter_child_nodes(node) if not isinstance(child, others)
            ]


def _list_blocks(node: ast.AST) -> Iterator[list[ast.stmt]]:
    for name in BLOCKS:
        block = getattr(node, name, None)
        if isinstance(block, list):
            yield block


def _measure_match(nodes: Code, scopes: list[ast.AST], source: str) -> Match:
    first, last = nodes[0], nodes[-1]
    lines = source.split("\n")
    start = _count_characters(lines, nodes[0].lineno, first.col_offset)
    end = _count_characters(lines, last.end_lineno or 0, last.end_col_offset or 0)
    column = start - (source.rfind("\n", 0, start) + 1)
    if isinstance(first, ast.If) and source.startswith("elif", start):
        start += len("el")
    blocks = (
        block for scope in scopes for node in _walk_scope(scope) for block in _list_blocks(node)
    )
    whole_block = any(block[0] is first and len(block) == len(nodes) for block in blocks if block)
    return Match(nodes, start, end, column, whole_block)


def _count_characters(lines: list[str], line: int, column: int) -> int:
    """Characters before a position of the syntax tree, whose columns are bytes."""
    before = sum(len(text) + 1 for text in lines[: line - 1])
    return before + len(lines[line - 1].encode()[:column].decode())


# ---------------------------------------------------------------------------------------- messages


def _describe_code(old: Code, candidates: list[Code]) -> str:
    """The old code, and what comes nearest to it."""
    text = _unparse(old)
    matcher = difflib.SequenceMatcher(b=text, autojunk=False)

    def rate(nodes: Code) -> float:
        matcher.set_seq1(_unparse(nodes))
        return matcher.ratio()

    nearest = max(candidates, key=rate, default=None)
    if nearest is None:
        return f"{_indent(old)}\nnor anything like it"
    return f"{_indent(old)}\nnearest is line {nearest[0].lineno}:\n{_indent(nearest)}"


def _unparse(nodes: Code) -> str:
    return "\n".join(ast.unparse(node) for node in nodes)


def _indent(nodes: Code) -> str:
    return textwrap.indent(_unparse(nodes), "    ")
