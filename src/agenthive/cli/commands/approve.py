"""`agenthive approve RUN TASK`: approve what a task is going to do."""

from __future__ import annotations

from pathlib import Path

import click

from agenthive.cli.support.options import agents_option, home_option, json_option, settings_of


@click.command(name="approve", short_help="Approve what a task is going to do.")
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
    """Approve what TASK of RUN asks for; the run goes on with exactly that.

    `agenthive approvals` shows what is asked. With --digest the answer counts only for the payload
    of that digest. An answer by somebody who is not asked, a second one, or one that comes too late
    does not count: it is recorded, and refused with exit code 2.
    """
    from agenthive.cli.support.human_input import say, whoami
    from agenthive.runtimes import event_loop

    who = actor or whoami()
    work = say(
        settings_of(home), agent_files, run, "approve", task, done=f"approved by {who}",
        as_json=as_json, approved=True, actor=who, digest=digest.lower(), comment=comment,
    )  # fmt: skip
    return event_loop.run(work)
