"""`agenthive cancel RUN`: cancel an open run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agenthive.cli.support.options import agents_option, home_option, json_option, settings_of

if TYPE_CHECKING:
    from agenthive.settings import Settings


@click.command(name="cancel", short_help="Cancel an open run.")
@click.argument("run")
@click.option("--reason", default="", metavar="TEXT", help="Why; it is recorded.")
@agents_option
@home_option
@json_option
def command(
    run: str, reason: str, agent_files: tuple[Path, ...], home: Path | None, as_json: bool
) -> int:
    """Cancel RUN (an id or its beginning): nothing new starts, calls under way are stopped.

    The request is on disk before it is carried out; the command waits for the run to end. A run
    that has ended stays as it is: exit code 3.
    """
    import asyncio

    settings = settings_of(home)
    return asyncio.run(_cancel(settings, run, reason, agent_files, as_json=as_json))


async def _cancel(
    settings: Settings, run: str, reason: str, files: tuple[Path, ...], *, as_json: bool
) -> int:
    from agenthive.cli.support import output
    from agenthive.cli.support.session import Session
    from agenthive.core.model.states import CLOSED, RunStatus
    from agenthive.errors import RunNotFound
    from agenthive.hive import reading

    async with reading(settings.home) as archive:
        found = await archive.find(run)
        row = await archive.row(found)
    if RunStatus(row.status) in CLOSED:
        raise RunNotFound(f"run {found} has ended already: {row.status}")
    async with Session(settings, files) as session:
        await session.cancel(found, output.safe(reason))
        async for _ in session.watch(found):
            pass
        report = await session.report(found)
    if as_json:
        output.document("run", **output.run_document(report))
    else:
        output.line(f"{found}  {output.safe(report.name)}: {report.status}")
    return 0
