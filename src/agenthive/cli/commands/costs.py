"""`agenthive costs [RUN]`: the cost of calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from agenthive.cli.support.options import home_option, json_option, load_settings
from agenthive.core.values import format_dollars
from agenthive.insights.costs import BY, Costs, CostTotals, Key, sum_totals

_DAY: Final = click.DateTime(formats=["%Y-%m-%d"])


@click.command(name="costs", short_help="Show the cost of calls by run, task, agent, model or day.")
@click.argument("run", required=False)
@click.option("--by", type=click.Choice(BY), help="Group by this.  [default: run; with RUN: task]")
@click.option(
    "--since", type=_DAY, metavar="DAY", help="Count only calls on this day (UTC) or later."
)
@click.option(
    "--until", type=_DAY, metavar="DAY", help="Count only calls on this day (UTC) or earlier."
)
@click.option(
    "--limit",
    "-n",
    type=click.IntRange(1, 1_000_000),
    default=50,
    show_default=True,
    help="Maximum number of rows, most expensive first.",
)
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
    """Show the cost of all calls of this home, or of the calls of RUN (an id or its beginning).

    The cost of a run includes its child runs. A call is counted once it has reported its usage, on
    the day on which it was made. Calls of unknown price are counted separately; set their price
    under [prices] in the settings.
    """
    import asyncio

    days = [
        day.date().isoformat() if day else fallback
        for day, fallback in ((since, ""), (until, "9999"))
    ]
    by = by or ("task" if run else "run")
    run_id, rows = asyncio.run(_read_costs(Costs(by, *days), run, load_settings(home).home))
    _show_costs(rows, by, run_id, limit, as_json=as_json)
    return 0


async def _read_costs(
    costs: Costs, run: str | None, home: Path
) -> tuple[str | None, list[tuple[Key, CostTotals]]]:
    from agenthive.cli.support import output
    from agenthive.hive import open_journal

    async with open_journal(home) as journal:
        run_id = None if run is None else await journal.find_run(run)
        damage: dict[str, str] = {}
        async for page in journal.read_pages(damage=damage):
            costs.add_records(page)
    output.print_damage(damage)
    return run_id, costs.sum_rows(run_id)


def _show_costs(
    rows: list[tuple[Key, CostTotals]], by: str, run: str | None, limit: int, *, as_json: bool
) -> None:
    from agenthive.cli.support import output

    names = ("run", "task") if by == "task" else (by,)
    grand_total = sum_totals(rows)
    if as_json:
        row_fields = [
            {**dict(zip(names, key, strict=True)), **_spent_fields(spent)} for key, spent in rows
        ]
        output.print_document(
            "costs",
            by=by,
            run_id=run,
            rows=row_fields[:limit],
            left_out=max(0, len(rows) - limit),
            total=_spent_fields(grand_total),
        )
        return
    heads = (*(name.upper() for name in names), "CALLS", "IN", "OUT", "CACHED", "COST")
    if rows:
        output.print_table(heads, [(*key, *_format_cells(spent)) for key, spent in rows[:limit]])
        output.print_line()
    if len(rows) > limit:
        output.print_line(f"{len(rows) - limit:,} more rows; use --limit {len(rows)} to show all")
    output.print_line(_format_total(grand_total))


def _format_cells(spent: CostTotals) -> tuple[str, ...]:
    counts = (spent.calls, spent.input_tokens, spent.output_tokens, spent.cache_read_tokens)
    unknown = f" + {spent.unpriced:,} unpriced" if spent.unpriced else ""
    return (*(f"{count:,}" for count in counts), format_dollars(spent.cost) + unknown)


def _format_total(grand_total: CostTotals) -> str:
    from agenthive.cli.support.output import describe_unpriced

    extras = ""
    if grand_total.assumed:
        extras += (
            f"; {format_dollars(grand_total.assumed)} captured for calls that reported no cost"
        )
    if grand_total.held:
        extras += f"; {format_dollars(grand_total.held)} held for calls without a response"
    if not grand_total.calls:
        return f"no call has reported its usage{extras}"
    return (
        f"total {format_dollars(grand_total.cost)} in {grand_total.calls:,} "
        f"calls{describe_unpriced(grand_total.unpriced)}{extras}"
    )


def _spent_fields(spent: CostTotals) -> dict[str, Any]:
    import msgspec

    fields: dict[str, Any] = msgspec.structs.asdict(spent)
    for name in ("cost", "assumed", "held"):
        nano = fields.pop(name)
        fields |= {f"{name}_usd": nano / 1e9, f"{name}_nano_usd": nano}
    return fields
