"""The loop of our own processes: uvloop where it is, asyncio where it is not, a result in both."""

from __future__ import annotations

import asyncio
import sys

import pytest

from agenthive.runtimes import event_loop


async def kind() -> str:
    await asyncio.sleep(0)
    return type(asyncio.get_running_loop()).__module__


def test_uvloop_where_it_is_installed() -> None:
    pytest.importorskip("uvloop")
    assert event_loop.run(kind()).startswith("uvloop")


def test_asyncio_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert event_loop.run(kind()).startswith("asyncio")


def test_what_it_raises_comes_through() -> None:
    async def fails() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        event_loop.run(fails())
