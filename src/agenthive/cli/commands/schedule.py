"""`agenthive schedule ...`: workflows that are started again and again."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agenthive.cli.support.options import agents_option, home_option, json_option, load_settings

if TYPE_CHECKING:
    from agenthive.core.engine.schedules import ScheduleRow


@click.group(name="schedule", short_help="Start a workflow again and again.")
def command() -> None:
    """Start a workflow at planned times.

    Runs start while a process owns the home: `agenthive work`, or a program that opens the hive.
    What was missed meanwhile is caught up with as each schedule says.
    """


@command.command(name="set", short_help="Set a schedule, or replace one.")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--cron", metavar="EXPR", help="Times as a cron expression: '0 9 * * mon-fri'.")
@click.option("--zone", default="UTC", show_default=True, help="The time zone of --cron.")
@click.option("--every", metavar="TIME", help="An interval instead: 90s, 15m, 6h, 1d.")
@click.option("--start", metavar="WHEN", help="From when --every counts (ISO 8601; 1970).")
@click.option("--input", "pairs", metavar="KEY=VALUE", multiple=True, help="One input.")
@click.option(
    "--inputs",
    "inputs_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="YAML or JSON file with a map of inputs; --input wins.",
)
@click.option("--time-input", default="", metavar="KEY", help="The input that gets the time.")
@click.option(
    "--catch-up",
    type=click.Choice(("none", "one", "all")),
    default="one",
    show_default=True,
    help="How many of the times that were missed get a run.",
)
@click.option(
    "--overlap",
    type=click.Choice(("skip", "queue", "allow", "cancel")),
    default="queue",
    show_default=True,
    help="What happens while the run before has not ended.",
)
@click.option("--paused", is_flag=True, help="Start nothing until it is resumed.")
@agents_option
@home_option
@json_option
def set_schedule(
    name: str,
    file: Path,
    cron: str | None,
    zone: str,
    every: str | None,
    start: str | None,
    pairs: tuple[str, ...],
    inputs_file: Path | None,
    time_input: str,
    catch_up: str,
    overlap: str,
    paused: bool,
    agent_files: tuple[Path, ...],
    home: Path | None,
    as_json: bool,
) -> int:
    """Have the workflow in FILE started by a rule, under NAME; replaces the schedule of that name.

    Each planned time starts one run, however often the process ends on the way: the run's id
    follows from the time.
    """
    from agenthive.authoring.schedules import build_rule, plan_schedule
    from agenthive.cli.support.workflow_files import (
        accept_file,
        collect_inputs,
        convert_inputs_without,
    )

    rule = build_rule(cron=cron, every=every, zone=zone, start=start)
    settings = load_settings(home)
    workflow = accept_file(file, settings, agent_files)
    raw_inputs = collect_inputs(pairs, inputs_file)
    inputs = convert_inputs_without(workflow, raw_inputs, time_input, settings)
    schedule_plan = plan_schedule(
        name,
        workflow,
        inputs,
        rule,
        time_input=time_input,
        catch_up=catch_up,
        overlap=overlap,
        paused=paused,
    )
    return _run_work(
        _change_schedule(
            home, agent_files, schedule_plan.event, schedule_plan.body, as_json=as_json
        )
    )


@command.command(name="list", short_help="List the schedules of a home.")
@home_option
@json_option
def list_schedules(home: Path | None, as_json: bool) -> int:
    """List the schedules of the home, with the next time of each."""
    return _run_work(_list_schedules(home, as_json=as_json))


@command.command(short_help="Show one schedule, and what became of its last times.")
@click.argument("name")
@click.option(
    "--limit",
    "-n",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help="Facts about it at most, the last ones.",
)
@home_option
@json_option
def show(name: str, limit: int, home: Path | None, as_json: bool) -> int:
    """Show the schedule NAME: its rule, its next time, and the last facts about it."""
    return _run_work(_show_schedule(home, name, limit, as_json=as_json))


@command.command(short_help="Have a schedule start nothing until it is resumed.")
@click.argument("name")
@click.option("--reason", default="", metavar="TEXT", help="Why; it is recorded.")
@home_option
@json_option
def pause(name: str, reason: str, home: Path | None, as_json: bool) -> int:
    """Have the schedule NAME start nothing until it is resumed."""
    from agenthive.core.journal import run_events as ev

    change = ev.SchedulePaused(at=0, schedule=name, reason=reason)
    return _run_work(_change_schedule(home, (), change, as_json=as_json))


@command.command(short_help="Have a paused schedule start runs again.")
@click.argument("name")
@home_option
@json_option
def resume(name: str, home: Path | None, as_json: bool) -> int:
    """Have the schedule NAME start runs again; what was planned meanwhile is skipped."""
    from agenthive.core.journal import run_events as ev

    return _run_work(
        _change_schedule(home, (), ev.ScheduleResumed(at=0, schedule=name), as_json=as_json)
    )


@command.command(short_help="Take a schedule away.")
@click.argument("name")
@home_option
@json_option
def remove(name: str, home: Path | None, as_json: bool) -> int:
    """Take the schedule NAME away. Its runs go on."""
    from agenthive.core.journal import run_events as ev

    return _run_work(
        _change_schedule(home, (), ev.ScheduleRemoved(at=0, schedule=name), as_json=as_json)
    )


@command.command(short_help="Start a run of a schedule now.")
@click.argument("name")
@agents_option
@home_option
@json_option
def trigger(name: str, agent_files: tuple[Path, ...], home: Path | None, as_json: bool) -> int:
    """Start a run of the schedule NAME now, as at a planned time.

    Without a process that owns the home the run waits for `agenthive resume` or `agenthive work`.
    """
    from agenthive.core.journal import run_events as ev
    from agenthive.core.policies.schedule import RUN_ID_PREFIX
    from agenthive.infra.ids import uuid7

    run = f"{RUN_ID_PREFIX}{name}:{uuid7()}"
    change = ev.ScheduleTriggered(at=0, schedule=name, run=run)
    return _run_work(_change_schedule(home, agent_files, change, as_json=as_json))


def _run_work(work: Coroutine[Any, Any, int]) -> int:
    from agenthive.runtimes import event_loop

    return event_loop.run(work)


async def _change_schedule(
    home: Path | None,
    files: tuple[Path, ...],
    change: Any,
    body: bytes = b"",
    *,
    as_json: bool,
) -> int:
    from agenthive.cli.support import output
    from agenthive.cli.support.interrupts import Interrupts
    from agenthive.cli.support.session import Session
    from agenthive.core.history.story import event_type

    settings = load_settings(home)
    async with Interrupts() as interrupts, Session(settings, files, interrupts) as session:
        await session.change_schedule(change, body)
    action = event_type(change).removeprefix("hive.schedule_")
    run = getattr(change, "run", None)
    if as_json:
        output.print_document("schedule-changed", name=change.schedule, done=action, run_id=run)
        return 0
    output.print_line(f"{change.schedule}: {action}" + (f", run {run}" if run else ""))
    if action == "set":
        output.print_note("runs start while a process owns the home, such as `agenthive work`")
    return 0


async def _read_rows(home: Path | None) -> list[ScheduleRow]:
    from agenthive.hive import open_journal
    from agenthive.infra.calendar import SystemCalendar

    async with open_journal(load_settings(home).home) as journal:
        return await journal.hive_stream.list_schedules(SystemCalendar())


async def _list_schedules(home: Path | None, *, as_json: bool) -> int:
    import msgspec

    from agenthive.cli.support import output

    rows = await _read_rows(home)
    if as_json:
        output.print_document("schedules", schedules=msgspec.to_builtins(rows))
        return 0
    if not rows:
        output.print_note("no schedules")
        return 0
    output.print_table(
        ("NAME", "WORKFLOW", "WHEN", "NEXT", "LAST RUN"),
        [
            (
                row.name,
                output.escape(row.workflow),
                _format_rule(row),
                _format_next(row),
                row.last_run or "-",
            )
            for row in rows
        ],
    )
    return 0


def _format_rule(row: ScheduleRow) -> str:
    from agenthive.cli.support.output import format_duration

    return f"every {format_duration(row.every / 1e6)}" if row.every else f"{row.cron} ({row.zone})"


def _format_next(row: ScheduleRow) -> str:
    from agenthive.cli.support.output import format_time

    if row.paused:
        return "paused"
    return "never" if row.next is None else format_time(row.next)


async def _show_schedule(home: Path | None, name: str, limit: int, *, as_json: bool) -> int:
    import msgspec

    from agenthive.cli.support import output
    from agenthive.core.history.story import event_type
    from agenthive.errors import NotFound
    from agenthive.hive import open_journal

    row = next((item for item in await _read_rows(home) if item.name == name), None)
    if row is None:
        hint = "`agenthive schedule list` shows the schedules of this home."
        raise NotFound(f"there is no schedule '{name}'", hint=hint)
    async with open_journal(load_settings(home).home) as journal:
        events = await journal.hive_stream.list_schedule_events(name, limit)
    if as_json:
        event_fields = msgspec.to_builtins(events)
        output.print_document("schedule", schedule=msgspec.to_builtins(row), facts=event_fields)
        return 0
    for label, value in (
        ("workflow", output.escape(row.workflow)),
        ("when", _format_rule(row)),
        ("next", _format_next(row)),
        ("catch up", row.catch_up),
        ("overlap", row.overlap),
        ("open runs", ", ".join(row.open_runs) or "none"),
    ):
        output.print_line(f"{label:10} {value}")
    output.print_line()
    rows = [
        (
            output.format_time(item.at),
            event_type(item).removeprefix("hive.schedule_"),
            _describe_event(item),
        )
        for item in events
    ]
    output.print_table(("TIME", "FACT", "ABOUT"), rows)
    return 0


def _describe_event(event: Any) -> str:
    from agenthive.core.policies.schedule import format_utc

    parts = [f"for {format_utc(event.planned)}"] if getattr(event, "planned", None) else []
    if getattr(event, "first", None):
        parts.append(f"from {format_utc(event.first)} to {format_utc(event.last)}: {event.reason}")
    if getattr(event, "run", ""):
        parts.append(f"run {event.run}")
    return ", ".join(parts)
