"""`agenthive ps`: a list of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from agenthive.cli.support.options import home_option, json_option, load_settings

SET_APART = "set_apart"
"""The status that is shown for a run that cannot be continued."""


@click.command(name="ps", short_help="List runs.")
@click.option("--open", "only_open", is_flag=True, help="List only runs that have not ended.")
@click.option(
    "--limit",
    "-n",
    type=click.IntRange(1, 100_000),
    default=20,
    show_default=True,
    help="Maximum number of runs.",
)
@click.option("--metrics", is_flag=True, help="Show metrics of the whole journal instead.")
@home_option
@json_option
def command(only_open: bool, limit: int, metrics: bool, home: Path | None, as_json: bool) -> int:
    """List the runs of the home, newest first.

    A run that cannot be continued has the status set_apart, and the reason is shown below the list.
    Open runs are read for that; agenthive doctor also reads the ended ones.

    With --metrics, show the number of runs by status, the success rate, retries, circuit breaker
    trips, and the calls, failures, response times, tokens and cost of each agent.
    """
    import asyncio

    if metrics:
        return asyncio.run(_print_metrics(home, as_json=as_json))
    return asyncio.run(_list_runs(home, only_open=only_open, limit=limit, as_json=as_json))


async def _list_runs(home: Path | None, *, only_open: bool, limit: int, as_json: bool) -> int:
    import msgspec

    from agenthive.cli.support import output
    from agenthive.core.engine.engine_state import DAMAGED_RUNS_PAGE
    from agenthive.errors import RunNotFound, RunUnusable
    from agenthive.hive import open_journal

    settings = load_settings(home)
    async with open_journal(settings.home) as journal:
        rows = await journal.list_runs(unfinished=only_open, limit=limit)
        reasons = await journal.list_set_apart()
        for i, row in enumerate(rows):
            if row.finished is None:
                try:
                    completed_tasks = await journal.count_succeeded(row.run)
                    rows[i] = msgspec.structs.replace(row, completed_tasks=completed_tasks)
                except (RunUnusable, RunNotFound) as error:
                    reasons[row.run] = error.message.removeprefix(f"run {row.run} is set apart: ")
            if row.run in reasons:
                rows[i] = msgspec.structs.replace(rows[i], status=SET_APART)
    reasons = {row.run: reasons[row.run] for row in rows if row.run in reasons}
    if as_json:
        run_list = [msgspec.to_builtins(row) for row in rows]
        for fields in run_list:
            if fields["run"] in reasons:
                fields["reason"] = reasons[fields["run"]]
        output.print_document("run-list", runs=run_list)
        return 0
    if not rows:
        output.print_note(
            f"no open runs in {settings.home}" if only_open else f"no runs in {settings.home}"
        )
        return 0
    output.print_table(
        ("RUN", "NAME", "STATUS", "TASKS", "CREATED"),
        [
            (
                row.run,
                row.name,
                row.status,
                f"{row.completed_tasks}/{row.total_tasks}",
                output.format_time(row.created),
            )
            for row in rows
        ],
    )
    for run, reason in reasons.items():
        output.print_note(f"run {run} is set apart: {output.escape(reason)}")
    if reasons:
        output.print_note(f"the other runs are not affected; what to do: {DAMAGED_RUNS_PAGE}")
    return 0


async def _print_metrics(home: Path | None, *, as_json: bool) -> int:
    import msgspec

    from agenthive.cli.support import output
    from agenthive.hive import open_journal
    from agenthive.insights.metrics import MetricsFold

    fold = MetricsFold()
    async with open_journal(load_settings(home).home) as journal:
        damage: dict[str, str] = {}
        async for page in journal.read_pages(damage=damage):
            fold.add_records(page)
    output.print_damage(damage)
    metrics = msgspec.to_builtins(fold.metrics)
    if as_json:
        output.print_document("metrics", **metrics)
        return 0
    agents = metrics.pop("agents")
    runs = {f"runs {status}": count for status, count in metrics.pop("runs").items()}
    for name, value in (runs | metrics).items():
        name = name.replace("_", " ")
        output.print_line(
            f"{name:20} {value:.3f}" if isinstance(value, float) else f"{name:20} {value}"
        )
    if agents:
        output.print_line()
        heads = ("AGENT", "CALLS", "FAILURES", "MEAN", "LONGEST", "TOKENS", "COST")
        output.print_table(
            heads, [_format_agent(name, figures) for name, figures in agents.items()]
        )
    return 0


def _format_agent(name: str, figures: dict[str, Any]) -> tuple[str, ...]:
    from agenthive.cli.support.output import format_cost, format_duration

    counts = (str(figures["calls"]), str(figures["failures"]))
    times = (format_duration(figures["mean_time"]), format_duration(figures["longest_time"]))
    return (name, *counts, *times, f"{figures['tokens']:,}", format_cost(figures["cost_usd"]))
