"""Following runs to their end: progress, interruption, results, exit codes.

What `run` and `resume` have in common. Decides nothing about a run.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping, Sequence
from typing import Final

from agenthive.cli.support import output
from agenthive.cli.support.interrupts import Interrupts
from agenthive.cli.support.progress import progress
from agenthive.cli.support.session import Session
from agenthive.core.history.report import RunReport
from agenthive.core.model.states import CLOSED, Reason, ReasonKind, RunStatus
from agenthive.hive import reading

GRAVEST: Final = (1, 9, 6, 7, 8)
"""Exit codes of several runs: the first of these that one of them ended with."""
INTERRUPTED: Final = 130
WATCHED: Final = 16
"""Runs that are watched at once: an owner hears only so many callers."""


async def leave(session: Session, interrupts: Interrupts, *, told: bool) -> None:
    """Let go of the home: drain first; a further Ctrl-C stops what is still under way."""
    if told and session.hive is not None:
        output.note("interrupted: calls under way may end (Ctrl-C again: stop now)")
    if not await interrupts.finishes(session.close(drain=True)):
        await session.close(drain=False)


async def follow(
    session: Session, run: str, name: str, total: int, *, quiet: bool, after: int = 0
) -> None:
    """Show a run until it ends or needs somebody; facts up to number ``after`` are only counted."""
    view = None if quiet else progress(name, total)
    try:
        async for fact in session.watch(run):
            if view is not None:
                view.take(fact, old=fact.seq <= after)
    finally:
        if view is not None:
            view.close()


async def follow_all(session: Session, known: Mapping[str, int], *, quiet: bool) -> None:
    """Follow several runs at once; one is shown, of more only the endings.

    ``known`` maps each to the number of its last fact before we came.
    """
    if len(known) == 1:
        [(run, after)] = known.items()
        report = await session.report(run)
        total = report.total_tasks
        await follow(session, run, report.name, total, quiet=quiet, after=after)
        return

    few = asyncio.Semaphore(WATCHED)

    async def one(run: str) -> None:
        async with few:
            async for _ in session.watch(run):
                pass
        report = await session.report(run)
        if not quiet:
            output.note(output.ending(report))

    await asyncio.gather(*map(one, known))


async def epilogue(session: Session, report: RunReport) -> None:
    """Beside the results: tokens, the journal, what to do next."""
    home = session.settings.home
    where = f" --home {shlex.quote(str(home))}"
    if used := output.spent(report):
        output.note(f"\n{used}")
    output.note(f"journal: {home / 'journal.db'}")
    if RunStatus(report.status) in CLOSED:
        output.note(f"next: agenthive show {report.run_id}{where}")
        return
    output.note("the run is not finished:")
    async with reading(home) as archive:
        reasons = await archive.why(report.run_id)
    for reason in reasons[:10]:
        output.note(f"  {output.safe(reason.task)}: {output.safe(reason.detail)}")
    output.note(f"next: {next_step(report.run_id, reasons)}{where}")


def next_step(run: str, reasons: Sequence[Reason]) -> str:
    """The command that moves a run which stands."""
    for reason in reasons:
        if reason.kind in (ReasonKind.APPROVAL, ReasonKind.SIGNAL):
            return reason.unblock.partition(", or ")[0]
    if any(reason.kind is ReasonKind.OUTCOME for reason in reasons):
        return f"agenthive why {run}"
    return f"agenthive resume {run}"


def exit_code(reports: Sequence[RunReport]) -> int:
    """The code for all of these runs."""
    codes = {report.exit_code for report in reports} - {0}
    return next((code for code in GRAVEST if code in codes), max(codes, default=0))
