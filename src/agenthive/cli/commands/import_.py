"""`agenthive import FILE`: take in a run from a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agenthive.cli.support.options import home_option, json_option, load_settings

if TYPE_CHECKING:
    from agenthive.settings import Settings


@click.command(name="import", short_help="Take in a run from a file.")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--open",
    "open_too",
    is_flag=True,
    help="Also a run that has not ended: where it comes from, it does not go on any more.",
)
@home_option
@json_option
def command(file: Path, open_too: bool, home: Path | None, as_json: bool) -> int:
    """Take in a run that `agenthive export` wrote, after checking all of it. Nothing is run.

    A run that is here already, just so, is left alone; another one with its id is refused. One
    that has not ended is a copy, and its original may still act: it is refused unless --open says
    that the original is gone, and even then it goes on only with `agenthive resume RUN`.
    """
    import asyncio

    return asyncio.run(
        _import_run(load_settings(home), file.absolute(), open_too=open_too, as_json=as_json)
    )


async def _import_run(settings: Settings, file: Path, *, open_too: bool, as_json: bool) -> int:
    from agenthive.cli.support import output
    from agenthive.cli.support.session import Session
    from agenthive.core.model.states import CLOSED

    async with Session(settings) as session:
        outcome = await session.import_run(file, open_too=open_too)
    if as_json:
        output.print_document("import", run_id=outcome.run, status=outcome.status, new=outcome.new)
        return 0
    output.print_line(f"{outcome.run}: {outcome.status}{'' if outcome.new else ', here already'}")
    if outcome.new and outcome.status not in CLOSED:
        output.print_note(f"next: agenthive resume {outcome.run}")
    return 0
