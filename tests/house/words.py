"""Words that texts for users and contributors avoid, and where they occur.

    python -m tests.house.words [--list]

Looks at pages (Markdown), docstrings, comments, and at string literals of more than one word: help
texts, error messages and hints. Names in back-quotes are left out. Prints the number of offences
for each folder; ``--list`` prints each of them. To forbid a word: a line in `FORBIDDEN`, with the
words to use instead. To allow a phrase that contains one: a line in `ALLOWED`, with the reason.
"""

from __future__ import annotations

import argparse
import ast
import functools
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.house.figures import ROOT, is_text

# Pattern -> what to say instead. A space stands for any white space, also a new line.
FORBIDDEN = {
    "nobody": "no agent, no process, no user",
    "somebody": "an approver, a user, another process",
    "whoever": "the caller, the process that",
    "told": "receives, is notified, is passed",
    "asked": "called, requested, required",
    "(?:goes|go|gone|went) on": "continues, resumes, retries",
    "(?:came|comes|come) of": "the outcome, the result",
    "in hand": "owns",
    "again and again": "repeatedly, on a schedule",
    "puts? aside": "reserves",
    "stands?": "is, waits, is written",
    "facts?": "event, record",
    "undo(?:es|ing|ne)?": "compensate, compensation",
    "purses?": "budget",
    "nurser(?:y|ies)": "child runs",
    "says? yes": "approves",
}
# Phrase -> why it may stay.
ALLOWED = {
    "agenthive/fact": "the id of a schema, which is stored by its readers",
    "in fact": "an adverb, not an event",
    "stands? for": "is an abbreviation of",
    "stand-?in": "a noun: a substitute",
}
# The words of others, and programs we compare with.
QUOTED = ("tests/", "benchmarks/peers/")
SKIPPED_FOLDERS = {".venv", ".git", "node_modules", "__pycache__"}

Offence = tuple[str, int, str]


def compile_words(patterns: Sequence[str]) -> re.Pattern[str]:
    """One expression for whole words, in any case and over line ends."""
    joined = "|".join(pattern.replace(" ", r"\s+") for pattern in patterns)
    return re.compile(rf"(?<![\w-])(?:{joined})(?![\w-])", re.IGNORECASE)


WORDS = compile_words(list(FORBIDDEN))
PHRASES = compile_words(list(ALLOWED))
CODE_SPAN = re.compile(r"``[^`]+``|`[^`\n]+`")


def blank(match: re.Match[str]) -> str:
    """Spaces in place of a match, so that positions stay what they were."""
    return re.sub(r"[^\n]", " ", match.group())


def find_words(text: str) -> Iterator[tuple[int, str]]:
    """Line offset and word of each offence in a text."""
    text = PHRASES.sub(blank, CODE_SPAN.sub(blank, text))
    for match in WORDS.finditer(text):
        yield text.count("\n", 0, match.start()), " ".join(match.group().lower().split())


def extract_texts(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of the docstrings, messages and comments of a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.expr) and is_text(node):
            assert isinstance(node, ast.Constant)
            # One word alone is a key or a name, and belongs to the code.
            if " " in node.value.strip():
                yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def list_files(root: Path) -> list[Path]:
    """Pages of the repository and modules of the package, sorted."""
    pages = [*root.glob("*.md"), *(root / "docs").rglob("*.md"), *(root / "examples").rglob("*.md")]
    modules = (root / "src").rglob("*.py")
    files = [
        path
        for path in (*pages, *modules)
        if not SKIPPED_FOLDERS & set(path.relative_to(root).parts)
    ]
    return sorted(path for path in files if not name_file(root, path).startswith(QUOTED))


def name_file(root: Path, path: Path) -> str:
    """The path of a file in the repository."""
    return path.relative_to(root).as_posix()


@functools.cache
def find_offences(root: Path) -> tuple[Offence, ...]:
    """File, line and word of every offence in a repository; read once in a process."""
    offences = []
    for path in list_files(root):
        content = path.read_text("utf-8")
        texts = extract_texts(content) if path.suffix == ".py" else [(1, content)]
        for line, text in texts:
            offences += [
                (name_file(root, path), line + offset, word) for offset, word in find_words(text)
            ]
    return tuple(sorted(offences))


def name_folder(file: str) -> str:
    """The folder that a file is counted in: a room of the package, a folder of the pages."""
    parts = file.split("/")
    depth = 3 if parts[0] == "src" else 2
    return "/".join(parts[:depth])


def suggest(word: str) -> str:
    """What to say instead of a word."""
    return next(
        (better for bad, better in FORBIDDEN.items() if compile_words([bad]).fullmatch(word)), ""
    )


def format_counts(offences: Sequence[Offence]) -> str:
    """Offences for each folder and for each word, most first."""
    folders = Counter(name_folder(file) for file, _, _ in offences)
    words = Counter(word for _, _, word in offences)
    lines = [f"{count:6}  {name}" for name, count in folders.most_common()]
    lines += ["", *(f"{count:6}  {word}" for word, count in words.most_common())]
    return "\n".join([f"{len(offences):6}  offences", "", *lines])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the counts; always succeed."""
    parser = argparse.ArgumentParser(prog="words", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--list", action="store_true", help="print each offence")
    options = parser.parse_args(arguments)
    offences = find_offences(ROOT)
    print(format_counts(offences))
    for file, line, word in offences if options.list else ():
        print(f"{file}:{line}: {word!r}; say: {suggest(word)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
