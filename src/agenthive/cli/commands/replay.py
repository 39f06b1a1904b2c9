"""`agenthive replay RUN`: apply a run's facts again, calling nobody."""

from __future__ import annotations

from pathlib import Path

import click

from agenthive.cli.support.options import home_option, json_option, settings_of


@click.command(name="replay", short_help="Apply a run's facts again, calling nobody.")
@click.argument("run")
@click.option("--until", type=click.IntRange(1), metavar="N", help="Stop after fact number N.")
@home_option
@json_option
def command(run: str, until: int | None, home: Path | None, as_json: bool) -> int:
    """Check the hash chain of RUN (an id or its beginning), and apply its facts one by one under
    the rules of this version. No agent is called and nothing is written.

    Shows what came of each fact, and the state in the end or after fact N. Exit code 1 if the end
    is not the one in the run list.
    """
    import asyncio

    return asyncio.run(_replay(run, until, home, as_json=as_json))


async def _replay(run: str, until: int | None, home: Path | None, *, as_json: bool) -> int:
    from agenthive.cli.support import output
    from agenthive.hive import reading

    async with reading(settings_of(home).home) as archive:
        found = await archive.find(run)
        told = [fact async for fact in archive.events(found, 0)]
        shown = told[:until]
        report = await archive.report(found, until)
        row = await archive.row(found)
    agrees = until is not None or (report.status, report.completed_tasks) == (
        row.status, row.completed_tasks if row.finished else report.completed_tasks,
    )  # fmt: skip
    if as_json:
        states = {name: task.status for name, task in report.tasks.items()}
        output.document(
            "replay", run_id=found, facts=len(shown), status=report.status, agrees=agrees,
            tasks=states,
        )  # fmt: skip
        return int(not agrees)
    rows = [(str(one.seq), output.moment(one.at), one.type, one.text) for one in shown]
    output.table(("NO", "TIME", "FACT", "WHAT HAPPENED"), rows)
    output.line()
    ends = [(name, task.status, str(task.attempts)) for name, task in report.tasks.items()]
    output.table(("TASK", "STATUS", "ATTEMPTS"), ends)
    what = "nobody was called" if agrees else f"but the run list says {row.status}"
    output.line(f"\n{len(shown):,} facts lead to: {report.status}; {what}")
    return int(not agrees)
