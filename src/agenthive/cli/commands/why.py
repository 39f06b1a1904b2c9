"""`agenthive why RUN`: one reason for each open task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from agenthive.cli.support.options import home_option, json_option, settings_of


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

    from agenthive.cli.support import output
    from agenthive.hive import reading

    settings = settings_of(home)
    async with reading(settings.home) as archive:
        found = await archive.find(run)
        owner = await _owner(settings.home)
        reasons = await archive.why(found, owner.get("trouble", ""))
        report = None if reasons else await archive.report(found)
    if as_json:
        output.document(
            "why", run_id=found, owner=owner.get("pid"), reasons=msgspec.to_builtins(reasons)
        )
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
    if not owner:
        output.note(f"no process has this home in hand: agenthive resume {found} goes on with it")
    return 0


async def _owner(home: Path) -> dict[str, Any]:
    """Who has the home in hand, and what troubles it; empty if nobody has."""
    from agenthive.errors import AgentHiveError
    from agenthive.infra.home import Home
    from agenthive.ipc.client import Caller

    try:
        return await Caller(Home(home)).status()
    except AgentHiveError:
        return {}
