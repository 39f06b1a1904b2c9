"""`agenthive approvals [RUN]`: what people are asked."""

from __future__ import annotations

from pathlib import Path

import click

from agenthive.cli.support.options import home_option, json_option, settings_of


@click.command(name="approvals", short_help="List the approvals that are waited for.")
@click.argument("run", required=False)
@home_option
@json_option
def command(run: str | None, home: Path | None, as_json: bool) -> int:
    """List the approvals that RUN waits for, or all open runs, with what would be done.

    `agenthive approve RUN TASK` and `agenthive reject RUN TASK` answer them.
    """
    import asyncio

    return asyncio.run(_list(home, run, as_json=as_json))


async def _list(home: Path | None, run: str | None, *, as_json: bool) -> int:
    import msgspec

    from agenthive.cli.support import output
    from agenthive.hive import reading

    settings = settings_of(home)
    async with reading(settings.home) as archive:
        found = await archive.questions(None if run is None else await archive.find(run))
    if as_json:
        output.document("approvals", approvals=msgspec.to_builtins(found))
        return 0
    if not found:
        output.note("no approval is waited for")
        return 0
    for one in found:
        people = ", ".join(one.approvers) or "anybody"
        output.line(f"{one.run}  {output.safe(one.task)}")
        if one.message:
            output.line(f"  {output.safe(one.message)}")
        payload = msgspec.json.encode(one.payload).decode()
        output.line(f"  would do: {output.cut(output.safe(payload))}")
        until = f", until {output.moment(one.deadline)}" if one.deadline is not None else ""
        counted = f"{len(one.agreed)} of {one.quorum}"
        output.line(f"  asked: {output.safe(people)} ({counted}){until}")
        output.line(f"  digest: {one.digest[:16]}")
    return 0
