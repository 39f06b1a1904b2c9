"""`agenthive events RUN`: the facts of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agenthive.cli.support.options import home_option, json_option, settings_of

if TYPE_CHECKING:
    from agenthive.queries.journal_reader import Fact


@click.command(name="events", short_help="Print the facts of a run, oldest first.")
@click.argument("run")
@click.option("--task", metavar="NAME", help="Only facts about this task.")
@click.option(
    "--after", type=click.IntRange(min=0), default=0, metavar="NO", help="Only later facts."
)
@click.option("--follow", "-f", is_flag=True, help="Go on printing until the run ends.")
@home_option
@json_option
def command(
    run: str, task: str | None, after: int, follow: bool, home: Path | None, as_json: bool
) -> int:
    """Print the facts of RUN (an id or its beginning), oldest first; JSON is one fact a line.

    With --follow, facts are printed as they are committed, until the run has ended.
    """
    import asyncio

    return asyncio.run(_events(run, task, after, home, follow=follow, as_json=as_json))


async def _events(
    run: str, task: str | None, after: int, home: Path | None, *, follow: bool, as_json: bool
) -> int:
    import asyncio
    import sys

    from agenthive.core.model.states import CLOSED, RunStatus
    from agenthive.hive import reading

    async with reading(settings_of(home).home) as archive:
        found = await archive.find(run)
        if task is not None:
            await archive.story(found, task)  # raises NotFound if there is no such task
        while True:
            row = await archive.row(found)
            async for fact in archive.events(found, after):
                after = fact.seq
                if task is None or _is_about(fact, task):
                    _print(fact, as_json=as_json)
            sys.stdout.flush()
            if not follow or RunStatus(row.status) in CLOSED:
                return 0
            await asyncio.sleep(0.1)


def _is_about(fact: Fact, task: str) -> bool:
    import msgspec

    return bool(msgspec.json.decode(fact.data).get("task") == task)


def _print(fact: Fact, *, as_json: bool) -> None:
    from agenthive.cli.support import output

    if as_json:
        output.document("fact", run_id=fact.run, seq=fact.seq, at=fact.at, fact=fact.data)
    else:
        text = output.safe(fact.text).replace("\n", " ")
        output.line(f"{fact.seq:>7}  {output.moment(fact.at)}  {fact.type:20} {text}")
