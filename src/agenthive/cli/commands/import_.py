"""`agenthive import FILE`: a run from a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agenthive.cli.support.options import (
    home_option,
    json_option,
    load_settings,
    request_id_option,
)

if TYPE_CHECKING:
    from agenthive.settings import Settings


@click.command(name="import", short_help="Import a run from a file.")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--open",
    "open_too",
    is_flag=True,
    help="Import an open run too; the original must never continue.",
)
@request_id_option
@home_option
@json_option
def command(file: Path, open_too: bool, home: Path | None, as_json: bool) -> int:
    """Import a run that `agenthive export` wrote, after verifying the whole file.

    Nothing is executed. Importing an identical run again changes nothing; a different run with the
    same id is refused. An open run is refused, because its original may still be executed
    elsewhere: --open confirms that it is not. An imported open run continues only with `agenthive
    resume RUN`.
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
    output.print_line(
        f"{outcome.run}: {outcome.status}{'' if outcome.new else ' (already imported)'}"
    )
    if outcome.new and outcome.status not in CLOSED:
        output.print_note(f"next: agenthive resume {outcome.run}")
    return 0
