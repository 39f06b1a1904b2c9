"""`agenthive fork RUN --from TASK`: a new run from a task of an earlier run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agenthive.cli.support.options import (
    agents_option,
    home_option,
    json_option,
    load_settings,
    request_id_option,
)

if TYPE_CHECKING:
    from agenthive.core.model.workflow import WorkflowSpec
    from agenthive.settings import Settings


@click.command(name="fork", short_help="Start a new run from a task of an earlier run.")
@click.argument("run")
@click.option("--from", "task", required=True, metavar="TASK", help="First task to execute again.")
@click.option(
    "--file",
    "file",
    type=click.Path(path_type=Path),
    help="Run the changed workflow in this file instead.",
)
@click.option("--again", is_flag=True, help="Allow tasks with effect: once to be executed again.")
@agents_option
@request_id_option
@home_option
@json_option
@click.option("--quiet", "-q", is_flag=True, help="Do not show progress.")
def command(
    run: str,
    task: str,
    file: Path | None,
    again: bool,
    agent_files: tuple[Path, ...],
    home: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Start a new run with the inputs of RUN (an id or its beginning) that begins at TASK.

    Tasks that succeeded in RUN and do not depend on TASK keep their results and are not executed
    again. With --file, tasks that the file changes are executed again too, with their dependents.
    Tasks with `effect: once` that may have acted in RUN are executed again only with --again.
    """
    from agenthive.cli.support.workflow_files import accept_file
    from agenthive.runtimes import event_loop

    settings = load_settings(home)
    workflow = None if file is None else accept_file(file, settings, agent_files)
    work = _fork_run(
        settings, agent_files, run, task, workflow, again=again, as_json=as_json, quiet=quiet
    )
    return event_loop.run(work)


async def _fork_run(
    settings: Settings,
    files: tuple[Path, ...],
    run: str,
    task: str,
    workflow: WorkflowSpec | None,
    *,
    again: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    from agenthive.cli.support import follow, output
    from agenthive.cli.support.interrupts import Interrupts
    from agenthive.cli.support.session import Session
    from agenthive.hive import open_journal
    from agenthive.hive.forks import plan_fork
    from agenthive.infra.ids import uuid7

    async with open_journal(settings.home) as journal:
        run_id = await journal.find_run(run)
        fork_plan, graph, _, _ = await plan_fork(journal, run_id, task, workflow)
    async with Interrupts() as interrupts, Session(settings, files, interrupts) as session:
        fork_id = await interrupts.run_or_abort(
            session.fork(run_id, task, workflow, uuid7(), again=again)
        )
        if not quiet:
            taken_count = len(fork_plan.fork.taken)
            output.print_note(
                f"run {fork_id}: forked from {run_id} at {output.escape(task)}, "
                f"{taken_count:,} results kept"
            )
        name, total = graph.spec.name, graph.tasks
        work = follow.follow_run(session, fork_id, name, total, quiet=quiet)
        ended = await interrupts.run_to_end(work)
        await follow.leave_home(session, interrupts, interrupted=not ended)
        report = await session.report(fork_id)
        if as_json:
            output.print_document("run", **output.run_fields(report))
        else:
            output.print_results(report)
            if not quiet:
                await follow.print_epilogue(session, report)
        return report.exit_code if ended else follow.INTERRUPTED
