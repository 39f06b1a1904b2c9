"""A missing tool skips its tests and says how to install it; where it is required it fails them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import requires

MISSING = {"hammer": (lambda: False, "apt-get install hammer"), "nail": (lambda: True, "")}


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requires, "TOOLS", MISSING)
    monkeypatch.delenv("AGENTHIVE_REQUIRE", raising=False)


def test_a_tool_that_is_there_is_no_reason_to_stop() -> None:
    requires.require("nail")


def test_a_missing_tool_skips_with_the_command_that_installs_it() -> None:
    with pytest.raises(pytest.skip.Exception, match="apt-get install hammer"):
        requires.require("hammer")


def test_a_missing_tool_that_is_required_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTHIVE_REQUIRE", "nail, hammer")
    with pytest.raises(pytest.fail.Exception, match="AGENTHIVE_REQUIRE"):
        requires.require("hammer")


def test_another_required_tool_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTHIVE_REQUIRE", "nail,sledgehammer")
    with pytest.raises(pytest.skip.Exception):
        requires.require("hammer")


def test_a_node_server_stands_where_npm_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requires, "TOOLS", {"node": (lambda: True, "")})
    assert Path(requires.node_server("aimock")).parent.name == ".bin"
