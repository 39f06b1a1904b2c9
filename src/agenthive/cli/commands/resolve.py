"""`agenthive resolve RUN TASK`: record the outcome of a call whose outcome is unknown."""

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


@click.command(name="resolve", short_help="Record the outcome of a call whose outcome is unknown.")
@click.argument("run")
@click.argument("task")
@click.option("--succeeded", "outcome", flag_value="succeeded", help="The call succeeded.")
@click.option("--failed", "outcome", flag_value="failed", help="The call failed; do not repeat it.")
@click.option("--retry", "outcome", flag_value="retry", help="The call had no effect; repeat it.")
@click.option(
    "--result", metavar="JSON", help="Result of the call, with --succeeded.  [default: null]"
)
@click.option("--reason", default="", metavar="TEXT", help="Reason to record.")
@agents_option
@request_id_option
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
    """Record the outcome of the call of TASK in RUN (an id or its beginning), then continue the
    run.

    A call with `effect: once` whose response was lost is never repeated automatically. Find out at
    the called service whether it took effect, then use one of --succeeded, --failed or --retry.
    """
    from agenthive.cli.support.human_input import current_user, parse_json, send_and_follow
    from agenthive.runtimes import event_loop

    if outcome is None:
        raise click.UsageError("Use one of --succeeded, --failed or --retry.")
    if result is not None and outcome != "succeeded":
        raise click.UsageError("--result can be used only with --succeeded.")
    value = parse_json(result, "--result")
    work = send_and_follow(
        load_settings(home),
        agent_files,
        run,
        task,
        lambda hive, run_id, request_id: hive.resolve_outcome(
            run_id,
            task,
            outcome,
            value,
            actor=current_user(),
            reason=reason,
            request_id=request_id,
        ),
        done_message=outcome,
        as_json=as_json,
    )
    return event_loop.run(work)
