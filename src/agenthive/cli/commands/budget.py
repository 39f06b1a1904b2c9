"""`agenthive budget ...`: limits, spending, and calls whose cost is unknown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from agenthive.cli.support.options import (
    F,
    agents_option,
    home_option,
    json_option,
    load_settings,
    request_id_option,
)

if TYPE_CHECKING:
    from agenthive.insights.budgets import BudgetLine, OpenHold

_REASON: Final = click.option("--reason", default="", metavar="TEXT", help="Reason to record.")


class _Dollars(click.ParamType[int]):
    """An amount of US dollars, converted to nano-dollars."""

    name = "dollars"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from decimal import Decimal, InvalidOperation

        from agenthive.core.values import to_nano_usd
        from agenthive.infra.budget_list import MOST

        try:
            amount = Decimal(str(value).removeprefix("$"))
        except InvalidOperation:
            self.fail(
                f"{value!r} is not an amount of US dollars; write a number such as 0.50", param, ctx
            )
        if not amount.is_finite() or not 0 <= amount <= Decimal(MOST):
            self.fail(f"{value!r} is not between 0 and {MOST:,.0f} US dollars", param, ctx)
        return to_nano_usd(amount)


class _Limit(_Dollars):
    """An amount of US dollars, or ``none`` as -1."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return -1 if value in ("none", -1) else super().convert(value, param, ctx)


def _scope_options(amount_type: click.ParamType[int]) -> Callable[[F], F]:
    """The arguments and options of the commands that change a limit."""
    options = (
        click.argument("scope", metavar="SCOPE"),
        click.argument("dollars", type=amount_type),
        click.option("--task", metavar="NAME", help="Limit this task of the run."),
        click.option("--agent", metavar="NAME", help="Limit this agent in the run."),
        _REASON,
        agents_option,
        request_id_option,
        home_option,
        json_option,
    )

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@click.group(name="budget", short_help="Show and change budgets.")
def command() -> None:
    """Show and change budgets.

    SCOPE is a run (an id or its beginning), `tenant` (all runs), `day` (each UTC day) or
    `agent:NAME` (that agent in all runs). Before a call, its worst-case cost is reserved (held) in
    every scope; after the call, the actual cost is captured (spent) and the rest is released.
    """


@command.command(name="show", short_help="Show limits and the amounts spent and held.")
@click.argument("run", required=False)
@click.option(
    "--all", "everything", is_flag=True, help="Include ended runs and days without a limit."
)
@home_option
@json_option
def show_budgets(run: str | None, everything: bool, home: Path | None, as_json: bool) -> int:
    """Show the limits and the amounts spent, held and left; with RUN, of that run and its calls."""
    import asyncio

    settings = load_settings(home)
    budget_lines, doubts = asyncio.run(
        _read_budgets(settings.home, settings.budgets, run, everything=everything)
    )
    _print_budgets(budget_lines, doubts, as_json=as_json)
    return 0


@command.command(name="set", short_help="Set the limit of a scope.")
@_scope_options(_Limit())
def set_limit(scope: str, dollars: int, **options: Any) -> int:
    """Set the limit of SCOPE to DOLLARS; `none` restores that of the workflow or the settings.

    A run that waits for this budget continues. A scope that was frozen because a call cost more
    than was reserved for it accepts calls again.
    """
    return _change_limit(scope, None if dollars < 0 else dollars, add=False, **options)


@command.command(name="top-up", short_help="Raise the limit of a scope.")
@_scope_options(_Dollars())
def top_up(scope: str, dollars: int, **options: Any) -> int:
    """Add DOLLARS to the limit of SCOPE. A run that waits for this budget continues."""
    return _change_limit(scope, dollars, add=True, **options)


