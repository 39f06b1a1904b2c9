"""`agenthive replay RUN`: replay the events of a run without calling any agent."""

from __future__ import annotations

from pathlib import Path

import click

from agenthive.cli.support.options import home_option, json_option, load_settings


@click.command(name="replay", short_help="Replay the events of a run without calling any agent.")
@click.argument("run")
@click.option("--until", type=click.IntRange(1), metavar="N", help="Stop after event number N.")
@home_option
@json_option
def command(run: str, until: int | None, home: Path | None, as_json: bool) -> int:
    """Verify the hash chain of RUN (an id or its beginning) and replay its events under the rules
    of this version. No agent is called and nothing is written.

    Shows each event, and the state of the tasks at the end or after event N. Exit code 1 if the
    final state differs from that in the run list.
    """
    import asyncio

    return asyncio.run(_replay_run(run, until, home, as_json=as_json))


async def _replay_run(run: str, until: int | None, home: Path | None, *, as_json: bool) -> int:
    from agenthive.cli.support import output
    from agenthive.hive import open_journal

    async with open_journal(load_settings(home).home) as journal:
        run_id = await journal.find_run(run)
        events = [event async for event in journal.read_events(run_id, 0)]
        shown_events = events[:until]
        report = await journal.read_report(run_id, until)
        row = await journal.read_row(run_id)
    matches = until is not None or (report.status, report.completed_tasks) == (
        row.status,
        row.completed_tasks if row.finished else report.completed_tasks,
    )
    if as_json:
        states = {name: task.status for name, task in report.tasks.items()}
        output.print_document(
            "replay",
            run_id=run_id,
            facts=len(shown_events),
            status=report.status,
            agrees=matches,
            tasks=states,
        )
        return int(not matches)
    rows = [
        (str(event.seq), output.format_time(event.at), event.type, event.text)
        for event in shown_events
    ]
    output.print_table(("NO", "TIME", "EVENT", "DETAIL"), rows)
    output.print_line()
    task_rows = [(name, task.status, str(task.attempts)) for name, task in report.tasks.items()]
    output.print_table(("TASK", "STATUS", "ATTEMPTS"), task_rows)
    verdict = "no agent was called" if matches else f"but the run list says {row.status}"
    output.print_line(f"\nstatus after {len(shown_events):,} events: {report.status}; {verdict}")
    return int(not matches)
