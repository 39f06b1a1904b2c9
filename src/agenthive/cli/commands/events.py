"""`agenthive events RUN`: the events of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agenthive.cli.support.options import home_option, json_option, load_settings

if TYPE_CHECKING:
    from agenthive.queries.journal_reader import EventView


@click.command(name="events", short_help="Print the events of a run, oldest first.")
@click.argument("run")
@click.option("--task", metavar="NAME", help="Print only events of this task.")
@click.option(
    "--after",
    type=click.IntRange(min=0),
    default=0,
    metavar="NO",
    help="Print only events after number NO.",
)
@click.option(
    "--follow", "-f", is_flag=True, help="Keep printing new events until the run has ended."
)
@home_option
@json_option
def command(
    run: str, task: str | None, after: int, follow: bool, home: Path | None, as_json: bool
) -> int:
    """Print the events of RUN (an id or its beginning), oldest first.

    With --json, each event is one JSON document on its own line.
    """
    import asyncio

    return asyncio.run(_print_events(run, task, after, home, follow=follow, as_json=as_json))


async def _print_events(
    run: str, task: str | None, after: int, home: Path | None, *, follow: bool, as_json: bool
) -> int:
    import asyncio
    import sys

    from agenthive.core.model.states import CLOSED, RunStatus
    from agenthive.hive import open_journal

    async with open_journal(load_settings(home).home) as journal:
        run_id = await journal.find_run(run)
        if task is not None:
            await journal.read_story(run_id, task)  # raises NotFound for an unknown task
        while True:
            row = await journal.read_row(run_id)
            async for event in journal.read_events(run_id, after):
                after = event.seq
                if task is None or _is_about(event, task):
                    _print_event(event, as_json=as_json)
            sys.stdout.flush()
            if not follow or RunStatus(row.status) in CLOSED:
                return 0
            await asyncio.sleep(0.1)


def _is_about(event: EventView, task: str) -> bool:
    import msgspec

    return bool(msgspec.json.decode(event.data).get("task") == task)


def _print_event(event: EventView, *, as_json: bool) -> None:
    from agenthive.cli.support import output

    if as_json:
        output.print_document("fact", run_id=event.run, seq=event.seq, at=event.at, fact=event.data)
    else:
        text = output.escape(event.text).replace("\n", " ")
        output.print_line(f"{event.seq:>7}  {output.format_time(event.at)}  {event.type:24} {text}")
