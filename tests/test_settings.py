"""Settings: which source wins, what is refused, and that the page is current."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agenthive.core.history.retention import Retention, retention_by_class
from agenthive.errors import ConfigurationError
from agenthive.settings import SETTINGS, Settings, settings_markdown


@pytest.fixture
def world(tmp_path: Path) -> dict[str, Any]:
    project, home = tmp_path / "project", tmp_path / "home"
    (project / "inner").mkdir(parents=True)
    (home / ".config" / "agenthive").mkdir(parents=True)
    return {"environ": {"HOME": str(home)}, "folder": project / "inner"}


def user_file(world: dict[str, Any], text: str) -> Path:
    path = Path(world["environ"]["HOME"]) / ".config" / "agenthive" / "config.toml"
    path.write_text(text)
    return path


def project_file(world: dict[str, Any], text: str) -> Path:
    path = Path(world["folder"]).parent / "agenthive.toml"
    path.write_text(text)
    return path


def test_defaults(world: dict[str, Any]) -> None:
    found = Settings.load(**world)
    assert found.home == Path(world["environ"]["HOME"]) / ".local/share/agenthive"
    assert (found.max_runs, found.task_slots) == (50, 100)
    assert (found.log_level, found.log_format, found.mode) == ("warning", "auto", "operator")
    assert (found.agents, found.egress_allow) == ({}, ())
    assert (found.retention_completed, found.retention) == ("forever", Retention())
    assert {found.origin(one.name) for one in SETTINGS} == {"default"}


def test_retention(world: dict[str, Any]) -> None:
    project_file(world, 'retention_completed = "30d"\nretention_failed = "8w"\n')
    world["environ"]["AGENTHIVE_RETENTION_OTHERS"] = "12h"
    assert Settings.load(**world).retention == retention_by_class("30d", "8w", "12h")
    for wrong in ('"soon"', "30", "true", '""'):
        project_file(world, f"retention_completed = {wrong}\n")
        with pytest.raises(ConfigurationError, match="retention_completed must be a length of"):
            Settings.load(**world)


def test_xdg_data_home_must_be_absolute(world: dict[str, Any], tmp_path: Path) -> None:
    world["environ"]["XDG_DATA_HOME"] = "relative"
    assert Settings.load(**world).home.parts[-3:] == (".local", "share", "agenthive")
    world["environ"]["XDG_DATA_HOME"] = str(tmp_path / "data")
    assert Settings.load(**world).home == tmp_path / "data" / "agenthive"


def test_each_source_beats_the_next(world: dict[str, Any]) -> None:
    user = user_file(world, "max_runs = 2\n")
    found = Settings.load(**world)
    assert (found.max_runs, found.origin("max_runs")) == (2, str(user))
    project = project_file(world, "max_runs = 3\n")
    found = Settings.load(**world)
    assert (found.max_runs, found.origin("max_runs")) == (3, str(project))
    world["environ"]["AGENTHIVE_MAX_RUNS"] = "4"
    found = Settings.load(**world)
    assert (found.max_runs, found.origin("max_runs")) == (4, "AGENTHIVE_MAX_RUNS")
    found = Settings.load({"max_runs": 5, "home": None}, **world)
    assert (found.max_runs, found.origin("max_runs")) == (5, "--max-runs")
    assert found.value("max_runs") == 5


def test_home(world: dict[str, Any], tmp_path: Path) -> None:
    project = project_file(world, "")
    assert Settings.load(**world).home == project.parent / ".agenthive"
    project.write_text('home = "state"\n')
    assert Settings.load(**world).home == project.parent / "state"
    world["environ"]["AGENTHIVE_HOME"] = "here"
    assert Settings.load(**world).home == world["folder"] / "here"
    assert Settings.load({"home": tmp_path / "flag"}, **world).home == tmp_path / "flag"


def test_lists_and_maps(world: dict[str, Any]) -> None:
    project_file(world, 'egress_allow = ["a:1", "b:2"]\n[agents]\nshout = "my.module:shout"\n')
    found = Settings.load(**world)
    assert found.egress_allow == ("a:1", "b:2")
    assert found.agents == {"shout": "my.module:shout"}
    world["environ"] |= {"AGENTHIVE_AGENTS": "x=m:f, y=n:g", "AGENTHIVE_EGRESS_ALLOW": "c:3, d:4"}
    found = Settings.load(**world)
    assert found.agents == {"x": "m:f", "y": "n:g"}
    assert found.egress_allow == ("c:3", "d:4")


def test_prices(world: dict[str, Any]) -> None:
    assert Settings.load(**world).prices == {}
    project_file(world, "[prices.bee]\ninput = 3\noutput = 15.5\n")
    assert str(Settings.load(**world).prices["bee"]) == "3/15.5"
    world["environ"]["AGENTHIVE_PRICES"] = "bee=1/2, x=y=0/0.1"
    found = Settings.load(**world)
    assert {name: str(price) for name, price in found.prices.items()} == {
        "bee": "1.0/2.0",
        "x=y": "0.0/0.1",
    }
    for wrong in ("bee", "bee=1", "bee=1/x", "bee=/", "bee=nan/1"):
        world["environ"]["AGENTHIVE_PRICES"] = wrong
        with pytest.raises(ConfigurationError, match="AGENTHIVE_PRICES: prices "):
            Settings.load(**world)


BAD = [
    ("max_rnus = 1\n", "no setting 'max_rnus'"),
    ("max_runs = 0\n", "max_runs must be 1 to 100,000"),
    ("max_runs = true\n", "must be a whole number"),
    ('max_runs = "x"\n', "must be a whole number"),
    ('mode = "root"\n', "mode must be one of operator, server"),
    ("home = 1\n", "home must be the path of a folder"),
    ("egress_allow = [1]\n", "must be a list of texts"),
    ('agents = {x = "module"}\n', "'x' does not"),
    ("agents = 3\n", "must map names"),
    ("home = \n", "cannot be read"),
]


@pytest.mark.parametrize(("text", "why"), BAD)
def test_bad_files(world: dict[str, Any], text: str, why: str) -> None:
    path = project_file(world, text)
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(**world)
    assert why in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.hint


def test_large_file_is_refused(world: dict[str, Any]) -> None:
    project_file(world, "#" * ((1 << 20) + 1))
    with pytest.raises(ConfigurationError, match="larger than"):
        Settings.load(**world)


def test_all_problems_are_told(world: dict[str, Any]) -> None:
    user_file(world, 'mode = "x"\nmax_runs = -1\n')
    world["environ"]["AGENTHIVE_LOG_LEVEL"] = "loud"
    with pytest.raises(ConfigurationError) as caught:
        Settings.load({"task_slots": "many", "nothing": 1}, **world)
    assert len(caught.value.problems) == 5


def test_page_is_current_and_names_every_setting() -> None:
    page = Path(__file__).parents[1] / "docs" / "reference" / "settings.md"
    assert page.read_text() == settings_markdown(), (
        "run: python -m agenthive.authoring.dialect.generate"
    )
    for setting in SETTINGS:
        assert f"| `{setting.name}` | `{setting.variable}` |" in settings_markdown()
        assert isinstance(getattr(Settings, setting.name), property)