@command.command(name="settle", short_help="Record the cost of a call that reported none.")
@click.argument("run")
@click.argument("task")
@click.argument("dollars", type=_Dollars())
@click.option(
    "--attempt",
    type=click.IntRange(1),
    help="Number of the attempt.  [default: the oldest whose cost is unknown]",
)
@_REASON
@agents_option
@request_id_option
@home_option
@json_option
def settle_call(
    run: str,
    task: str,
    dollars: int,
    attempt: int | None,
    reason: str,
    agent_files: tuple[Path, ...],
    home: Path | None,
    as_json: bool,
) -> int:
    """Record DOLLARS as the cost of a call of TASK that returned no response, as billed to you.

    A call that is not settled is captured in full 24 hours after it was made, or when its run ends.
    """
    from agenthive.cli.support.human_input import current_user, send_and_follow
    from agenthive.core.values import format_dollars as shown
    from agenthive.runtimes import event_loop

    work = send_and_follow(
        load_settings(home),
        agent_files,
        run,
        task,
        lambda hive, run_id, request_id: hive.budgets.settle(
            run_id,
            task,
            dollars,
            attempt=attempt,
            actor=current_user(),
            reason=reason,
            request_id=request_id,
        ),
        done_message=f"settled at {shown(dollars)}",
        as_json=as_json,
    )
    return event_loop.run(work)


def _change_limit(scope: str, amount: int | None, *, add: bool, **options: Any) -> int:
    from agenthive.cli.support.budget_changes import change_limit
    from agenthive.runtimes import event_loop

    parts = {name: options[name] for name in ("task", "agent") if options[name]}
    if len(parts) > 1 or (parts and (scope in ("tenant", "day") or scope.startswith("agent:"))):
        raise click.UsageError("Use either --task or --agent, and only with a run as SCOPE.")
    part = "".join(f" {kind} {name}" for kind, name in parts.items())
    return event_loop.run(
        change_limit(
            load_settings(options["home"]),
            options["agent_files"],
            scope,
            part,
            amount,
            add=add,
            reason=options["reason"],
            as_json=options["as_json"],
        )
    )


async def _read_budgets(
    home: Path, limits: dict[str, int], run: str | None, *, everything: bool
) -> tuple[list[BudgetLine], list[OpenHold]]:
    from agenthive.core.budget.scopes import run_of
    from agenthive.hive import open_journal
    from agenthive.insights.budgets import budget_lines, open_holds

    async with open_journal(home) as journal:
        run_id = None if run is None else await journal.find_run(run)
        run_ids = {
            row.run for row in await journal.list_runs(unfinished=run is None and not everything)
        }
        scopes = [
            item for item in await journal.list_accounts() if run_of(item.scope) in (run_ids | {""})
        ]
        needed_runs = run_ids & (
            {run_of(item.scope) for item in scopes} if run_id is None else {run_id}
        )
        specs = {item: await journal.load_workflow(item) for item in needed_runs}
        rows = budget_lines(scopes, specs, limits, run_id)
        if run_id is not None:
            return rows, open_holds(await journal.load_state(run_id))
        return [row for row in rows if everything or _is_shown(row)], []


def _is_shown(line: BudgetLine) -> bool:
    """Whether a scope is shown without ``--all``: it has a limit, or is the total."""
    return line.limit is not None or line.scope.startswith("tenant ")


def _print_budgets(
    budget_lines: list[BudgetLine], doubts: list[OpenHold], *, as_json: bool
) -> None:
    import msgspec

    from agenthive.cli.support import output
    from agenthive.core.values import format_dollars
    from agenthive.insights.budgets import format_scope

    if as_json:
        rows = [
            {
                **msgspec.structs.asdict(item),
                "scope": format_scope(item.scope),
                "left": item.left,
            }
            for item in budget_lines
        ]
        output.print_document("budgets", budgets=rows, calls=doubts, unit="nano-dollars")
        return
    if not budget_lines:
        output.print_line("no limits are set and nothing was spent")
        return
    cells = [
        (
            format_scope(item.scope),
            *(
                "-" if amount is None else format_dollars(amount)
                for amount in (item.limit, item.spent, item.held, item.left)
            ),
            "frozen" if item.frozen else item.origin,
        )
        for item in budget_lines
    ]
    output.print_table(("SCOPE", "LIMIT", "SPENT", "HELD", "LEFT", "SET BY"), cells)
    if doubts:
        output.print_line()
        call_rows = [
            (
                item.task,
                str(item.attempt),
                format_dollars(item.held),
                output.format_time(item.since),
                "running" if item.under_way else "cost unknown",
            )
            for item in doubts
        ]
        output.print_table(("TASK", "ATTEMPT", "HELD", "SINCE", "CALL"), call_rows)
