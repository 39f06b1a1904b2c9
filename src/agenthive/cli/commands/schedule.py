"""`agenthive schedule ...`: workflows that start on a schedule."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agenthive.cli.support.options import (
    agents_option,
    home_option,
    json_option,
    load_settings,
    request_id_option,
)

if TYPE_CHECKING:
    from agenthive.core.engine.schedules import ScheduleRow


@click.group(name="schedule", short_help="Start workflows on a schedule.")
def command() -> None:
    """Start workflows on a schedule.

    Scheduled runs start only while a process owns the home: `agenthive work`, or a program that
    uses `Hive.open`. The --catch-up policy of a schedule decides about times that were missed.
    """


@command.command(name="set", short_help="Create or replace a schedule.")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--cron", metavar="EXPR", help="Cron expression, such as '0 9 * * mon-fri'.")
@click.option("--zone", default="UTC", show_default=True, help="Time zone of --cron.")
@click.option("--every", metavar="TIME", help="Interval instead of --cron: 90s, 15m, 6h, 1d.")
@click.option(
    "--start",
    metavar="WHEN",
    help="Time from which --every counts (ISO 8601).  [default: 1970-01-01T00:00Z]",
)
@click.option(
    "--input", "pairs", metavar="KEY=VALUE", multiple=True, help="Set an input. Repeatable."
)
@click.option(
    "--inputs",
    "inputs_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Read inputs from a YAML or JSON file; --input overrides them.",
)
@click.option(
    "--time-input", default="", metavar="KEY", help="Input that receives the scheduled time."
)
@click.option(
    "--catch-up",
    type=click.Choice(("none", "one", "all")),
    default="one",
    show_default=True,
    help="How many missed times start a run.",
)
@click.option(
    "--overlap",
    type=click.Choice(("skip", "queue", "allow", "cancel")),
    default="queue",
    show_default=True,
    help="What to do if the previous run has not ended.",
)
@click.option("--paused", is_flag=True, help="Create the schedule paused.")
@agents_option
@request_id_option
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
    """Create the schedule NAME, which starts the workflow in FILE, or replace it.

    Each scheduled time starts one run, even if the process is restarted meanwhile: the id of the
    run is derived from the name and the time.
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


@command.command(name="list", short_help="List schedules.")
@home_option
@json_option
def list_schedules(home: Path | None, as_json: bool) -> int:
    """List the schedules of the home, each with its next time."""
    return _run_work(_list_schedules(home, as_json=as_json))


@command.command(short_help="Show a schedule and its latest events.")
@click.argument("name")
@click.option(
    "--limit",
    "-n",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help="Maximum number of events, latest ones.",
)
@home_option
@json_option
def show(name: str, limit: int, home: Path | None, as_json: bool) -> int:
    """Show the schedule NAME: its rule, policies, next time, open runs and latest events."""
    return _run_work(_show_schedule(home, name, limit, as_json=as_json))


@command.command(short_help="Pause a schedule.")
@click.argument("name")
@click.option("--reason", default="", metavar="TEXT", help="Reason to record.")
@request_id_option
@home_option
@json_option
def pause(name: str, reason: str, home: Path | None, as_json: bool) -> int:
    """Pause the schedule NAME: it starts no runs until it is resumed."""
    from agenthive.core.journal import run_events as ev

    change = ev.SchedulePaused(at=0, schedule=name, reason=reason)
    return _run_work(_change_schedule(home, (), change, as_json=as_json))


@command.command(short_help="Resume a paused schedule.")
@click.argument("name")
@request_id_option
@home_option
@json_option
def resume(name: str, home: Path | None, as_json: bool) -> int:
    """Resume the paused schedule NAME. Times that passed meanwhile are skipped."""
    from agenthive.core.journal import run_events as ev

    return _run_work(
        _change_schedule(home, (), ev.ScheduleResumed(at=0, schedule=name), as_json=as_json)
    )


@command.command(short_help="Remove a schedule.")
@click.argument("name")
@request_id_option
@home_option
@json_option
def remove(name: str, home: Path | None, as_json: bool) -> int:
    """Remove the schedule NAME. Runs that it has started continue."""
    from agenthive.core.journal import run_events as ev

    return _run_work(
        _change_schedule(home, (), ev.ScheduleRemoved(at=0, schedule=name), as_json=as_json)
    )


@command.command(short_help="Start a run of a schedule now.")
@click.argument("name")
@agents_option
@request_id_option
@home_option
@json_option
def trigger(name: str, agent_files: tuple[Path, ...], home: Path | None, as_json: bool) -> int:
    """Start a run of the schedule NAME now, as at a scheduled time.

    If no process owns the home, the run waits for `agenthive resume` or `agenthive work`.
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
        run = await session.change_schedule(change, body) or None
    action = event_type(change).removeprefix("hive.schedule_")
    if as_json:
        output.print_document("schedule-changed", name=change.schedule, done=action, run_id=run)
        return 0
    output.print_line(f"{change.schedule}: {action}" + (f", run {run}" if run else ""))
    if action == "set":
        output.print_note(
            "scheduled runs start only while a process owns the home: run `agenthive work`"
        )
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
        hint = "List the schedules with `agenthive schedule list`."
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
            output.format_time(item.time),
            event_type(item).removeprefix("hive.schedule_"),
            _describe_event(item),
        )
        for item in events
    ]
    output.print_table(("TIME", "EVENT", "DETAIL"), rows)
    return 0


def _describe_event(event: Any) -> str:
    from agenthive.core.policies.schedule import format_utc

    parts = [f"for {format_utc(event.planned)}"] if getattr(event, "planned", None) else []
    if getattr(event, "first", None):
        parts.append(f"from {format_utc(event.first)} to {format_utc(event.last)}: {event.reason}")
    if getattr(event, "run", ""):
        parts.append(f"run {event.run}")
    return ", ".join(parts)
