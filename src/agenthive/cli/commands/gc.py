"""`agenthive gc`: delete ended runs whose retention time has passed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agenthive.cli.support.options import (
    home_option,
    json_option,
    load_settings,
    request_id_option,
)

if TYPE_CHECKING:
    from agenthive.core.history.retention import Retention
    from agenthive.settings import Settings

REPORT_EVERY = 1000
"""Deleted runs between two lines of progress."""
ENDED = (
    "completed",
    "partially_completed",
    "failed",
    "cancelled",
    "compensated",
    "compensation_failed",
)


@click.command(name="gc", short_help="Delete ended runs whose retention time has passed.")
@click.option("--dry-run", is_flag=True, help="Show what would be deleted, delete nothing.")
@click.option(
    "--older-than",
    metavar="TIME",
    default=None,
    help="Delete runs that ended longer ago than TIME (12h, 30d, 8w), not as the settings say.",
)
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(ENDED),
    help="Delete only runs with this status. Repeatable.",
)
@request_id_option
@home_option
@json_option
def command(
    dry_run: bool,
    older_than: str | None,
    statuses: tuple[str, ...],
    home: Path | None,
    as_json: bool,
) -> int:
    """Delete ended runs whose retention time has passed, with their records and results.

    The settings retention_completed, retention_failed and retention_others say how long runs are
    kept; by default they are kept forever. Open runs are never deleted. A deleted run leaves a
    tombstone in the journal, so that its absence is not mistaken for data loss. An interrupted
    command has deleted whole runs only and can be repeated.
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
    from agenthive.infra.clock import SystemClock
    from agenthive.infra.home import Home

    if not policy.limits:
        output.print_note("all runs are kept forever: set retention_completed, or use --older-than")
    due, totals = 0, _zero_totals()
    if Home(settings.home).journal.exists() and policy.limits:
        now = SystemClock().now()
        due, totals = await (
            _preview_prune(settings, policy, now) if dry_run else _prune_runs(settings, policy)
        )
    if as_json:
        output.print_document("gc", dry_run=dry_run, due=due, **totals)
        return 0
    content = output.format_size(totals["records"] + totals["blobs"] + totals["definitions"])
    verb = "would be deleted" if dry_run else "deleted"
    output.print_line(f"{totals['runs']:,} runs {verb} ({content})")
    if totals["returned"]:
        output.print_line(f"{output.format_size(totals['returned'])} returned to the file system")
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
                output.print_note(f"deleted {progress.runs:,} of {progress.due:,} runs")
    return totals.pop("due"), totals
