"""Links between pages lead somewhere, and every page is two clicks from the index at most."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
CLICKS = 2


def list_pages(root: Path) -> list[Path]:
    """The pages of the documentation, and those beside the README."""
    return sorted([*root.glob("*.md"), *(root / "docs").rglob("*.md")])


def find_targets(page: Path) -> Iterator[Path]:
    """The files that a page links to."""
    for target, _ in LINK.findall(CODE.sub("", page.read_text("utf-8"))):
        if "://" not in target and not target.startswith("mailto:"):
            yield (page.parent / target).resolve()


def find_broken(root: Path) -> list[str]:
    """Links that lead nowhere."""
    return [
        f"{page.relative_to(root)}: {target}"
        for page in list_pages(root)
        for target in find_targets(page)
        if not target.exists()
    ]


def find_unreachable(root: Path) -> list[Path]:
    """Pages of the documentation that are further than two clicks from its index."""
    reached = {(root / "docs" / "README.md").resolve()}
    for _ in range(CLICKS):
        reached |= {
            target for page in reached if page.suffix == ".md" for target in find_targets(page)
        }
    return [page for page in (root / "docs").rglob("*.md") if page.resolve() not in reached]


def test_links_lead_somewhere() -> None:
    assert find_broken(ROOT) == []


def test_every_page_is_two_clicks_away() -> None:
    assert find_unreachable(ROOT) == []


def test_readme_links_to_the_index() -> None:
    assert (ROOT / "docs" / "README.md").resolve() in set(find_targets(ROOT / "README.md"))


def test_faults_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "docs" / "howto").mkdir(parents=True)
    (tmp_path / "docs" / "README.md").write_text("[a](howto/a.md) `[not](a.link)`\n")
    (tmp_path / "docs" / "howto" / "a.md").write_text("[gone](b.md)\n")
    (tmp_path / "docs" / "howto" / "alone.md").write_text("nobody links here\n")
    assert [line.split(":")[0] for line in find_broken(tmp_path)] == ["docs/howto/a.md"]
    assert [page.name for page in find_unreachable(tmp_path)] == ["alone.md"]
