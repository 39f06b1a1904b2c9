"""`agenthive gc`: drop runs that ended long ago."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agenthive.cli.support.options import home_option, json_option, settings_of

if TYPE_CHECKING:
    from agenthive.core.history.retention import Retention
    from agenthive.settings import Settings

TOLD_EVERY = 1000
"""Runs between two words about how far it is."""
ENDED = (
    "completed", "partially_completed", "failed", "cancelled", "compensated", "compensation_failed",
)  # fmt: skip


@click.command(name="gc", short_help="Drop runs that ended long ago, and give their room back.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option(
    "--older-than", metavar="TIME", default=None,
    help="Drop what ended longer ago than this (12h, 30d, 8w), whatever the settings say.",
)  # fmt: skip
@click.option(
    "--status", "statuses", multiple=True, type=click.Choice(ENDED),
    help="Only runs that ended so. May be repeated.",
)  # fmt: skip
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

    settings = settings_of(home)
    policy = _policy(settings, older_than, statuses)
    return asyncio.run(_gc(settings, policy, dry_run=dry_run, as_json=as_json))


def _policy(settings: Settings, older_than: str | None, statuses: tuple[str, ...]) -> Retention:
    from agenthive.core.history import retention
    from agenthive.core.model.states import RunStatus

    wanted = [RunStatus(status) for status in statuses]
    if older_than is None:
        limits = settings.retention.limits
        kept = {s: age for s, age in limits.items() if not wanted or s in wanted}
        return retention.Retention(limits=kept)
    try:
        age = retention.span(older_than)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--older-than") from error
    return retention.Retention() if age is None else retention.older_than(age, wanted)


async def _gc(settings: Settings, policy: Retention, *, dry_run: bool, as_json: bool) -> int:
    from agenthive.cli.support import output
    from agenthive.infra.clock import SteadyClock
    from agenthive.infra.home import Home

    if not policy.limits:
        output.note("every run is kept forever: set retention_completed or give --older-than")
    due, told = 0, _nothing()
    if Home(settings.home).journal.exists() and policy.limits:
        now = SteadyClock().now()
        due, told = await (_would_go(settings, policy, now) if dry_run else _go(settings, policy))
    if as_json:
        output.document("gc", dry_run=dry_run, due=due, **told)
        return 0
    content = output.size(told["records"] + told["blobs"] + told["definitions"])
    said = "would go" if dry_run else "dropped"
    output.line(f"{told['runs']:,} runs {said}, {content} of content")
    if told["returned"]:
        output.line(f"{output.size(told['returned'])} given back to the disk")
    return 0


def _nothing() -> dict[str, Any]:
    return dict.fromkeys(("runs", "records", "blobs", "definitions", "returned"), 0)


async def _would_go(settings: Settings, policy: Retention, now: int) -> tuple[int, dict[str, Any]]:
    from agenthive.hive import reading

    async with reading(settings.home) as archive:
        rows, sizes = await archive.due(policy, now)
    told = _nothing() | {"runs": len(rows)}
    for name in ("records", "blobs", "definitions"):
        told[name] = getattr(sizes, name)
    return len(rows), told


async def _go(settings: Settings, policy: Retention) -> tuple[int, dict[str, Any]]:
    import msgspec

    from agenthive.cli.support import output
    from agenthive.cli.support.session import Session

    told: dict[str, Any] = _nothing() | {"due": 0}
    said = 0
    async with Session(settings) as session:
        async for done in session.collect(policy):
            told = msgspec.to_builtins(done)
            if done.runs >= said + TOLD_EVERY:
                said = done.runs
                output.note(f"dropped {done.runs:,} of {done.due:,} runs")
    return told.pop("due"), told
