"""The list of runs is a projection: `verify` finds where it says something else."""

from __future__ import annotations

import contextlib
from pathlib import Path

import apsw
import pytest

from agenthive import AgentRegistry, Hive
from agenthive.errors import StoreCorrupt
from agenthive.hive import open_journal
from tests.core.rig import flow, task


async def done() -> str:
    return "done"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE runs SET completed_tasks = 7",
        "UPDATE runs SET status = 'failed'",
        "UPDATE runs SET finished = finished + 1",
        "UPDATE runs SET name = 'other'",
        "UPDATE runs SET tenant = 'other'",
        "UPDATE runs SET run = 'other'",
        "DELETE FROM runs",
        "INSERT INTO runs SELECT 'more', tenant, owner, name, status, created, finished, 1, 1, 0 "
        "FROM runs",
    ],
)
async def test_a_list_that_was_changed_is_found(tmp_path: Path, change: str) -> None:
    agents = AgentRegistry()
    agents.register("a", done)
    async with Hive.open(tmp_path / "home", agents=agents) as hive:
        await hive.run(flow(task("a")))
        assert await hive.journal.verify_chains() > 0
    journal = str(tmp_path / "home" / "journal.db")
    with contextlib.closing(apsw.Connection(journal)) as db:
        db.execute(change)
    async with open_journal(tmp_path / "home") as archive:
        with pytest.raises(StoreCorrupt, match=r"the list of runs|is listed"):
            await archive.verify_chains()
