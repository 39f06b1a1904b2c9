"""`agenthive why RUN`: the reason why each open task waits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from agenthive.cli.support.options import home_option, json_option, load_settings


@click.command(name="why", short_help="Explain why the open tasks of a run are waiting.")
@click.argument("run")
@home_option
@json_option
def command(run: str, home: Path | None, as_json: bool) -> int:
    """Explain why each open task of RUN (an id or its beginning) is waiting, since when, and what
    unblocks it.
    """
    import asyncio

    return asyncio.run(_print_reasons(run, home, as_json=as_json))


async def _print_reasons(run: str, home: Path | None, *, as_json: bool) -> int:
    import msgspec

    from agenthive.cli.support import output
    from agenthive.hive import open_journal

    settings = load_settings(home)
    async with open_journal(settings.home) as journal:
        run_id = await journal.find_run(run)
        await journal.raise_if_set_apart(run_id)
        owner = await _read_owner(settings.home)
        reasons = await journal.list_reasons(run_id, owner.get("trouble", ""))
        report = None if reasons else await journal.read_report(run_id)
    if as_json:
        output.print_document(
            "why", run_id=run_id, owner=owner.get("pid"), reasons=msgspec.to_builtins(reasons)
        )
        return 0
    if report is not None:
        output.print_line(f"no task is waiting: the run is {report.status}")
        return 0
    for reason in reasons:
        since = output.format_time(reason.since)
        output.print_line(f"{output.escape(reason.task)}: {reason.kind}, since {since}")
        output.print_line(f"    {output.escape(reason.detail)}")
        if reason.unblock:
            how = "by:" if reason.unblock.startswith("agenthive ") else "when"
            output.print_line(f"    unblocked {how} {output.escape(reason.unblock)}")
    if not owner:
        output.print_note(
            f"no process owns this home; continue the run with: agenthive resume {run_id}"
        )
    return 0


async def _read_owner(home: Path) -> dict[str, Any]:
    """The status of the process that owns the home; empty if no process does."""
    from agenthive.errors import AgentHiveError
    from agenthive.infra.home import Home
    from agenthive.ipc.client import ControlClient

    try:
        return await ControlClient(Home(home)).status()
    except AgentHiveError:
        return {}
