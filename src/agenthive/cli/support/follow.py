"""Following runs until they end or wait: progress, interruption, results, exit codes.

Shared by the commands that run or resume workflows. Decides nothing about a run.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping, Sequence
from typing import Final

from agenthive.cli.support import output
from agenthive.cli.support.interrupts import Interrupts
from agenthive.cli.support.progress import choose_view
from agenthive.cli.support.session import Session
from agenthive.core.history.report import RunReport
from agenthive.core.model.states import CLOSED, Reason, ReasonKind, RunStatus
from agenthive.errors import RunUnusable
from agenthive.hive import open_journal

GRAVEST: Final = (1, 9, 6, 7, 8)
"""The exit code for several runs: the first of these that one of them ended with."""
INTERRUPTED: Final = 130
"""The exit code after SIGINT, as shells have it: 128 + 2."""
WATCHED: Final = 16
"""Runs that are watched at once: the owner of a home accepts a bounded number of connections."""


async def leave_home(session: Session, interrupts: Interrupts, *, interrupted: bool) -> None:
    """Close the session: drain first; a further Ctrl-C stops the calls in flight."""
    if interrupted and session.hive is not None:
        output.print_note(
            "interrupted: waiting for calls in flight to finish (press Ctrl-C again to stop now)"
        )
    if not await interrupts.run_to_end(session.close(drain=True)):
        await session.close(drain=False)


async def follow_run(
    session: Session, run: str, name: str, total: int, *, quiet: bool, after: int = 0
) -> None:
    """Show a run until it ends or waits for input; count events up to ``after`` silently."""
    view = None if quiet else choose_view(name, total)
    try:
        async for event in session.watch(run):
            if view is not None:
                view.show_event(event, old=event.seq <= after)
    finally:
        if view is not None:
            view.close()


async def follow_runs(
    session: Session,
    last_events: Mapping[str, int],
    *,
    quiet: bool,
    unusable: dict[str, RunUnusable] | None = None,
) -> None:
    """Follow several runs at once; show the progress of a single run, else only the endings.

    ``last_events`` maps each run to the number of its last event before this command started. Runs
    that cannot be continued are added to ``unusable``, with the reason; without it, they raise.
    """
    if len(last_events) == 1:
        [(run, after)] = last_events.items()
        try:
            report = await session.report(run)
            total = report.total_tasks
            await follow_run(session, run, report.name, total, quiet=quiet, after=after)
        except RunUnusable as error:
            if unusable is None:
                raise
            unusable[run] = error
        return

    slots = asyncio.Semaphore(WATCHED)

    async def watch_run(run: str) -> None:
        try:
            async with slots:
                async for _ in session.watch(run):
                    pass
            report = await session.report(run)
        except RunUnusable as error:
            if unusable is None:
                raise
            unusable[run] = error
            return
        if not quiet:
            output.print_note(output.format_ending(report))

    await asyncio.gather(*map(watch_run, last_events))


async def print_epilogue(session: Session, report: RunReport) -> None:
    """Print on standard error: tokens and cost, the journal, and the next command."""
    home = session.settings.home
    home_option = f" --home {shlex.quote(str(home))}"
    if usage := output.format_usage(report):
        output.print_note(f"\n{usage}")
    output.print_note(f"journal: {home / 'journal.db'}")
    if RunStatus(report.status) in CLOSED:
        output.print_note(f"next: agenthive show {report.run_id}{home_option}")
        return
    output.print_note("the run has not ended:")
    async with open_journal(home) as journal:
        reasons = await journal.list_reasons(report.run_id)
    for reason in reasons[:10]:
        output.print_note(f"  {output.escape(reason.task)}: {output.escape(reason.detail)}")
    output.print_note(f"next: {suggest_next_step(report.run_id, reasons)}{home_option}")


def suggest_next_step(run: str, reasons: Sequence[Reason]) -> str:
    """The command that unblocks a run that waits."""
    for reason in reasons:
        if reason.kind in (ReasonKind.APPROVAL, ReasonKind.SIGNAL):
            # The core names the commands that unblock a task, separated by ", or ".
            return reason.unblock.partition(", or ")[0]
    if any(reason.kind is ReasonKind.OUTCOME for reason in reasons):
        return f"agenthive why {run}"
    return f"agenthive resume {run}"


def combine_exit_codes(reports: Sequence[RunReport]) -> int:
    """The exit code for all of these runs."""
    codes = {report.exit_code for report in reports} - {0}
    return next((code for code in GRAVEST if code in codes), max(codes, default=0))
