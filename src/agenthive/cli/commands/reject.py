"""`agenthive reject RUN TASK`: reject what a task is going to do."""

from __future__ import annotations

from pathlib import Path

import click

from agenthive.cli.support.options import agents_option, home_option, json_option, load_settings


@click.command(name="reject", short_help="Reject what a task is going to do.")
@click.argument("run")
@click.argument("task")
@click.option("--as", "actor", metavar="NAME", help="Who answers (default: the user's name).")
@click.option("--digest", default="", metavar="HEX", help="Of the payload that was looked at.")
@click.option("--comment", default="", metavar="TEXT", help="Why; it is recorded.")
@agents_option
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
    """Reject what TASK of RUN asks for: it is not done.

    Whether the task then fails or is passed over stands in the workflow (`on_reject`). One
    rejection is enough. Answers that do not count are recorded, and refused with exit code 2.
    """
    from agenthive.cli.support.human_input import current_user, send_and_follow
    from agenthive.runtimes import event_loop

    approver = actor or current_user()
    work = send_and_follow(
        load_settings(home),
        agent_files,
        run,
        task,
        lambda hive, run_id: hive.approvals.decide(
            run_id,
            task,
            approved=False,
            actor=approver,
            digest=digest.lower(),
            comment=comment,
        ),
        done_message=f"rejected by {approver}",
        as_json=as_json,
    )
    return event_loop.run(work)
