"""`agenthive cancel RUN`: cancel an open run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agenthive.cli.support.options import (
    agents_option,
    home_option,
    json_option,
    load_settings,
    read_request_id,
    request_id_option,
)

if TYPE_CHECKING:
    from agenthive.settings import Settings


@click.command(name="cancel", short_help="Cancel an open run.")
@click.argument("run")
@click.option("--reason", default="", metavar="TEXT", help="Reason to record.")
@agents_option
@request_id_option
@home_option
@json_option
def command(
    run: str, reason: str, agent_files: tuple[Path, ...], home: Path | None, as_json: bool
) -> int:
    """Cancel RUN (an id or its beginning): start no further task and stop the calls in flight.

    The request is recorded before it is executed; the command waits until the run has ended. A run
    that has already ended is left unchanged: exit code 3.
    """
    import asyncio

    settings = load_settings(home)
    return asyncio.run(_cancel_run(settings, run, reason, agent_files, as_json=as_json))


async def _cancel_run(
    settings: Settings, run: str, reason: str, files: tuple[Path, ...], *, as_json: bool
) -> int:
    from agenthive.cli.support import output
    from agenthive.cli.support.session import Session
    from agenthive.core.model.states import CLOSED, RunStatus
    from agenthive.errors import RunNotFound
    from agenthive.hive import open_journal

    async with open_journal(settings.home) as journal:
        run_id = await journal.find_run(run)
        row = await journal.read_row(run_id)
    ended_error = None
    if RunStatus(row.status) in CLOSED:
        ended_error = RunNotFound(
            f"run {run_id} has already ended: {row.status}",
            hint="Only open runs can be cancelled; `agenthive ps --open` lists them.",
        )
        if read_request_id() is None:
            raise ended_error
    async with Session(settings, files) as session:
        try:
            # Of a run that has ended: a repetition of the request that has cancelled it.
            await session.cancel(run_id, output.escape(reason))
        except RunNotFound as error:
            raise ended_error or error from None
        async for _ in session.watch(run_id):
            pass
        report = await session.report(run_id)
    if as_json:
        output.print_document("run", **output.run_fields(report))
    else:
        output.print_line(f"{run_id}  {output.escape(report.name)}: {report.status}")
    return 0
