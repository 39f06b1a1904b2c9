"""`agenthive approve RUN TASK`: approve the pending action of a task."""

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


@click.command(name="approve", short_help="Approve the pending action of a task.")
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
    """Approve the pending action of TASK in RUN (an id or its beginning), then continue the run.

    `agenthive approvals` shows the pending action; exactly that is executed. With --digest the
    approval counts only if the payload still has that digest. A decision by a user who is not an
    approver, a second one by the same user, or a late one does not count: it is recorded, and the
    command ends with exit code 2.
    """
    from agenthive.cli.support.human_input import send_decision
    from agenthive.runtimes import event_loop

    work = send_decision(
        load_settings(home),
        agent_files,
        run,
        task,
        approved=True,
        actor=actor,
        digest=digest,
        comment=comment,
        as_json=as_json,
    )
    return event_loop.run(work)
