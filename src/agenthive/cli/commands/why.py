"""`agenthive why RUN`: one reason for each open task."""

from __future__ import annotations

from pathlib import Path

import click

from agenthive.cli.options import home_option, json_option, settings_of


@click.command(name="why", short_help="Say why each open task of a run does not go on.")
@click.argument("run")
@home_option
@json_option
def command(run: str, home: Path | None, as_json: bool) -> int:
    """Say of each open task of RUN (an id or its beginning) what it waits for, since when, and
    what would unblock it.
    """
    import asyncio

    return asyncio.run(_why(run, home, as_json=as_json))


async def _why(run: str, home: Path | None, *, as_json: bool) -> int:
    import msgspec

    from agenthive.cli import output
    from agenthive.hive import reading

    async with reading(settings_of(home).home) as archive:
        found = await archive.find(run)
        reasons = await archive.why(found)
        report = None if reasons else await archive.report(found)
    if as_json:
        output.document("why", run_id=found, reasons=msgspec.to_builtins(reasons))
        return 0
    if report is not None:
        output.line(f"Nothing waits: the run is {report.status}.")
        return 0
    for reason in reasons:
        since = output.moment(reason.since)
        output.line(f"{output.safe(reason.task)}: {reason.kind}, since {since}")
        output.line(f"    {output.safe(reason.detail)}")
        if reason.unblock:
            output.line(f"    unblocked by: {output.safe(reason.unblock)}")
    return 0
