"""`agenthive signal RUN NAME`: send a signal to a run."""

from __future__ import annotations

from pathlib import Path

import click

from agenthive.cli.support.options import (
    agents_option,
    home_option,
    json_option,
    load_settings,
    request_id_option,
)


@click.command(name="signal", short_help="Send a signal to a run.")
@click.argument("run")
@click.argument("name")
@click.option(
    "--data",
    metavar="JSON",
    help="Data of the signal: the result of the waiting task.  [default: null]",
)
@click.option(
    "--id",
    "signal_id",
    default="",
    metavar="ID",
    help="Deduplication id: signals with the same ID count once.",
)
@agents_option
@request_id_option
@home_option
@json_option
def command(
    run: str,
    name: str,
    data: str | None,
    signal_id: str,
    agent_files: tuple[Path, ...],
    home: Path | None,
    as_json: bool,
) -> int:
    """Send the signal NAME to RUN (an id or its beginning), for a task with `wait_for: NAME`.

    A signal that arrives before its task waits for it is kept, unless the workflow has
    `keep: false`.
    """
    from agenthive.cli.support.human_input import current_user, parse_json, send_and_follow
    from agenthive.runtimes import event_loop

    value = parse_json(data, "--data")
    work = send_and_follow(
        load_settings(home),
        agent_files,
        run,
        name,
        lambda hive, run_id, request_id: hive.signals.send(
            run_id, name, value, id=signal_id, actor=current_user(), request_id=request_id
        ),
        done_message="received",
        as_json=as_json,
    )
    return event_loop.run(work)
