"""`agenthive ps`: the runs of a home."""

from __future__ import annotations

from pathlib import Path

import click

from agenthive.cli.options import home_option, json_option, settings_of


@click.command(name="ps", short_help="List the runs of a home.")
@click.option("--open", "only_open", is_flag=True, help="Only runs that have not ended.")
@click.option(
    "--limit", "-n", type=click.IntRange(1, 100_000), default=20, show_default=True,
    help="How many at most, newest first.",
)  # fmt: skip
@home_option
@json_option
def command(only_open: bool, limit: int, home: Path | None, as_json: bool) -> int:
    """List the runs of the home, newest first."""
    import asyncio

    return asyncio.run(_list(home, only_open=only_open, limit=limit, as_json=as_json))


async def _list(home: Path | None, *, only_open: bool, limit: int, as_json: bool) -> int:
    import msgspec

    from agenthive.cli import output
    from agenthive.hive import reading

    settings = settings_of(home)
    async with reading(settings.home) as archive:
        rows = await archive.runs(unfinished=only_open, limit=limit)
        for i, row in enumerate(rows):
            if row.finished is None:
                done = await archive.progress(row.run)
                rows[i] = msgspec.structs.replace(row, completed_tasks=done)
    if as_json:
        output.document("run-list", runs=msgspec.to_builtins(rows))
        return 0
    if not rows:
        output.note(f"no runs in {settings.home}")
        return 0
    output.table(
        ("RUN", "NAME", "STATUS", "TASKS", "CREATED"),
        [
            (row.run, row.name, row.status, f"{row.completed_tasks}/{row.total_tasks}",
             output.moment(row.created))
            for row in rows
        ],
    )  # fmt: skip
    return 0
