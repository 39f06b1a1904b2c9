"""`agenthive work`: process the runs and schedules of a home in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agenthive.cli.support.options import agents_option, home_option, load_settings

if TYPE_CHECKING:
    from agenthive.hive import Hive
    from agenthive.settings import Settings


@click.command(
    name="work", short_help="Process the runs and schedules of a home in the foreground."
)
@agents_option
@home_option
@click.option("--until-idle", is_flag=True, help="Exit when no run can make progress.")
def command(agent_files: tuple[Path, ...], home: Path | None, until_idle: bool) -> int:
    """Process the runs and schedules of a home in the foreground.

    Takes ownership of the home, resumes its unfinished runs, starts scheduled runs and executes
    runs that other commands submit. Ctrl-C or SIGTERM waits for the calls in flight, then exits; a
    second one stops at once. Unfinished runs stay on disk for the next `agenthive work` or
    `agenthive resume`.
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
                f"another process owns the home {settings.home}",
                hint="One process owns a home; `agenthive doctor` shows its process id.",
            )
        resumed = await hive.resume()
        await hive.schedules.start()
        for run, reason in hive.set_apart_runs.items():
            output.print_note(f"run {run} is set apart: {output.escape(reason)}")
        output.print_note(
            f"processing {settings.home}; {len(resumed):,} runs resumed; press Ctrl-C to stop"
        )
        finished = await interrupts.run_to_end(_report_runs(hive, until_idle=until_idle))
        await follow.leave_home(session, interrupts, interrupted=not finished)
    return 0


async def _report_runs(hive: Hive, *, until_idle: bool) -> None:
    """Print runs when they start and end, until the hive fails or (``until_idle``) is idle."""
    import asyncio

    from agenthive.cli.support import output
    from agenthive.errors import RunNotFound, RunUnusable

    reported: set[str] = set()
    while True:
        open_now = {row.run: row for row in await hive.runs(unfinished=True)}
        for run in open_now.keys() - reported:
            output.print_note(f"  {run}  {output.escape(open_now[run].name)}: open")
        for run in reported - open_now.keys():
            try:
                output.print_note(output.format_ending(await hive.report(run)))
            except (RunUnusable, RunNotFound) as error:
                output.print_note(output.escape(error.message))
        reported = set(open_now)
        if hive.fatal_error is not None:
            raise hive.fatal_error
        if until_idle and hive.is_idle:
            return
        await asyncio.sleep(0.2)
