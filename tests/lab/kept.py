"""Whether a home still holds what was promised, seen through the store itself.

Opens the journal as any process would, checks every chain, and looks for each fact that was told.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from agenthive import AgentHiveError, Directory, Hive
from agenthive.core.model.calls import Call
from agenthive.errors import RunNotFound
from agenthive.queries.journal_reader import Archive
from agenthive.stores.sqlite import SqliteStore

Said = dict[str, Any]
PATIENCE = 30.0


def read(said: Path) -> list[Said]:
    """The promises that stand in a file; a last line that was cut off was not given."""
    lines = said.read_text().split("\n")[:-1] if said.exists() else []
    return [json.loads(line) for line in lines]


def promises(said: Iterable[Said]) -> list[Said]:
    return [one for one in said if one["what"] in ("accepted", "called", "told", "ended")]


async def lost(home: Path, said: Iterable[Said]) -> list[str]:
    """What is wrong with the journal of a home, one line each; it changes as opening changes it."""
    given = promises(said)
    if not (home / "journal.db").exists():
        return [f"lost: the whole journal, with {len(given)} facts"] if given else []
    try:
        store = SqliteStore.open(home / "journal.db")
    except AgentHiveError as error:
        return [f"cannot be opened: {error}"]
    try:
        return await missing(Archive(store), given)
    except AgentHiveError as error:
        return [f"{type(error).__name__}: {error}"]
    finally:
        await store.close()


async def missing(archive: Archive, given: Iterable[Said]) -> list[str]:
    """Promised facts that are not in the journal. Raises StoreError if the journal is broken."""
    await archive.verify()
    facts: dict[str, list[Said]] = {}
    async for page in archive.pages():
        for record in page:
            facts.setdefault(record.stream, []).extend(json.loads(record.payload))
    statuses = {row.run: row.status for row in await archive.runs()}
    intents = {
        (run, fact["task"], fact["attempt"], fact["key"])
        for run, events in facts.items()
        for fact in events
        if fact["type"] == "task.started"
    }
    return [
        f"lost: {json.dumps(one)}"
        for one in given
        if not _there(one, facts.get(one["run"], []), statuses, intents)
    ]


def _there(
    one: Said, facts: list[Said], statuses: dict[str, str], intents: set[tuple[Any, ...]]
) -> bool:
    run = one["run"]
    if one["what"] == "accepted":
        return bool(facts) and run in statuses
    if one["what"] == "called":
        return (run, one["task"], one["attempt"], one["key"]) in intents
    if one["what"] == "ended":
        return statuses.get(run) == one["status"]
    fact = facts[one["seq"] - 1] if one["seq"] <= len(facts) else {}
    return (fact.get("type"), fact.get("at")) == (one["type"], one["at"])


async def goes_on(home: Path) -> list[str]:
    """Open the home as its owner and have every run end; what is wrong then."""
    agents = Directory()
    agents.register("w", _work)
    try:
        async with asyncio.timeout(PATIENCE), Hive.open(home, recover=True, agents=agents) as hive:
            left = await hive.runs(unfinished=True)
            ended = [await hive.ended(row.run) for row in left]
            await hive.archive.verify()
            stuck = [str(status) for status in ended if status not in ("completed", "waiting")]
            return [f"runs ended {stuck}"] if stuck else []
    except TimeoutError:
        return [f"runs did not end within {PATIENCE:.0f} s"]
    except (AgentHiveError, RunNotFound) as error:
        return [f"does not go on: {type(error).__name__}: {error}"]


async def _work(call: Call) -> str:
    return f"{call.task} of {call.run}"
