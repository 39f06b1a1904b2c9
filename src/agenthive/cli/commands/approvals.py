"""`agenthive approvals [RUN]`: what people are asked."""

from __future__ import annotations

from pathlib import Path

import click

from agenthive.cli.support.options import home_option, json_option, load_settings


@click.command(name="approvals", short_help="List the approvals that are waited for.")
@click.argument("run", required=False)
@home_option
@json_option
def command(run: str | None, home: Path | None, as_json: bool) -> int:
    """List the approvals that RUN waits for, or all open runs, with what would be done.

    `agenthive approve RUN TASK` and `agenthive reject RUN TASK` answer them.
    """
    import asyncio

    return asyncio.run(_list_approvals(home, run, as_json=as_json))


async def _list_approvals(home: Path | None, run: str | None, *, as_json: bool) -> int:
    import msgspec

    from agenthive.cli.support import output
    from agenthive.hive import open_journal

    settings = load_settings(home)
    async with open_journal(settings.home) as journal:
        approvals = await journal.list_approvals(
            None if run is None else await journal.find_run(run)
        )
    if as_json:
        output.print_document("approvals", approvals=msgspec.to_builtins(approvals))
        return 0
    if not approvals:
        output.print_note("no approval is waited for")
        return 0
    for approval in approvals:
        people = ", ".join(approval.approvers) or "anybody"
        output.print_line(f"{approval.run}  {output.escape(approval.task)}")
        if approval.message:
            output.print_line(f"  {output.escape(approval.message)}")
        payload = msgspec.json.encode(approval.payload).decode()
        output.print_line(f"  would do: {output.truncate(output.escape(payload))}")
        until = (
            f", until {output.format_time(approval.deadline)}"
            if approval.deadline is not None
            else ""
        )
        votes = f"{len(approval.agreed)} of {approval.quorum}"
        output.print_line(f"  asked: {output.escape(people)} ({votes}){until}")
        output.print_line(f"  digest: {approval.digest[:16]}")
    return 0
