"""Writes the JSON Schema and the reference pages that are generated from the dialect's table.

Command: ``python -m agenthive.authoring.dialect.generate [DOCS]``.

Run it after a change of the table; a test fails while the files are out of date. DOCS is the
directory of the reference pages, ``docs/reference`` by default.
"""

from __future__ import annotations

import sys
from pathlib import Path

from agenthive.authoring.dialect.json_schema import SCHEMA_FILE, format_schema
from agenthive.authoring.dialect.reference_page import reference_markdown
from agenthive.settings import settings_markdown


def main(docs: Path, package: Path = Path(__file__).parent) -> None:
    """Write the schema into ``package`` and the pages into ``docs``."""
    package.joinpath(SCHEMA_FILE).write_text(format_schema(), "utf-8")
    docs.mkdir(parents=True, exist_ok=True)
    (docs / "workflow.md").write_text(reference_markdown(), "utf-8")
    (docs / "settings.md").write_text(settings_markdown(), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference"))
