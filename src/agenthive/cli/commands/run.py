"""`agenthive run FILE`: check a workflow, have it carried out, show how it goes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from agenthive.cli.support.options import agents_option, home_option, json_option, settings_of

if TYPE_CHECKING:
    from agenthive.cli.support.workflow_files import Accepted
    from agenthive.settings import Settings


@click.command(name="run", short_help="Run a workflow and show how it goes.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--input", "pairs", metavar="KEY=VALUE", multiple=True, help="One input.")
@click.option(
    "--inputs",
    "inputs_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="YAML or JSON file with a map of inputs; --input wins.",
)
@agents_option
@home_option
@json_option
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
@click.option(
    "--stream", is_flag=True, help="Show answers as they come in, of tasks with stream: true."
)
def command(**options: Any) -> int:
    """Run the workflow in FILE (YAML or JSON) to its end.

    The run is on disk before its first call. Ctrl-C lets the calls under way end and leaves the
    rest for `agenthive resume`; a second Ctrl-C stops at once. Exit codes: 0 completed, 1 failed,
    2 the file or an input is wrong, 6 over budget, 7 partially completed, 8 waiting for somebody,
    9 timed out, 130 interrupted or cancelled.
    """
    from agenthive.runtimes import event_loop

    return event_loop.run(_run(*_prepare(**options)))


async def execute(**options: Any) -> int:
    """The same inside an event loop that runs already."""
    return await _run(*_prepare(**options))


def _prepare(
    file: Path,
    pairs: tuple[str, ...],
    inputs_file: Path | None,
    agent_files: tuple[Path, ...],
    home: Path | None,
    as_json: bool,
    quiet: bool,
    stream: bool,
) -> tuple[Settings, Accepted, tuple[Path, ...], _Show]:
    """Check the file and the inputs before anything is started."""
    from agenthive.cli.support.workflow_files import accept, given_inputs

    settings = settings_of(home)
    accepted = accept(file, given_inputs(pairs, inputs_file), settings, agent_files)
    show = _Show(as_json=as_json, quiet=quiet or stream, stream=stream)
    return settings, accepted, agent_files, show


class _Show(NamedTuple):
    as_json: bool
    quiet: bool
    stream: bool


async def _run(settings: Settings, accepted: Accepted, files: tuple[Path, ...], show: _Show) -> int:
    import asyncio

    from agenthive.cli.support import follow, output, stream_view
    from agenthive.cli.support.interrupts import Interrupts
    from agenthive.cli.support.session import Session
    from agenthive.infra.ids import uuid7

    run, spec = uuid7(), accepted.spec
    async with Interrupts() as interrupts, Session(settings, files, interrupts) as session:
        heard = asyncio.ensure_future(stream_view.show(session, run)) if show.stream else None
        await interrupts.starts(session.submit(spec, accepted.inputs, run))
        if not show.quiet:
            output.note(f"run {run}: {output.safe(spec.name)}, {len(spec.tasks):,} tasks")
        work = follow.follow(session, run, spec.name, len(spec.tasks), quiet=show.quiet)
        ended = await interrupts.finishes(work)
        if heard is not None:
            await asyncio.wait({heard}, timeout=1.0)
            heard.cancel()
        await follow.leave(session, interrupts, told=not ended)
        report = await session.report(run)
        if show.as_json:
            output.document("run", **output.run_document(report))
        else:
            output.results(report)
            if not show.quiet:
                await follow.epilogue(session, report)
        return report.exit_code if ended else follow.INTERRUPTED
