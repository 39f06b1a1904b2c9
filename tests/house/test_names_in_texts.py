"""Every path, name and command that signs and pages put in back-quotes exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.house import names
from tests.house.names import ROOT, Text

pytestmark = pytest.mark.slow
"""Many of its tests start processes or wait."""

SOURCE = ROOT / "src" / "agenthive"


def write_sign(content: str, package: str = "core/engine") -> Text:
    folder = SOURCE / package
    return Text(f"{package}/__init__.py", content, ROOT, folder, is_sign=True)


def write_page(content: str) -> Text:
    return Text("docs/howto/page.md", content, ROOT, ROOT / "docs" / "howto")


def test_names_in_texts_exist() -> None:
    wrong = names.find_wrong_names(names.read_texts(ROOT))
    assert wrong == [], "back-quotes name what does not exist; see tests/house/names.py"


def test_every_text_is_read() -> None:
    texts = {text.name: text for text in names.read_texts(ROOT)}
    assert {"README.md", "CONTRIBUTING.md", "RELIABILITY.md"} <= set(texts)
    assert {"src/agenthive/__init__.py", "src/agenthive/core/machine/guards/__init__.py"} <= set(
        texts
    )
    assert {"docs/explanation/house.md", "docs/decisions/0001-sans-io-core.md"} <= set(texts)
    assert sum(len(text.spans) for text in texts.values()) > 700


def test_two_planted_names_are_found(tmp_path: Path) -> None:
    """In a tree of its own, read as the repository is."""
    package = tmp_path / "src" / "agenthive" / "core"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('"""The core: `driver` and `drivel`."""\n')
    (package / "driver.py").write_text("LIMIT = 1\n")
    (tmp_path / "README.md").write_text("See `core/driver.py`, `core/drivel.py` and `LIMIT`.\n")
    assert names.find_wrong_names(names.read_texts(tmp_path)) == [
        ("src/agenthive/core/__init__.py", "drivel"),
        ("README.md", "core/drivel.py"),
    ]


@pytest.mark.parametrize(
    "span",
    [
        "hive.py",
        "machine.RULES",
        "NURSERY",
        "strategies/",
        "src/agenthive/core/obeying.py",
        "agenthive.testing.check_strategy",
        "agenthive.core.driver",
        "core.engine.no_such_module",
        "hive.undo_everything",
        "task.vanished",
        "AgentKeeper",
        "take_in_everything",
        "AGENTHIVE_NO_SUCH_SETTING",
        "agenthive verify",
        "agenthive run --no-such-option",
        "agenthive schedule forget NAME",
        "--no-such-option",
        "python3 x.py fly",
        "x.py lab T99",
        "x.py check --slowly",
        "-m tests.house.nothing",
        "tests/crash/kill_resume.py --no-such-option",
        "Hive.open(nowhere=True)",
        "await hive.resume_nothing()",
        "await hive.schedules.set('digest', workflow, daily=True)",
        "no_such_key: 1",
        "[no_such_table]",
        "some words that nothing prints",
    ],
)
def test_wrong_name_on_a_page_is_found(span: str) -> None:
    assert names.find_wrong_names([write_page(f"See `{span}`.")]) == [("docs/howto/page.md", span)]


DESIGN_NAMES = [
    "from lead_agent import LeadAgent",
    "lead_agent.config_loader",
    "python -m lead_agent.lead_agent FILE",
    "fetch_raw_data",
]


@pytest.mark.parametrize("span", DESIGN_NAMES)
def test_names_of_older_designs_belong_on_their_pages(span: str) -> None:
    page = Text(names.DESIGN_PAGES[0], f"See `{span}`.", ROOT, ROOT / "docs" / "howto")
    assert names.find_wrong_names([page]) == []
    assert names.find_wrong_names([write_page(f"See `{span}`.")]) == [("docs/howto/page.md", span)]


@pytest.mark.parametrize(
    "span",
    [
        "from lead_agent import NoSuchAgent",
        "lead_agent.no_such_module",
        "agenthive-compat fly",
        "agenthive-compat files --no-such-option",
        "--no-such-option",
    ],
)
def test_wrong_name_on_the_page_of_a_design_is_found(span: str) -> None:
    page = Text(names.DESIGN_PAGES[0], f"See `{span}`.", ROOT, ROOT / "docs" / "howto")
    assert names.find_wrong_names([page]) == [(page.name, span)]


@pytest.mark.parametrize(
    ("package", "span"),
    [
        ("core/engine", "nursery"),
        ("runtimes", "simulated"),
        ("core/machine", "roll"),
        ("hive", "opened.open_store"),
        ("agents", "directory.KINDS"),
    ],
)
def test_module_that_has_moved_away_is_found_on_the_sign(package: str, span: str) -> None:
    """The word may exist somewhere; on a sign it must exist in the package."""
    assert names.check_span(span, write_sign("", package)) is False


@pytest.mark.parametrize(
    "span",
    [
        "src/agenthive/core/engine/driver.py",
        "core/machine/guards/",
        "agents/<kind>.py",
        "tests/lab/rows/tN.py",
        "HOME/secrets",
        "agenthive.toml",
        "agenthive.testing.check_agent",
        "core.engine.driver",
        "hive.approvals.approve",
        "task.started",
        "AgentHiveError",
        "unknown_outcome",
        "for_each",
        "max_parallel",
        "AGENTHIVE_HOME",
        "agenthive budget top-up RUN 0.01",
        "agenthive run FILE --agents my_agents.py",
        "--json",
        "python3 x.py check --fast",
        "x.py lab T2",
        "-m tests.house.words --list",
        "Hive.open(home, recover=True)",
        "await hive.resume()",
        "effect: once",
        "[budgets.agents]",
        "${env:NAME}",
        "12h",
        "9ad165e12685",
        "Idempotency-Key",
    ],
)
def test_name_that_exists_passes(span: str) -> None:
    assert names.find_wrong_names([write_page(f"See `{span}`.")]) == []


def test_names_of_the_examples_of_a_page_pass() -> None:
    page = write_page("<!-- file: bee.yaml -->\n```yaml\ncolour: red\n```\n`colour`, `bee.yaml`.")
    assert names.find_wrong_names([page]) == []


def test_spans() -> None:
    text = write_page("``a `b` c``, `d\ne`, `f`\n```text\n`g`\n```\nand ``h\ni``.")
    assert text.spans == ["a `b` c", "h i", "d e", "f"]


def test_what_only_a_docstring_mentions_does_not_exist(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text('"""ghost"""\nclass A:\n    """phantom"""\n    x = "real"\n')
    found = names.read_names([file])
    assert "real" in found.strings
    assert not any(map(found.knows, ("ghost", "phantom")))


def test_exceptions_are_used_and_explained() -> None:
    spans = {span for text in names.read_texts(ROOT) for span in text.spans}
    assert [span for span in names.ALLOWED if span not in spans] == []
    unused = [
        pattern
        for pattern in names.VALUES
        if not any(re.fullmatch(pattern, span) for span in spans)
    ]
    assert unused == []
    assert len(names.ALLOWED) <= 15
    assert all(names.ALLOWED.values())
