"""`agenthive resume [RUN ...]`: continue unfinished runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agenthive.cli.support.options import agents_option, home_option, json_option, load_settings

if TYPE_CHECKING:
    from agenthive.errors import RunUnusable
    from agenthive.settings import Settings


@click.command(name="resume", short_help="Continue unfinished runs.")
@click.argument("runs", metavar="[RUN]...", nargs=-1)
@agents_option
@home_option
@json_option
@click.option("--quiet", "-q", is_flag=True, help="Do not show progress.")
def command(
    runs: tuple[str, ...],
    agent_files: tuple[Path, ...],
    home: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Continue each RUN (an id or its beginning), or all unfinished runs, until they end or wait.

    Finished tasks are not executed again. A call that was interrupted is repeated with the same
    idempotency key, unless its task has `effect: once`. Imported open runs are resumed only by
    their id, and so are runs that were set apart. Exit code 10 if a run cannot be read (the others
    are continued), 0 if there is nothing to resume, otherwise that of `agenthive run`.
    """
    from agenthive.runtimes import event_loop

    settings = load_settings(home)
    return event_loop.run(_resume_runs(settings, runs, agent_files, as_json=as_json, quiet=quiet))


async def _resume_runs(
    settings: Settings,
    prefixes: tuple[str, ...],
    files: tuple[Path, ...],
    *,
    as_json: bool,
    quiet: bool,
) -> int:
    from agenthive.cli.support import follow, output
    from agenthive.cli.support.interrupts import Interrupts
    from agenthive.cli.support.session import Session
    from agenthive.errors import RunUnusable

    runs, unusable = await _select_runs(settings, prefixes)
    if unusable and not runs:
        raise next(iter(unusable.values()))
    if not runs:
        if as_json:
            output.print_document("runs", runs=[])
        else:
            output.print_line("no unfinished runs")
        return 0
    async with Interrupts() as interrupts, Session(settings, files, interrupts) as session:
        await interrupts.run_or_abort(session.resume(list(runs)))
        work = follow.follow_runs(session, runs, quiet=quiet, unusable=unusable)
        ended = await interrupts.run_to_end(work)
        await follow.leave_home(session, interrupts, interrupted=not ended)
        reports = [await session.report(run) for run in runs if run not in unusable]
        if unusable and not reports and ended:
            raise next(iter(unusable.values()))
        if as_json:
            output.print_document("runs", runs=[output.run_fields(report) for report in reports])
        for report in () if as_json else reports:
            if len(reports) > 1:
                output.print_line(f"\n{report.run_id} {output.escape(report.name)}")
            output.print_results(report)
            if not quiet:
                await follow.print_epilogue(session, report)
        for error in unusable.values():
            output.print_note(f"error: {output.escape(error.message)}")
        if ended and unusable:
            return RunUnusable.exit_code
        return follow.combine_exit_codes(reports) if ended else follow.INTERRUPTED


async def _select_runs(
    settings: Settings, prefixes: tuple[str, ...]
) -> tuple[dict[str, int], dict[str, RunUnusable]]:
    """The full ids of the runs, or of every unfinished run, oldest first, if none is given.

    Maps each to the number of its last event. The second value has the runs that were set apart
    while they were running: they are resumed only by their id.
    """
    from agenthive.core.engine.engine_state import unusable_run_error
    from agenthive.hive import open_journal

    async with open_journal(settings.home) as journal:
        if prefixes:
            runs = [await journal.find_run(run) for run in prefixes]
        else:
            set_apart = await journal.list_set_apart()
            untouched = {*await journal.list_unresumed_imports(), *set_apart}
            rows = reversed(await journal.list_runs(unfinished=True))
            runs = [row.run for row in rows if row.run not in untouched]
        unusable = {}
        if not prefixes:
            for run, reason in set_apart.items():
                hint = f"`agenthive resume {run}` makes its last calls again."
                unusable[run] = unusable_run_error(run, reason, hint)
        return {run: await journal.last_seq(run) for run in runs}, unusable
