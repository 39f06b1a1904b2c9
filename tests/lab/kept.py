"""Whether a home still holds what was promised, seen through the store itself.

Opens the journal as any process would, checks every chain, and looks for each fact that was told.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from agenthive import AgentHiveError, AgentRegistry, Hive
from agenthive.core.model.calls import Call
from agenthive.errors import RunNotFound
from agenthive.queries.journal_reader import JournalReader
from agenthive.stores.sqlite import SqliteStore

Statement = dict[str, Any]
PATIENCE = 30.0


def read_promises(path: Path) -> list[Statement]:
    """The promises that stand in a file; a last line that was cut off was not given."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def select_promises(statements: Iterable[Statement]) -> list[Statement]:
    return [
        promise
        for promise in statements
        if promise["what"] in ("accepted", "called", "told", "ended")
    ]


async def find_lost(home: Path, statements: Iterable[Statement]) -> list[str]:
    """What is wrong with the journal of a home, one line each; it changes as opening changes it."""
    selected = select_promises(statements)
    if not (home / "journal.db").exists():
        return [f"lost: the whole journal, with {len(selected)} facts"] if selected else []
    try:
        store = SqliteStore.open(home / "journal.db")
    except AgentHiveError as error:
        return [f"cannot be opened: {error}"]
    try:
        return await find_missing(JournalReader(store), selected)
    except AgentHiveError as error:
        return [f"{type(error).__name__}: {error}"]
    finally:
        await store.close()


async def find_missing(reader: JournalReader, selected: Iterable[Statement]) -> list[str]:
    """Promised facts that are not in the journal. Raises StoreError if the journal is broken."""
    await reader.verify_chains()
    events_by_run: dict[str, list[Statement]] = {}
    async for page in reader.read_pages():
        for record in page:
            events_by_run.setdefault(record.stream, []).extend(json.loads(record.payload))
    statuses = {row.run: row.status for row in await reader.list_runs()}
    intents = {
        (run, event["task"], event["attempt"], event["key"])
        for run, events in events_by_run.items()
        for event in events
        if event["type"] == "task.started"
    }
    return [
        f"lost: {json.dumps(promise)}"
        for promise in selected
        if not _is_recorded(promise, events_by_run.get(promise["run"], []), statuses, intents)
    ]


def _is_recorded(
    promise: Statement,
    events: list[Statement],
    statuses: dict[str, str],
    intents: set[tuple[Any, ...]],
) -> bool:
    run = promise["run"]
    if promise["what"] == "accepted":
        return bool(events) and run in statuses
    if promise["what"] == "called":
        return (run, promise["task"], promise["attempt"], promise["key"]) in intents
    if promise["what"] == "ended":
        return statuses.get(run) == promise["status"]
    event = events[promise["seq"] - 1] if promise["seq"] <= len(events) else {}
    return (event.get("type"), event.get("at")) == (promise["type"], promise["at"])


async def check_recovery(home: Path) -> list[str]:
    """Open the home as its owner and have every run end; what is wrong then."""
    agents = AgentRegistry()
    agents.register("w", _perform_work)
    try:
        async with asyncio.timeout(PATIENCE), Hive.open(home, recover=True, agents=agents) as hive:
            unfinished = await hive.runs(unfinished=True)
            statuses = [await hive.wait_for_end(row.run) for row in unfinished]
            await hive.journal.verify_chains()
            stuck = [str(status) for status in statuses if status not in ("completed", "waiting")]
            return [f"runs ended {stuck}"] if stuck else []
    except TimeoutError:
        return [f"runs did not end within {PATIENCE:.0f} s"]
    except (AgentHiveError, RunNotFound) as error:
        return [f"does not go on: {type(error).__name__}: {error}"]


async def _perform_work(call: Call) -> str:
    return f"{call.task} of {call.run}"
