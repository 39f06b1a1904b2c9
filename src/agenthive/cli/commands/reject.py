"""`agenthive reject RUN TASK`: reject the pending action of a task."""

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


@click.command(name="reject", short_help="Reject the pending action of a task.")
@click.argument("run")
@click.argument("task")
@click.option(
    "--as", "actor", metavar="NAME", help="Name of the approver.  [default: your login name]"
)
@click.option(
    "--digest", default="", metavar="HEX", help="Digest of the payload that you reviewed."
)
@click.option("--comment", default="", metavar="TEXT", help="Comment to record with the decision.")
@agents_option
@request_id_option
@home_option
@json_option
def command(
    run: str,
    task: str,
    actor: str | None,
    digest: str,
    comment: str,
    agent_files: tuple[Path, ...],
    home: Path | None,
    as_json: bool,
) -> int:
    """Reject the pending action of TASK in RUN (an id or its beginning): it is not executed.

    The workflow decides whether the task then fails or is skipped (`on_reject`). One rejection is
    enough. A decision that does not count is recorded, and the command ends with exit code 2.
    """
    from agenthive.cli.support.human_input import send_decision
    from agenthive.runtimes import event_loop

    work = send_decision(
        load_settings(home),
        agent_files,
        run,
        task,
        approved=False,
        actor=actor,
        digest=digest,
        comment=comment,
        as_json=as_json,
    )
    return event_loop.run(work)
