"""Texts for users and contributors use the words of the field."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house import words


def list_complaints(root: Path) -> list[str]:
    """Every offence, with its place and the words to use instead."""
    return [
        f"{file}:{line}: {word!r}; say: {words.suggest(word)}"
        for file, line, word in words.find_offences(root)
    ]


def test_texts_use_the_words_of_the_field() -> None:
    assert list_complaints(words.ROOT) == []


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
    (complaint,) = list_complaints(tmp_path)
    assert complaint.startswith(f"{file}:")
    assert "; say: " in complaint
    assert not complaint.endswith("say: ")


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
    assert list_complaints(tmp_path) == []


def test_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert words.format_counts([("src/agenthive/core/a.py", 1, "told")]).split() == [
        *("1", "offences", "1", "src/agenthive/core", "1", "told"),
    ]
    assert words.main([]) == 0
    assert "offences" in capsys.readouterr().out
