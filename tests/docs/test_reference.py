"""The generated pages of the reference are what the code says, and a stale one is noticed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "generate_reference", ROOT / "docs" / "reference" / "generate.py"
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_are_current(generate: ModuleType) -> None:
    assert generate.stale() == [], "run: python3 x.py docs"


def test_stale_page_is_noticed(
    generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "HERE", tmp_path)
    assert generate.stale() == sorted(generate.PAGES)
    for name, make in generate.PAGES.items():
        (tmp_path / name).write_text(generate.NOTE + make(), "utf-8")
    assert generate.stale() == []
    (tmp_path / "errors.md").write_text("old", "utf-8")
    assert generate.stale() == ["errors.md"]


def test_every_error_is_on_its_page(generate: ModuleType) -> None:
    from agenthive import errors

    page = generate.errors_page()
    kinds = [v for v in vars(errors).values() if isinstance(v, type)]
    ours = [k for k in kinds if issubclass(k, errors.AgentHiveError)]
    assert len(ours) > 20
    assert [kind.__name__ for kind in ours if f"`{kind.__name__}`" not in page] == []


def test_every_state_is_drawn(generate: ModuleType) -> None:
    from agenthive.core.model.states import RunStatus, TaskState

    tasks, runs = generate.states_page().split("## Runs")
    assert [state for state in TaskState if f" {state}" not in tasks] == []
    assert [status for status in RunStatus if f" {status}" not in runs] == []
    assert "    ready --> running: TaskStarted\n" in tasks
    assert "    queued --> running: RunStarted\n" in runs
