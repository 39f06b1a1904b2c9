"""`agenthive resolve RUN TASK`: say what came of a call whose outcome is unknown."""

from __future__ import annotations

from pathlib import Path

import click

from agenthive.cli.support.options import agents_option, home_option, json_option, load_settings


@click.command(name="resolve", short_help="Say what came of a call nobody knows about.")
@click.argument("run")
@click.argument("task")
@click.option("--succeeded", "outcome", flag_value="succeeded", help="It has acted.")
@click.option("--failed", "outcome", flag_value="failed", help="It has not, and is not to.")
@click.option("--retry", "outcome", flag_value="retry", help="It has not: call again.")
@click.option("--result", metavar="JSON", help="What it gave, with --succeeded.")
@click.option("--reason", default="", metavar="TEXT", help="How you know; it is recorded.")
@agents_option
@home_option
@json_option
def command(
    run: str,
    task: str,
    outcome: str | None,
    result: str | None,
    reason: str,
    agent_files: tuple[Path, ...],
    home: Path | None,
    as_json: bool,
) -> int:
    """Say what came of TASK of RUN, whose call may or may not have acted.

    A task with `effect: once` is never called again by itself when its answer was lost. Look at the
    other side first; then say one of --succeeded, --failed or --retry.
    """
    from agenthive.cli.support.human_input import current_user, parse_json, send_and_follow
    from agenthive.runtimes import event_loop

    if outcome is None:
        raise click.UsageError("Say one of --succeeded, --failed or --retry.")
    if result is not None and outcome != "succeeded":
        raise click.UsageError("--result goes with --succeeded.")
    value = parse_json(result, "--result")
    work = send_and_follow(
        load_settings(home),
        agent_files,
        run,
        task,
        lambda hive, run_id: hive.resolve_outcome(
            run_id, task, outcome, value, actor=current_user(), reason=reason
        ),
        done_message=outcome,
        as_json=as_json,
    )
    return event_loop.run(work)
