"""One class name for one meaning: no public class name is defined in two modules.

Facades, the compatibility package and the schemas of the API may repeat a name: they show one
thing to different callers. Private names do not count.
"""

from __future__ import annotations

from pathlib import Path

from tests.house import figures


def find_doubles(source: Path) -> dict[str, list[str]]:
    return figures.find_double_classes(figures.parse_sources(source))


def write_modules(folder: Path, modules: dict[str, str]) -> Path:
    for name, text in modules.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_a_class_name_has_one_meaning() -> None:
    assert find_doubles(figures.SOURCE) == {}


def test_planted_double_is_found(tmp_path: Path) -> None:
    nested = "class Outer:\n    class Plan: ...\n"
    write_modules(tmp_path, {"a.py": "class Plan: ...\n", "b/c.py": nested})
    assert find_doubles(tmp_path) == {"Plan": ["a.py", "b/c.py"]}


def test_foreign_and_private_names_may_repeat(tmp_path: Path) -> None:
    modules = dict.fromkeys(
        ("a.py", "facades/b.py", "compat/c.py", "api/schemas/d.py"), "class A: ..."
    )
    private = dict.fromkeys(("e.py", "f.py"), "class _B: ...")
    assert find_doubles(write_modules(tmp_path, modules | private)) == {}
