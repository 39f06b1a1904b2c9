"""Texts use the words of the field; folders that are not yet rewritten are listed, and fewer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house import words

# Folders and files whose texts still have forbidden words, as `words.name_folder` names them.
# The list shrinks: rewrite the texts of a folder, then delete its line; a line without offences
# fails. A line may be replaced by longer paths below it (`src/agenthive/core/engine`), so that
# parts of a folder can be finished one by one; the line of a folder that moves, moves with it (some
# stand here before their folder is made). Nothing else is ever added: the end is an empty list.
NOT_YET_REWRITTEN = (
    "docs/reference",
    "src/agenthive/facades",
    "src/agenthive/simulation",
    "src/agenthive/testing",
)


def is_below(file: str, folder: str) -> bool:
    return file == folder or file.startswith(f"{folder}/")


def find_new_offences(root: Path, exempt: tuple[str, ...]) -> list[str]:
    """Complaints about files outside the exempt folders."""
    return [
        f"{file}:{line}: {word!r}; say: {words.suggest(word)}"
        for file, line, word in words.find_offences(root)
        if not any(is_below(file, folder) for folder in exempt)
    ]


def find_finished(root: Path, exempt: tuple[str, ...]) -> list[str]:
    """Exempt folders that are there and have no offences."""
    files = {file for file, _, _ in words.find_offences(root)}
    return [
        folder
        for folder in exempt
        if (root / folder).exists() and not any(is_below(file, folder) for file in files)
    ]


def test_texts_use_the_words_of_the_field() -> None:
    assert find_new_offences(words.ROOT, NOT_YET_REWRITTEN) == []


def test_finished_folders_leave_the_list() -> None:
    assert find_finished(words.ROOT, NOT_YET_REWRITTEN) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("README.md", "Nobody owns it.\n"),
        ("docs/howto/page.md", "The run goes\non with its next task.\n"),
        ("src/agenthive/core/a.py", '"""What came of the call."""\n'),
        ("src/agenthive/core/a.py", 'def f(x):\n    raise ValueError(f"{x} is told again")\n'),
        ("src/agenthive/cli/a.py", "X = 1  # whoever calls\n"),
    ],
)
def test_planted_word_is_found(file: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    (complaint,) = find_new_offences(tmp_path, ())
    assert complaint.startswith(f"{file}:")
    assert "; say: " in complaint
    assert not complaint.endswith("say: ")
    assert find_new_offences(tmp_path, (file.rsplit("/", 1)[0],)) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("README.md", "In fact `told` is a name, and TTL stands for time to live.\n"),
        ("docs/page.md", "The standing order is factual; handing over.\n"),
        ("src/agenthive/core/a.py", 'told = {"asked": 1}\n'),
        ("tests/test_a.py", '"""Nobody."""\n'),
    ],
)
def test_names_and_allowed_phrases_pass(file: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    assert find_new_offences(tmp_path, ()) == []


def test_every_listed_line_has_offences(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("A clean page.\n")
    (tmp_path / "SECURITY.md").write_text("Nobody.\n")


def test_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert words.format_counts([("src/agenthive/core/a.py", 1, "told")]).split() == [
        *("1", "offences", "1", "src/agenthive/core", "1", "told"),
    ]
    assert words.main([]) == 0
    assert "offences" in capsys.readouterr().out
