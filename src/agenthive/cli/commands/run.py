"""`agenthive run FILE`: check a workflow, run it and show its progress."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from agenthive.cli.support.options import (
    agents_option,
    home_option,
    json_option,
    load_settings,
    request_id_option,
)

if TYPE_CHECKING:
    from agenthive.cli.support.workflow_files import AcceptedWorkflow
    from agenthive.settings import Settings


@click.command(name="run", short_help="Run a workflow and show its progress.")
@click.argument("file", type=click.Path(path_type=Path))
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
@agents_option
@request_id_option
@home_option
@json_option
@click.option("--quiet", "-q", is_flag=True, help="Do not show progress.")
@click.option(
    "--stream",
    is_flag=True,
    help="Print model responses while they are generated, for tasks with stream: true.",
)
def command(**options: Any) -> int:
    """Run the workflow in FILE (YAML or JSON) until it ends or waits for input.

    The run is recorded before its first call. Ctrl-C waits for the calls in flight and leaves the
    rest to `agenthive resume`; a second Ctrl-C stops at once.

    \b
    Exit codes:
      0  completed              7  partially completed
      1  failed                 8  waiting for an approval, a signal or an outcome
      2  invalid file or input  9  timed out
      6  over budget            130  interrupted or cancelled
    """
    from agenthive.runtimes import event_loop

    return event_loop.run(_run_workflow(*_prepare_run(**options)))


async def execute_command(**options: Any) -> int:
    """Run the command inside an event loop that is already running."""
    return await _run_workflow(*_prepare_run(**options))


def _prepare_run(
    file: Path,
    pairs: tuple[str, ...],
    inputs_file: Path | None,
    agent_files: tuple[Path, ...],
    home: Path | None,
    as_json: bool,
    quiet: bool,
    stream: bool,
) -> tuple[Settings, AcceptedWorkflow, tuple[Path, ...], _ViewOptions]:
    """Check the file and the inputs before the run starts."""
    from agenthive.cli.support.workflow_files import accept_workflow, collect_inputs

    settings = load_settings(home)
    raw_inputs = collect_inputs(pairs, inputs_file)
    accepted = accept_workflow(file, raw_inputs, settings, agent_files)
    view = _ViewOptions(as_json=as_json, quiet=quiet or stream, stream=stream)
    return settings, accepted, agent_files, view


class _ViewOptions(NamedTuple):
    as_json: bool
    quiet: bool
    stream: bool


async def _run_workflow(
    settings: Settings, accepted: AcceptedWorkflow, files: tuple[Path, ...], view: _ViewOptions
) -> int:
    import asyncio

    from agenthive.cli.support import follow, output, stream_view
    from agenthive.cli.support.interrupts import Interrupts
    from agenthive.cli.support.session import Session
    from agenthive.infra.ids import uuid7

    run, spec = uuid7(), accepted.spec
    async with Interrupts() as interrupts, Session(settings, files, interrupts) as session:
        stream_task = None
        if view.stream and session.request_id is None:
            # Before the run begins, so that nothing is missed.
            stream_task = asyncio.ensure_future(stream_view.show_answers(session, run))
        run = await interrupts.run_or_abort(session.submit(spec, accepted.inputs, run))
        if view.stream and stream_task is None:
            stream_task = asyncio.ensure_future(stream_view.show_answers(session, run))
        if not view.quiet:
            output.print_note(f"run {run}: {output.escape(spec.name)}, {len(spec.tasks):,} tasks")
        work = follow.follow_run(session, run, spec.name, len(spec.tasks), quiet=view.quiet)
        ended = await interrupts.run_to_end(work)
        if stream_task is not None:
            await asyncio.wait({stream_task}, timeout=1.0)
            stream_task.cancel()
        await follow.leave_home(session, interrupts, interrupted=not ended)
        report = await session.report(run)
        if view.as_json:
            output.print_document("run", **output.run_fields(report))
        else:
            output.print_results(report)
            if not view.quiet:
                await follow.print_epilogue(session, report)
        return report.exit_code if ended else follow.INTERRUPTED
