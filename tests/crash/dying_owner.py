"""Owns a home, and dies between the commit of the first request and the answer to it.

    python tests/crash/dying_owner.py HOME

Everything is the shipped code; one hook arms the process when a request has arrived, another one
kills it when the next commit is on disk, before the runtime hears of it.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from agenthive import Hive
from agenthive.agents.registry import AgentRegistry
from agenthive.core.journal.records import Batch
from agenthive.ipc.server import ControlServer
from agenthive.stores.sqlite import SqliteStore

AGENTS = Path(__file__).with_name("agents.py")
HARMLESS = ("status", "watch", "resume")
"""Requests that change nothing which has to be answered."""

armed = False
append_batch = SqliteStore.append
execute_request = ControlServer._execute_request


def die(_: asyncio.Future[None]) -> None:
    """The batch is on disk."""
    os.kill(os.getpid(), signal.SIGKILL)


def append_and_die(store: SqliteStore, batch: Batch) -> asyncio.Future[None]:
    """Write a batch; if a request has arrived, nothing follows its commit."""
    future = append_batch(store, batch)
    if armed:
        future.add_done_callback(die)
    return future


async def note_request(
    server: ControlServer, request: dict[str, Any]
) -> AsyncIterator[dict[str, Any]]:
    """Carry out a request that another process has sent."""
    global armed
    armed = armed or request.get("ask") not in HARMLESS
    async for reply in execute_request(server, request):
        yield reply


async def own_home(home: Path) -> None:
    """Own the home until a request has come."""
    agents = AgentRegistry()
    agents.load_file(AGENTS)
    async with Hive.open(home, recover=True, agents=agents):
        await asyncio.Event().wait()


if __name__ == "__main__":
    # Shows where it is if it does not die.
    faulthandler.register(signal.SIGUSR1)
    SqliteStore.append = append_and_die  # type: ignore[method-assign]
    ControlServer._execute_request = note_request  # type: ignore[method-assign]
    asyncio.run(own_home(Path(sys.argv[1])))
