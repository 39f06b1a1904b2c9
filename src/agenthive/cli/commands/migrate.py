"""`agenthive migrate RUN FILE`: let an open run go on under a changed workflow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agenthive.cli.support.options import agents_option, home_option, json_option, settings_of

if TYPE_CHECKING:
    from agenthive.core.history.migration import Migration
    from agenthive.core.model.workflow import WorkflowSpec
    from agenthive.settings import Settings


@click.command(name="migrate", short_help="Let an open run go on under a changed workflow.")
@click.argument("run")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Only say whether it could, and why not.")
@click.option(
    "--rename", "pairs", metavar="OLD=NEW", multiple=True,
    help="A task that is called otherwise in FILE, where that cannot be seen.",
)  # fmt: skip
@agents_option
@home_option
@json_option
def command(
    run: str,
    file: Path,
    check: bool,
    pairs: tuple[str, ...],
    agent_files: tuple[Path, ...],
    home: Path | None,
    as_json: bool,
) -> int:
    """Let RUN (an id or its beginning), which has not ended, go on under the workflow in FILE.

    A run is pinned to the workflow it was started with. It can adopt a changed one if everything it
    has begun means the same there (under other names, if need be: map); else it stays pinned. The
    proof is a replay of its journal. Exit code 1 if it must stay.
    """
    import asyncio

    from agenthive.runtimes import event_loop

    settings = settings_of(home)
    workflow = _workflow(file, settings, agent_files)
    renamed = dict(_pair(text) for text in pairs)
    if check:
        return asyncio.run(_check(settings, run, workflow, renamed, as_json=as_json))
    return event_loop.run(_migrate(settings, agent_files, run, workflow, renamed, as_json=as_json))


def _pair(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise click.UsageError(f"--rename {text!r} is not OLD=NEW.")
    return old, new


def _workflow(file: Path, settings: Settings, files: tuple[Path, ...]) -> WorkflowSpec:
    from agenthive.cli.support.workflow_files import accepted_file

    return accepted_file(file, settings, files)


async def _check(
    settings: Settings, run: str, workflow: WorkflowSpec, renamed: dict[str, str], *, as_json: bool
) -> int:
    from agenthive.hive import reading
    from agenthive.hive.migrations import examine

    async with reading(settings.home) as archive:
        found = await archive.find(run)
        migration = (await examine(archive, found, workflow, renamed)).migration
    _print(found, migration, done=False, as_json=as_json)
    return int(migration.verdict == "stay")


async def _migrate(
    settings: Settings,
    files: tuple[Path, ...],
    run: str,
    workflow: WorkflowSpec,
    renamed: dict[str, str],
    *,
    as_json: bool,
) -> int:
    from agenthive.cli.support.human_input import go_on, whoami
    from agenthive.cli.support.interrupts import Interrupts
    from agenthive.cli.support.session import Session
    from agenthive.hive import reading
    from agenthive.hive.migrations import examine

    async with reading(settings.home) as archive:
        found = await archive.find(run)
        migration = (await examine(archive, found, workflow, renamed)).migration
    async with Interrupts() as interrupts, Session(settings, files, interrupts) as session:
        await session.migrate(found, workflow, renamed=renamed, actor=whoami())
        if not as_json:
            _print(found, migration, done=True, as_json=False)
        return await go_on(session, interrupts, found, as_json=as_json)


def _print(run: str, found: Migration, *, done: bool, as_json: bool) -> None:
    import msgspec

    from agenthive.cli.support import output

    if as_json:
        output.document("migrate", run_id=run, done=done, **msgspec.to_builtins(found))
        return
    rows = [(one.task or "(run)", one.what, one.verdict, one.reason) for one in found.changes]
    if rows:
        output.table(("TASK", "CHANGE", "VERDICT", "WHY"), rows)
        output.line()
    output.line(f"{run}: {'migrated' if done else _MEANING[found.verdict]}")


_MEANING = {
    "adopt": "adopt - it can go on under the new workflow",
    "map": "map - it can, with its tasks under their new names",
    "stay": "stay - it stays pinned to the workflow it was started with",
}
