"""`agenthive work`: own a home in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agenthive.cli.support.options import agents_option, home_option, load_settings

if TYPE_CHECKING:
    from agenthive.hive import Hive
    from agenthive.settings import Settings


@click.command(
    name="work", short_help="Own a home in the foreground: resume its runs and take in new ones."
)
@agents_option
@home_option
@click.option("--until-idle", is_flag=True, help="End when nothing moves any more.")
def command(agent_files: tuple[Path, ...], home: Path | None, until_idle: bool) -> int:
    """Own the home: resume its unfinished runs, start what schedules plan, and carry out what other
    commands hand over.

    While it works, `agenthive run` and the others talk to it. Ctrl-C or SIGTERM lets the calls
    under way end, then leaves; a second one stops at once. What is unfinished waits on disk.
    """
    from agenthive.runtimes import event_loop

    return event_loop.run(_work_home(load_settings(home), agent_files, until_idle=until_idle))


async def _work_home(settings: Settings, files: tuple[Path, ...], *, until_idle: bool) -> int:
    from agenthive.cli.support import follow, output
    from agenthive.cli.support.interrupts import Interrupts
    from agenthive.cli.support.session import Session
    from agenthive.errors import HomeBusy

    async with Interrupts() as interrupts, Session(settings, files, interrupts) as session:
        hive = session.hive
        if hive is None:
            raise HomeBusy(
                f"the home {settings.home} has an owner already",
                hint="One process works a home; commands are handed to it.",
            )
        resumed = await hive.resume()
        await hive.schedules.start()
        output.print_note(
            f"working in {settings.home}; {len(resumed)} runs resumed; Ctrl-C to leave"
        )
        finished = await interrupts.run_to_end(_report_runs(hive, until_idle=until_idle))
        await follow.leave_home(session, interrupts, interrupted=not finished)
    return 0


async def _report_runs(hive: Hive, *, until_idle: bool) -> None:
    """Tell of runs that come and go, until there is nothing left to wait for."""
    import asyncio

    from agenthive.cli.support import output

    reported: set[str] = set()
    while True:
        open_now = {row.run: row for row in await hive.runs(unfinished=True)}
        for run in open_now.keys() - reported:
            output.print_note(f"  {run}  {output.escape(open_now[run].name)}: open")
        for run in reported - open_now.keys():
            report = await hive.report(run)
            output.print_note(output.format_ending(report))
        reported = set(open_now)
        if hive.fatal_error is not None:
            raise hive.fatal_error
        if until_idle and hive.is_idle:
            return
        await asyncio.sleep(0.2)
