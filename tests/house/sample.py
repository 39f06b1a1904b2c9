"""A random sample of a source tree, to read and to compare with the same code after a change.

    python -m tests.house.sample [FOLDER] [--seed TEXT] [--only FILE]

Prints thirty functions, five classes and five module docstrings as Markdown, each with its name,
file and source. The same seed picks the same names from the same tree. A later tree has other
names: map them by hand, and give them with ``--only``, a file with one name a line, as the headings
of the printout have them (``folder/file.py:Class.method``; a file alone is its docstring).
"""

from __future__ import annotations

import argparse
import ast
import random
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.house.figures import SOURCE, Function, is_dunder, parse_sources

SEED = "d0f4b3d7"
FUNCTIONS, CLASSES, MODULES = 30, 5, 5


@dataclass(frozen=True, slots=True)
class Sample:
    """One piece of source."""

    #: Path in the tree, then the qualified name for a function or a class.
    name: str
    #: `function`, `class` or `module`.
    kind: str
    source: str


def list_definitions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Functions and classes below a node, with their qualified names."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function | ast.ClassDef):
            yield f"{prefix}{child.name}", child
            yield from list_definitions(child, f"{prefix}{child.name}.")
        else:
            yield from list_definitions(child, prefix)


def read_samples(folder: Path) -> list[Sample]:
    """All that can be picked from a tree, sorted by name."""
    samples = []
    for file, tree in parse_sources(folder).items():
        lines = (folder / file).read_text("utf-8").splitlines()
        docstring = ast.get_docstring(tree)
        if docstring:
            samples.append(Sample(file, "module", docstring))
        for name, node in list_definitions(tree):
            kind = "class" if isinstance(node, ast.ClassDef) else "function"
            if kind == "class" or not is_dunder(name.rsplit(".")[-1]):
                samples.append(Sample(f"{file}:{name}", kind, extract_source(lines, node)))
    return sorted(samples, key=lambda sample: sample.name)


def extract_source(lines: Sequence[str], node: ast.AST) -> str:
    """The lines of a definition, from its first decorator on."""
    assert isinstance(node, Function | ast.ClassDef)
    first = min([node.lineno, *(item.lineno for item in node.decorator_list)])
    return textwrap.dedent("\n".join(lines[first - 1 : node.end_lineno]))


def pick_samples(samples: Sequence[Sample], seed: str) -> list[Sample]:
    """Thirty functions, five classes, five modules; fewer of a smaller tree."""
    picked = []
    for kind, count in (("function", FUNCTIONS), ("class", CLASSES), ("module", MODULES)):
        candidates = [sample for sample in samples if sample.kind == kind]
        generator = random.Random(f"{seed} {kind}")
        picked += generator.sample(candidates, min(count, len(candidates)))
    return picked


def select_samples(samples: Sequence[Sample], names: Sequence[str]) -> list[Sample]:
    """The samples of these names, in this order. Raises KeyError for an unknown name."""
    by_name = {sample.name: sample for sample in samples}
    return [by_name[name] for name in names]


def format_samples(samples: Sequence[Sample]) -> str:
    """Markdown: a heading and the source of each sample."""
    parts = [f"### {sample.name}\n\n```python\n{sample.source}\n```\n" for sample in samples]
    return "\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Pick and print."""
    parser = argparse.ArgumentParser(prog="sample", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=SOURCE)
    parser.add_argument("--seed", default=SEED)
    parser.add_argument("--only", type=Path, metavar="FILE", help="file with one name a line")
    options = parser.parse_args(arguments)
    samples = read_samples(options.folder)
    if options.only:
        picked = select_samples(samples, options.only.read_text("utf-8").split())
    else:
        picked = pick_samples(samples, options.seed)
    print(format_samples(picked))
    return 0


if __name__ == "__main__":
    sys.exit(main())
