"""Every import line that the documents print is tried, and is what its how-to page says it is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents.code_blocks import A, B, C, import_lines
from tests.wheels import clean_environment

pytestmark = pytest.mark.slow
"""Many of its tests start processes or wait."""

HOWTO = Path(__file__).parents[2] / "docs" / "howto"
PAGES = {A: "agent-hive.md", B: "orchestration-engine.md", C: "lead-agent.md"}
ROW = re.compile(r"^\| `(from [^`]+ import [^`]+)` \| (.*) \| ([a-z ]+) \|$", re.MULTILINE)
TRY_ALL = """
import importlib, json, sys
outcomes = {}
for line in json.load(sys.stdin):
    try:
        exec(line, {})
        outcomes[line] = ""
    except ImportError as error:
        outcomes[line] = str(error)
homes = {name: getattr(sys.modules[name], "__file__", "") for name in list(sys.modules)
         if name.split(".")[0] in ("agenthive", "lead_agent", "src", "external_api")}
json.dump([outcomes, homes], sys.stdout)
"""
LINES = [(document, line) for document in PAGES for line in import_lines(document)]


@pytest.fixture(scope="module")
def tried(site: Path) -> tuple[dict[str, str], dict[str, str]]:
    """What came out of each line (empty: it works), and the files of the modules in question."""
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", TRY_ALL],
        input=json.dumps([line for _, line in LINES]), cwd=site.parent,
        env=clean_environment(site), capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    outcomes, homes = json.loads(process.stdout)
    return outcomes, homes


def rows(document: Path) -> dict[str, tuple[str, str]]:
    """The table of a how-to page: line -> what it is here, whether it works."""
    text = (HOWTO / PAGES[document]).read_text("utf-8")
    return {line: (here, works) for line, here, works in ROW.findall(text)}


def test_documents_print_import_lines() -> None:
    assert [len(import_lines(document)) for document in PAGES] == [25, 8, 5]


@pytest.mark.parametrize("document", PAGES, ids=lambda document: document.name)
def test_page_lists_every_line(document: Path) -> None:
    assert list(rows(document)) == import_lines(document)


@pytest.mark.parametrize(("document", "line"), LINES, ids=lambda value: str(value)[-60:])
def test_line_works_if_its_page_says_so(
    document: Path, line: str, tried: tuple[dict[str, str], dict[str, str]]
) -> None:
    here, works = rows(document)[line]
    assert works == ("not available yet" if tried[0][line] else "yes"), tried[0][line]
    assert bool(here) == (works == "yes")


@pytest.mark.parametrize("document", [B, C], ids=lambda document: document.name)
def test_all_lines_of_b_and_c_work(
    document: Path, tried: tuple[dict[str, str], dict[str, str]]
) -> None:
    assert {line: tried[0][line] for line in import_lines(document) if tried[0][line]} == {}


def test_nothing_comes_from_the_source_tree(
    site: Path, tried: tuple[dict[str, str], dict[str, str]]
) -> None:
    outside = {name: file for name, file in tried[1].items() if not file.startswith(str(site))}
    assert outside == {}
    assert {"agenthive", "lead_agent", "src", "external_api"} <= set(tried[1])
