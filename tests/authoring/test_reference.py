"""The generated pages are current, and say what the table says."""

from __future__ import annotations

from pathlib import Path

from agenthive.authoring.dialect.dialect import SHAPES
from agenthive.authoring.dialect.generate import main
from agenthive.authoring.dialect.json_schema import SCHEMA_FILE, format_schema
from agenthive.authoring.dialect.reference_page import reference_markdown

DOCS = Path(__file__).parents[2] / "docs" / "reference"


def test_page_is_current() -> None:
    assert (DOCS / "workflow.md").read_text() == reference_markdown(), (
        "run: python -m agenthive.authoring.dialect.generate"
    )


def test_page_names_every_key() -> None:
    page = reference_markdown()
    for shape in SHAPES.values():
        for field in shape.fields:
            assert f"| `{field.key}`" in page
            assert field.doc


def test_generator_writes_the_three_files(tmp_path: Path) -> None:
    main(tmp_path / "pages", tmp_path)
    assert (tmp_path / "pages" / "workflow.md").read_text() == reference_markdown()
    assert (tmp_path / "pages" / "settings.md").is_file()
    assert (tmp_path / SCHEMA_FILE).read_text() == format_schema()
