"""`agenthive fork RUN --from TASK`: do a run again from one task on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agenthive.cli.support.options import agents_option, home_option, json_option, load_settings

if TYPE_CHECKING:
    from agenthive.core.model.workflow import WorkflowSpec
    from agenthive.settings import Settings


@click.command(name="fork", short_help="Do a run again from one task on.")
@click.argument("run")
@click.option("--from", "task", required=True, metavar="TASK", help="The first to do again.")
@click.option(
    "--file",
    "file",
    type=click.Path(path_type=Path),
    help="Do it under the changed workflow in this file.",
)
@click.option("--again", is_flag=True, help="Also where a task acts again that is to act once.")
@agents_option
@home_option
@json_option
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
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
    """Do RUN (an id or its beginning) again from TASK on, as a new run, with the same inputs.

    The results of everything that has succeeded and does not depend on TASK are taken over; nothing
    of it is called again. With --file a changed workflow is done; tasks that changed, and what
    depends on them, are done again too. Tasks with `effect: once` that may have acted in RUN act
    again only with --again.
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

    fork_id = uuid7()
    async with open_journal(settings.home) as journal:
        run_id = await journal.find_run(run)
        fork_plan, graph, _, _ = await plan_fork(journal, run_id, task, workflow)
    async with Interrupts() as interrupts, Session(settings, files, interrupts) as session:
        await interrupts.run_or_abort(session.fork(run_id, task, workflow, fork_id, again=again))
        if not quiet:
            taken_count = len(fork_plan.fork.taken)
            output.print_note(
                f"run {fork_id}: {run_id} from {output.escape(task)} on, {taken_count:,} taken over"
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
