"""A sample is the same for the same seed, and can be taken again by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house import sample

MODULE = '''"""Module {n}."""


class Thing{n}:
    @property
    def size(self) -> int:
        """Size."""
        return {n}

    def __len__(self) -> int:
        return 0
'''


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for number in range(40):
        (tmp_path / f"m{number:02}.py").write_text(MODULE.format(n=number))
    return tmp_path


def test_same_seed_same_sample(tree: Path) -> None:
    samples = sample.read_samples(tree)
    picked = sample.pick_samples(samples, "a")
    assert picked == sample.pick_samples(samples, "a") != sample.pick_samples(samples, "b")
    kinds = [item.kind for item in picked]
    assert [kinds.count(kind) for kind in ("function", "class", "module")] == [30, 5, 5]
    assert not any("__len__" in item.name for item in picked)


def test_samples_by_name(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = tmp_path / "names.txt"
    names.write_text("m03.py:Thing3.size\nm01.py\n")
    assert sample.main([str(tree), "--only", str(names)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("### m03.py:Thing3.size\n\n```python\n@property\ndef size(self)")
    assert "### m01.py\n\n```python\nModule 1.\n```" in printed
    names.write_text("m01.py:missing\n")
    with pytest.raises(KeyError):
        sample.main([str(tree), "--only", str(names)])
