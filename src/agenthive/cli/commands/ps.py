"""`agenthive ps`: the runs of a home."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from agenthive.cli.support.options import home_option, json_option, settings_of


@click.command(name="ps", short_help="List the runs of a home.")
@click.option("--open", "only_open", is_flag=True, help="Only runs that have not ended.")
@click.option(
    "--limit", "-n", type=click.IntRange(1, 100_000), default=20, show_default=True,
    help="How many at most, newest first.",
)  # fmt: skip
@click.option("--metrics", is_flag=True, help="Sums over the whole journal instead.")
@home_option
@json_option
def command(only_open: bool, limit: int, metrics: bool, home: Path | None, as_json: bool) -> int:
    """List the runs of the home, newest first.

    With --metrics: runs by status, success rate, retries, breakers, and how fast agents answer.
    """
    import asyncio

    if metrics:
        return asyncio.run(_sums(home, as_json=as_json))
    return asyncio.run(_list(home, only_open=only_open, limit=limit, as_json=as_json))


async def _list(home: Path | None, *, only_open: bool, limit: int, as_json: bool) -> int:
    import msgspec

    from agenthive.cli.support import output
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


async def _sums(home: Path | None, *, as_json: bool) -> int:
    import msgspec

    from agenthive.cli.support import output
    from agenthive.hive import reading
    from agenthive.insights.metrics import Fold

    fold = Fold()
    async with reading(settings_of(home).home) as archive:
        async for page in archive.pages():
            fold.take(page)
    found = msgspec.to_builtins(fold.metrics)
    if as_json:
        output.document("metrics", **found)
        return 0
    agents = found.pop("agents")
    runs = {f"runs {status}": count for status, count in found.pop("runs").items()}
    for name, value in (runs | found).items():
        name = name.replace("_", " ")
        output.line(f"{name:20} {value:.3f}" if isinstance(value, float) else f"{name:20} {value}")
    if agents:
        output.line()
        heads = ("AGENT", "CALLS", "FAILURES", "MEAN", "LONGEST", "TOKENS", "COST")
        output.table(heads, [_agent(name, figures) for name, figures in agents.items()])
    return 0


def _agent(name: str, figures: dict[str, Any]) -> tuple[str, ...]:
    from agenthive.cli.support.output import money, span

    counts = (str(figures["calls"]), str(figures["failures"]))
    times = (span(figures["mean_time"]), span(figures["longest_time"]))
    return (name, *counts, *times, f"{figures['tokens']:,}", money(figures["cost_usd"]))
