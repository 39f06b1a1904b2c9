"""`agenthive costs [RUN]`: what calls cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from agenthive.cli.support.options import home_option, json_option, settings_of
from agenthive.core.values import dollars
from agenthive.insights.costs import BY, Costs, Key, Spent, total

_DAY: Final = click.DateTime(formats=["%Y-%m-%d"])


@click.command(name="costs", short_help="Show what calls cost, by run, task, agent, model or day.")
@click.argument("run", required=False)
@click.option("--by", type=click.Choice(BY), help="What to sum by: run; with RUN, task.")
@click.option("--since", type=_DAY, metavar="DAY", help="Only calls of this day (UTC) or later.")
@click.option("--until", type=_DAY, metavar="DAY", help="Only calls of this day (UTC) or earlier.")
@click.option(
    "--limit", "-n", type=click.IntRange(1, 1_000_000), default=50, show_default=True,
    help="How many rows to show, dearest first.",
)  # fmt: skip
@home_option
@json_option
def command(
    run: str | None,
    by: str | None,
    since: Any,
    until: Any,
    limit: int,
    home: Path | None,
    as_json: bool,
) -> int:
    """Show what the calls of this home cost; with RUN (an id or its beginning), of that run only.

    A run is shown with the runs below it. A call counts when it has said what it used, on the day
    it was made. Calls whose price nobody knows are counted apart: write it under [prices] in the
    settings.
    """
    import asyncio

    days = [
        day.date().isoformat() if day else other for day, other in ((since, ""), (until, "9999"))
    ]
    by = by or ("task" if run else "run")
    found, rows = asyncio.run(_read(Costs(by, *days), run, settings_of(home).home))
    _show(rows, by, found, limit, as_json=as_json)
    return 0


async def _read(
    costs: Costs, run: str | None, home: Path
) -> tuple[str | None, list[tuple[Key, Spent]]]:
    from agenthive.hive import reading

    async with reading(home) as archive:
        found = None if run is None else await archive.find(run)
        async for page in archive.pages():
            costs.take(page)
    return found, costs.rows(found)


def _show(
    rows: list[tuple[Key, Spent]], by: str, run: str | None, limit: int, *, as_json: bool
) -> None:
    from agenthive.cli.support import output

    names = ("run", "task") if by == "task" else (by,)
    whole = total(rows)
    if as_json:
        shown = [{**dict(zip(names, key, strict=True)), **_plain(spent)} for key, spent in rows]
        output.document(
            "costs", by=by, run_id=run, rows=shown[:limit], left_out=max(0, len(rows) - limit),
            total=_plain(whole),
        )  # fmt: skip
        return
    heads = (*(name.upper() for name in names), "CALLS", "IN", "OUT", "CACHED", "COST")
    if rows:
        output.table(heads, [(*key, *_cells(spent)) for key, spent in rows[:limit]])
        output.line()
    if len(rows) > limit:
        output.line(f"{len(rows) - limit:,} more rows; all of them with --limit {len(rows)}")
    output.line(_sentence(whole))


def _cells(spent: Spent) -> tuple[str, ...]:
    counts = (spent.calls, spent.input_tokens, spent.output_tokens, spent.cache_read_tokens)
    unknown = f" + {spent.unpriced:,} unpriced" if spent.unpriced else ""
    return (*(f"{count:,}" for count in counts), dollars(spent.cost) + unknown)


def _sentence(whole: Spent) -> str:
    from agenthive.cli.support.output import without

    beside = ""
    if whole.assumed:
        beside += f"; {dollars(whole.assumed)} booked for calls that never said what they cost"
    if whole.held:
        beside += f"; {dollars(whole.held)} held for calls that have not answered"
    if not whole.calls:
        return f"no call has said what it used{beside}"
    return f"total {dollars(whole.cost)} in {whole.calls:,} calls{without(whole.unpriced)}{beside}"


def _plain(spent: Spent) -> dict[str, Any]:
    import msgspec

    found: dict[str, Any] = msgspec.structs.asdict(spent)
    for name in ("cost", "assumed", "held"):
        nano = found.pop(name)
        found |= {f"{name}_usd": nano / 1e9, f"{name}_nano_usd": nano}
    return found
