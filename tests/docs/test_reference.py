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


def test_maps_are_current(generate: ModuleType) -> None:
    assert generate.stale_maps(ROOT) == [], "run: python3 x.py docs"


def test_map_names_every_package(generate: ModuleType) -> None:
    source = ROOT / "src" / "agenthive"
    packages = [f"`{path.parent.name}/`" for path in source.glob("*/__init__.py")]
    files = [f"`{path.name}`" for path in source.glob("*.py") if not path.name.startswith("__")]
    assert len(packages) > 5
    drawn = generate.house_map(ROOT)
    assert [name for name in sorted(packages + files) if f"| {name} | " not in drawn] == []
    assert "engine > history > machine > { budget | graph } >" in drawn


@pytest.fixture
def small_house(generate: ModuleType, tmp_path: Path) -> Path:
    """Two packages, and the pages that show their map."""
    write(
        tmp_path / "pyproject.toml",
        "[[tool.importlinter.contracts]]\nid = 'layers'\ncontainers = ['agenthive']\n"
        "layers = ['cli', '(later)', 'core | infra']\n"
        "[[tool.importlinter.contracts]]\nid = 'core'\ncontainers = ['agenthive.core']\n"
        "layers = ['engine']\n",
    )
    for name in ("cli", "core", "infra", "core/engine"):
        write(tmp_path / "src" / "agenthive" / name / "__init__.py", f'"""THIS: it is {name}."""')
    for name in generate.MAPS:
        comments = "<!-- map: generated -->\n<!-- end of map -->"
        write(tmp_path / name, generate.write_map(comments, tmp_path))
    return tmp_path


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")


def test_stale_map_is_noticed(generate: ModuleType, small_house: Path) -> None:
    assert "cli > { core | infra }\n" in generate.house_map(small_house)
    assert "| `cli/` | it is cli |" in generate.house_map(small_house)
    assert generate.stale_maps(small_house) == []
    config = small_house / "pyproject.toml"
    config.write_text(config.read_text().replace("'core | infra'", "'core', 'infra'"))
    assert generate.stale_maps(small_house) == list(generate.MAPS)
    sign = small_house / "src" / "agenthive" / "cli" / "__init__.py"
    config.write_text(config.read_text().replace("'core', 'infra'", "'core | infra'"))
    sign.write_text('"""THIS: it is another thing."""')
    assert generate.stale_maps(small_house) == list(generate.MAPS)


def test_page_without_a_place_for_the_map_is_refused(
    generate: ModuleType, small_house: Path
) -> None:
    write(small_house / "CONTRIBUTING.md", "# No map\n")
    with pytest.raises(ValueError, match="has lost the comments"):
        generate.stale_maps(small_house)
