"""`agenthive approvals [RUN]`: the pending approvals."""

from __future__ import annotations

from pathlib import Path

import click

from agenthive.cli.support.options import home_option, json_option, load_settings


@click.command(name="approvals", short_help="List pending approvals.")
@click.argument("run", required=False)
@home_option
@json_option
def command(run: str | None, home: Path | None, as_json: bool) -> int:
    """List the pending approvals of RUN (an id or its beginning), or of all open runs.

    Each is shown with the action that would be executed, its approvers and its digest. Decide with
    `agenthive approve RUN TASK` or `agenthive reject RUN TASK`.
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
        output.print_note("no pending approvals")
        return 0
    for approval in approvals:
        people = ", ".join(approval.approvers) or "any user"
        output.print_line(f"{approval.run}  {output.escape(approval.task)}")
        if approval.message:
            output.print_line(f"  {output.escape(approval.message)}")
        payload = msgspec.json.encode(approval.payload).decode()
        output.print_line(f"  action: {output.truncate(output.escape(payload))}")
        until = (
            f", until {output.format_time(approval.deadline)}"
            if approval.deadline is not None
            else ""
        )
        votes = f"{len(approval.agreed)} of {approval.quorum}"
        output.print_line(f"  approvers: {output.escape(people)} ({votes} approved){until}")
        output.print_line(f"  digest: {approval.digest[:16]}")
    return 0
