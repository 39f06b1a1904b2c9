"""`agenthive budget ...`: what may be spent, what was, and calls whose cost is in doubt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from agenthive.cli.support.options import F, agents_option, home_option, json_option, settings_of

if TYPE_CHECKING:
    from agenthive.insights.budgets import Doubt, Line

_REASON: Final = click.option("--reason", default="", metavar="TEXT", help="Why; it is recorded.")


class _Dollars(click.ParamType[int]):
    """An amount of US dollars, as nano-dollars."""

    name = "dollars"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from decimal import Decimal, InvalidOperation

        from agenthive.core.values import nano
        from agenthive.infra.budget_list import MOST

        try:
            amount = Decimal(str(value).removeprefix("$"))
        except InvalidOperation:
            self.fail(f"{value!r} is no amount of US dollars, such as 0.50", param, ctx)
        if not amount.is_finite() or not 0 <= amount <= Decimal(MOST):
            self.fail(f"{value!r} is not 0 to {MOST:,.0f} US dollars", param, ctx)
        return nano(amount)


class _Limit(_Dollars):
    """An amount, or none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return -1 if value in ("none", -1) else super().convert(value, param, ctx)


def _about_a_scope(amount: click.ParamType[int]) -> Callable[[F], F]:
    """What commands take that change the limit of a scope."""
    options = (
        click.argument("scope", metavar="SCOPE"),
        click.argument("dollars", type=amount),
        click.option("--task", metavar="NAME", help="Of that task of the run."),
        click.option("--agent", metavar="NAME", help="Of that agent in the run."),
        _REASON, agents_option, home_option, json_option,
    )  # fmt: skip

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@click.group(name="budget", short_help="Show and change what may be spent.")
def command() -> None:
    """What may be spent, and what was.

    SCOPE is a run (its id or its beginning), `tenant` (everything), `day` (each UTC day) or
    `agent:NAME` (that agent in all runs). The worst case of each call is held before it is made;
    when it has answered, what it cost is spent and the rest is free again.
    """


@command.command(name="show", short_help="Show limits, what was spent and what is held.")
@click.argument("run", required=False)
@click.option("--all", "everything", is_flag=True, help="Also ended runs and days without a limit.")
@home_option
@json_option
def show(run: str | None, everything: bool, home: Path | None, as_json: bool) -> int:
    """Show how the budgets stand; with RUN that run's, and its calls that hold money."""
    import asyncio

    settings = settings_of(home)
    found, doubts = asyncio.run(_read(settings.home, settings.budgets, run, everything=everything))
    _print(found, doubts, as_json=as_json)
    return 0


@command.command(name="set", short_help="Set a limit.")
@_about_a_scope(_Limit())
def set_(scope: str, dollars: int, **options: Any) -> int:
    """Set the limit of SCOPE to DOLLARS; `none` is what the workflow or the settings say.

    A run that waits for it goes on. A scope that was frozen because a call cost more than it was
    to takes calls again.
    """
    return _change(scope, None if dollars < 0 else dollars, add=False, **options)


@command.command(name="top-up", short_help="Add to a limit.")
@_about_a_scope(_Dollars())
def top_up(scope: str, dollars: int, **options: Any) -> int:
    """Add DOLLARS to the limit of SCOPE. A run that waits for it goes on."""
    return _change(scope, dollars, add=True, **options)


@command.command(name="settle", short_help="Say what a call cost that never said so.")
@click.argument("run")
@click.argument("task")
@click.argument("dollars", type=_Dollars())
@click.option("--attempt", type=click.IntRange(1), help="Which attempt; the oldest in doubt.")
@_REASON
@agents_option
@home_option
@json_option
def settle(
    run: str,
    task: str,
    dollars: int,
    attempt: int | None,
    reason: str,
    agent_files: tuple[Path, ...],
    home: Path | None,
    as_json: bool,
) -> int:
    """Book what a call of TASK cost whose answer never came, as the provider's bill has it.

    What nobody settles is booked in full a day after the call, or when its run ends.
    """
    from agenthive.cli.support.human_input import say, whoami
    from agenthive.core.values import dollars as shown
    from agenthive.runtimes import event_loop

    work = say(
        settings_of(home), agent_files, run, "settle", task,
        done=f"settled at {shown(dollars)}", as_json=as_json,
        cost=dollars, attempt=attempt, actor=whoami(), reason=reason,
    )  # fmt: skip
    return event_loop.run(work)


def _change(scope: str, amount: int | None, *, add: bool, **options: Any) -> int:
    from agenthive.cli.support.budget_changes import change
    from agenthive.runtimes import event_loop

    parts = {name: options[name] for name in ("task", "agent") if options[name]}
    if len(parts) > 1 or (parts and (scope in ("tenant", "day") or scope.startswith("agent:"))):
        raise click.UsageError("--task or --agent name a part of a run: give one, with a run.")
    part = "".join(f" {kind} {name}" for kind, name in parts.items())
    return event_loop.run(
        change(
            settings_of(options["home"]), options["agent_files"], scope, part, amount, add=add,
            reason=options["reason"], as_json=options["as_json"],
        )
    )  # fmt: skip


async def _read(
    home: Path, limits: dict[str, int], run: str | None, *, everything: bool
) -> tuple[list[Line], list[Doubt]]:
    from agenthive.core.budget.scopes import run_of
    from agenthive.hive import reading
    from agenthive.insights.budgets import doubts, lines

    async with reading(home) as archive:
        found = None if run is None else await archive.find(run)
        there = {row.run for row in await archive.runs(unfinished=run is None and not everything)}
        standings = [
            one for one in await archive.standings() if run_of(one.scope) in (there | {""})
        ]
        wanted = there & ({run_of(one.scope) for one in standings} if found is None else {found})
        specs = {one: await archive.workflow(one) for one in wanted}
        rows = lines(standings, specs, limits, found)
        if found is not None:
            return rows, doubts(await archive.state(found))
        return [row for row in rows if everything or _matters(row)], []


def _matters(line: Line) -> bool:
    """Whether somebody who asks how the budgets stand wants to see it."""
    return line.limit is not None or line.scope.startswith("tenant ")


def _print(found: list[Line], doubts: list[Doubt], *, as_json: bool) -> None:
    import msgspec

    from agenthive.cli.support import output
    from agenthive.core.values import dollars
    from agenthive.insights.budgets import dated

    if as_json:
        rows = [{**msgspec.structs.asdict(one), "left": one.left} for one in found]
        output.document("budgets", budgets=rows, calls=doubts, unit="nano-dollars")
        return
    if not found:
        output.line("nothing was spent, and nothing has a limit")
        return
    cells = [
        (
            dated(one.scope),
            *("-" if amount is None else dollars(amount) for amount in
              (one.limit, one.spent, one.held, one.left)),
            "frozen" if one.frozen else one.origin,
        )
        for one in found
    ]  # fmt: skip
    output.table(("SCOPE", "LIMIT", "SPENT", "HELD", "LEFT", "SET BY"), cells)
    if doubts:
        output.line()
        rows_ = [
            (one.task, str(one.attempt), dollars(one.held), output.moment(one.since),
             "under way" if one.under_way else "in doubt")
            for one in doubts
        ]  # fmt: skip
        output.table(("TASK", "ATTEMPT", "HELD", "SINCE", "CALL"), rows_)
