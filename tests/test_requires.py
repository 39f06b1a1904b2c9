"""The rule for tests that need more than Python: skip with the way out, or fail where it is due."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from _pytest.outcomes import Failed, Skipped

from tests import requires


@pytest.fixture
def thing(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    def there(is_there: bool) -> None:
        monkeypatch.setitem(requires.THINGS, "bees", (lambda: is_there, "buy bees"))

    monkeypatch.delenv("AGENTHIVE_REQUIRE", raising=False)
    return there


def test_what_is_there_is_used(thing: Callable[[bool], None]) -> None:
    thing(True)
    requires.require("bees")


def test_what_is_not_there_skips(thing: Callable[[bool], None]) -> None:
    thing(False)
    with pytest.raises(Skipped, match="needs bees: buy bees"):
        requires.require("bees")


def test_what_is_required_fails(
    thing: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    thing(False)
    monkeypatch.setenv("AGENTHIVE_REQUIRE", "node, bees")
    with pytest.raises(Failed, match=r"bees is required .* buy bees"):
        requires.require("bees")


def test_node_and_strace_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(requires, "find_faketime", lambda: "")
    assert [there() for there, _ in requires.THINGS.values()] == [False] * len(requires.THINGS)
