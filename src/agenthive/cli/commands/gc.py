"""`agenthive gc`: drop runs that ended long ago."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agenthive.cli.support.options import home_option, json_option, load_settings

if TYPE_CHECKING:
    from agenthive.core.history.retention import Retention
    from agenthive.settings import Settings

REPORT_EVERY = 1000
"""Runs between two words about how far it is."""
ENDED = (
    "completed",
    "partially_completed",
    "failed",
    "cancelled",
    "compensated",
    "compensation_failed",
)


@click.command(name="gc", short_help="Drop runs that ended long ago, and give their room back.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option(
    "--older-than",
    metavar="TIME",
    default=None,
    help="Drop what ended longer ago than this (12h, 30d, 8w), whatever the settings say.",
)
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(ENDED),
    help="Only runs that ended so. May be repeated.",
)
@home_option
@json_option
def command(
    dry_run: bool,
    older_than: str | None,
    statuses: tuple[str, ...],
    home: Path | None,
    as_json: bool,
) -> int:
    """Drop ended runs whose time is over: records, results, and definitions nobody else uses.

    How long runs are kept say the settings retention_completed, retention_failed and
    retention_others; they are kept forever unless something is set. An open run is never dropped.
    Each run leaves a tombstone, so that nobody takes its absence for damage. Runs go a hundred a
    transaction: what is interrupted has dropped whole runs only, and may be asked for again.
    """
    import asyncio

    settings = load_settings(home)
    policy = _build_policy(settings, older_than, statuses)
    return asyncio.run(_run_gc(settings, policy, dry_run=dry_run, as_json=as_json))


def _build_policy(
    settings: Settings, older_than: str | None, statuses: tuple[str, ...]
) -> Retention:
    from agenthive.core.history import retention
    from agenthive.core.model.states import RunStatus

    run_statuses = [RunStatus(status) for status in statuses]
    if older_than is None:
        limits = settings.retention.limits
        selected_limits = {
            run_status: age
            for run_status, age in limits.items()
            if not run_statuses or run_status in run_statuses
        }
        return retention.Retention(limits=selected_limits)
    try:
        age = retention.parse_span(older_than)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--older-than") from error
    return retention.Retention() if age is None else retention.older_than(age, run_statuses)


async def _run_gc(settings: Settings, policy: Retention, *, dry_run: bool, as_json: bool) -> int:
    from agenthive.cli.support import output
    from agenthive.infra.clock import SteadyClock
    from agenthive.infra.home import Home

    if not policy.limits:
        output.print_note("every run is kept forever: set retention_completed or give --older-than")
    due, totals = 0, _zero_totals()
    if Home(settings.home).journal.exists() and policy.limits:
        now = SteadyClock().now()
        due, totals = await (
            _preview_prune(settings, policy, now) if dry_run else _prune_runs(settings, policy)
        )
    if as_json:
        output.print_document("gc", dry_run=dry_run, due=due, **totals)
        return 0
    content = output.format_size(totals["records"] + totals["blobs"] + totals["definitions"])
    verb = "would go" if dry_run else "dropped"
    output.print_line(f"{totals['runs']:,} runs {verb}, {content} of content")
    if totals["returned"]:
        output.print_line(f"{output.format_size(totals['returned'])} given back to the disk")
    return 0


def _zero_totals() -> dict[str, Any]:
    return dict.fromkeys(("runs", "records", "blobs", "definitions", "returned"), 0)


async def _preview_prune(
    settings: Settings, policy: Retention, now: int
) -> tuple[int, dict[str, Any]]:
    from agenthive.hive import open_journal

    async with open_journal(settings.home) as journal:
        rows, sizes = await journal.storage.list_due_runs(policy, now)
    totals = _zero_totals() | {"runs": len(rows)}
    for name in ("records", "blobs", "definitions"):
        totals[name] = getattr(sizes, name)
    return len(rows), totals


async def _prune_runs(settings: Settings, policy: Retention) -> tuple[int, dict[str, Any]]:
    import msgspec

    from agenthive.cli.support import output
    from agenthive.cli.support.session import Session

    totals: dict[str, Any] = _zero_totals() | {"due": 0}
    last_reported = 0
    async with Session(settings) as session:
        async for progress in session.prune(policy):
            totals = msgspec.to_builtins(progress)
            if progress.runs >= last_reported + REPORT_EVERY:
                last_reported = progress.runs
                output.print_note(f"dropped {progress.runs:,} of {progress.due:,} runs")
    return totals.pop("due"), totals
