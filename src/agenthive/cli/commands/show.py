"""`agenthive show RUN`: the tasks, results and errors of a run, or the events of a task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agenthive.cli.support.options import home_option, json_option, load_settings

if TYPE_CHECKING:
    from agenthive.core.history.report import RunReport
    from agenthive.queries.journal_reader import JournalReader


@click.command(name="show", short_help="Show the tasks, results and errors of a run.")
@click.argument("run")
@click.option(
    "--task", metavar="NAME", help="Show the events that led to the state of this task instead."
)
@home_option
@json_option
def command(run: str, task: str | None, home: Path | None, as_json: bool) -> int:
    """Show the tasks of RUN (an id or its beginning) with attempts, times and tokens, and the
    results and errors of the run.

    With --task, show the events that led to the state of that task, with number and time.
    """
    import asyncio

    return asyncio.run(_show_run(run, task, home, as_json=as_json))


async def _show_run(run: str, task: str | None, home: Path | None, *, as_json: bool) -> int:
    from agenthive.cli.support import output
    from agenthive.core.engine.engine_state import DAMAGED_RUNS_PAGE
    from agenthive.hive import open_journal

    async with open_journal(load_settings(home).home) as journal:
        run_id = await journal.find_run(run)
        if task is not None:
            return await _print_story(journal, run_id, task, as_json=as_json)
        report = await journal.read_report(run_id)
        reason = (await journal.list_set_apart()).get(run_id)
    if as_json:
        fields = output.run_fields(report)
        if reason is not None:
            fields["set_apart"] = reason
        output.print_document("run", **fields)
        return 0
    if reason is not None:
        output.print_note(
            f"run {run_id} is set apart: {output.escape(reason)}; what to do: {DAMAGED_RUNS_PAGE}"
        )
    output.print_line(f"{report.run_id}  {output.escape(report.name)}\n")
    _print_tasks(report)
    output.print_line()
    output.print_results(report)
    if usage := output.format_usage(report):
        output.print_line(f"\n{usage}")
    return 0


def _print_tasks(report: RunReport) -> None:
    from agenthive.cli.support import output

    rows = []
    for name, task in report.tasks.items():
        duration = (task.ended or 0) - (task.started or 0)
        time = output.format_duration(duration / 1e6) if task.ended else "-"
        tokens = f"{task.tokens:,}" if task.tokens else "-"
        calls = f"{task.agent}: {output.truncate(task.action, 60)}" if task.agent else "-"
        rows.append((name, task.status, str(task.attempts), time, tokens, calls))
    output.print_table(("TASK", "STATUS", "ATTEMPTS", "TIME", "TOKENS", "CALL"), rows)


async def _print_story(journal: JournalReader, run: str, task: str, *, as_json: bool) -> int:
    import msgspec

    from agenthive.cli.support import output

    lines = await journal.read_story(run, task)
    if as_json:
        output.print_document("story", run_id=run, task=task, facts=msgspec.to_builtins(lines))
        return 0
    rows = [(str(line.seq), output.format_time(line.at), line.type, line.text) for line in lines]
    output.print_table(("NO", "TIME", "EVENT", "DETAIL"), rows)
    return 0
