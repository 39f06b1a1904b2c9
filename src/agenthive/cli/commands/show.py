"""`agenthive show RUN`: what a run came to; with a task, its story."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agenthive.cli.support.options import home_option, json_option, settings_of

if TYPE_CHECKING:
    from agenthive.core.history.report import RunReport
    from agenthive.queries.journal_reader import Archive


@click.command(name="show", short_help="Show what a run came to.")
@click.argument("run")
@click.option("--task", metavar="NAME", help="The story of one task instead.")
@home_option
@json_option
def command(run: str, task: str | None, home: Path | None, as_json: bool) -> int:
    """Show RUN (an id or its beginning): tasks, attempts, times, tokens, results, errors.

    With --task, the facts that made that task what it is, each with its number and time.
    """
    import asyncio

    return asyncio.run(_show(run, task, home, as_json=as_json))


async def _show(run: str, task: str | None, home: Path | None, *, as_json: bool) -> int:
    from agenthive.cli.support import output
    from agenthive.hive import reading

    async with reading(settings_of(home).home) as archive:
        found = await archive.find(run)
        if task is not None:
            return await _story(archive, found, task, as_json=as_json)
        report = await archive.report(found)
    if as_json:
        output.document("run", **output.run_document(report))
        return 0
    output.line(f"{report.run_id}  {output.safe(report.name)}\n")
    _tasks(report)
    output.line()
    output.results(report)
    if used := output.spent(report):
        output.line(f"\n{used}")
    return 0


def _tasks(report: RunReport) -> None:
    from agenthive.cli.support import output

    rows = []
    for name, task in report.tasks.items():
        took = (task.ended or 0) - (task.started or 0)
        time = output.span(took / 1e6) if task.ended else "-"
        tokens = f"{task.tokens:,}" if task.tokens else "-"
        calls = f"{task.agent}: {output.cut(task.action, 60)}" if task.agent else "-"
        rows.append((name, task.status, str(task.attempts), time, tokens, calls))
    output.table(("TASK", "STATUS", "ATTEMPTS", "TIME", "TOKENS", "CALLS"), rows)


async def _story(archive: Archive, run: str, task: str, *, as_json: bool) -> int:
    import msgspec

    from agenthive.cli.support import output

    lines = await archive.story(run, task)
    if as_json:
        output.document("story", run_id=run, task=task, facts=msgspec.to_builtins(lines))
        return 0
    rows = [(str(one.seq), output.moment(one.at), one.type, one.text) for one in lines]
    output.table(("NO", "TIME", "FACT", "WHAT HAPPENED"), rows)
    return 0
