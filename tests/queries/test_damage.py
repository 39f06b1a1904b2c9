"""One damaged run among others: what its readers raise, and that recovery continues the others."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest

from agenthive import AgentRegistry, Hive, Workflow, WorkflowSpec
from agenthive.core.history import blobs
from agenthive.core.journal.records import Record
from agenthive.errors import RunUnusable
from agenthive.queries import journal_reader
from agenthive.testing import ScriptedAgent


def waiting() -> WorkflowSpec:
    """A task after a signal."""
    made = Workflow("flow")
    agent = made.agent("work", type="custom", endpoint="custom://work")
    made.task("gate", wait_for="go")
    made.task("last", agent=agent, action="go", depends_on=["gate"])
    return made.build()


def registry() -> AgentRegistry:
    known = AgentRegistry()
    known.register("work", ScriptedAgent("done"))
    return known


async def make_home(home: Path) -> None:
    async with Hive.open(home, agents=registry()) as hive:
        for run in ("bad", "good"):
            await hive.submit(waiting(), run_id=run)
            await hive.wait_for_end(run)
    with sqlite3.connect(home / "journal.db") as db:
        db.execute(
            "UPDATE records SET payload = replace(payload, 'run', 'ran') WHERE stream = 'bad'"
        )
    db.close()


async def test_the_others_are_recovered(tmp_path: Path) -> None:
    await make_home(tmp_path)
    async with Hive.open(tmp_path, agents=registry(), recover=True) as hive:
        assert hive.set_apart_runs.keys() == {"bad"}
        await hive.signals.send("good", "go")
        assert (await hive.wait("good")).status == "completed"
        with pytest.raises(RunUnusable, match="the chain breaks at record"):
            await hive.wait("bad")
        assert [row.run for row in await hive.runs(unfinished=True)] == ["bad"]


async def test_a_record_is_verified_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_home(tmp_path)
    decoded: list[Record] = []

    def decode(record: Record) -> list[object]:
        decoded.append(record)
        raise msgspec.DecodeError("decoded")

    monkeypatch.setattr(blobs, "decode_record", decode)
    async with Hive.open(tmp_path, agents=registry()) as hive:
        for read in (
            hive.journal.load_state("bad"),
            hive.journal.read_report("bad"),
            hive.journal.load_workflow("bad"),
            hive.journal.read_story("bad", "last"),
        ):
            with pytest.raises(RunUnusable, match="the chain breaks at record"):
                await read
        with pytest.raises(RunUnusable, match="the chain breaks at record"):
            assert [event async for event in hive.journal.read_events("bad")]
    assert decoded == []
    assert journal_reader.FEW_RECORDS > 1
