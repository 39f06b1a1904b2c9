"""`agenthive migrate RUN FILE`: move an open run to a changed workflow."""

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
    from agenthive.core.history.migration import Migration
    from agenthive.core.model.workflow import WorkflowSpec
    from agenthive.settings import Settings


@click.command(name="migrate", short_help="Move an open run to a changed workflow.")
@click.argument("run")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Show whether the run can be migrated, change nothing.")
@click.option(
    "--rename",
    "pairs",
    metavar="OLD=NEW",
    multiple=True,
    help="Declare that task OLD is called NEW in FILE, if that is ambiguous. Repeatable.",
)
@agents_option
@request_id_option
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
    """Move the open run RUN (an id or its beginning) to the changed workflow in FILE.

    A run is pinned to the workflow it was started with. It can move to a changed one if every task
    that it has started is unchanged there (verdict `adopt`), or only renamed (`map`); otherwise it
    stays (`stay`, exit code 1). This is proved by a replay of its journal.
    """
    import asyncio

    from agenthive.runtimes import event_loop

    settings = load_settings(home)
    workflow = _load_workflow(file, settings, agent_files)
    renamed = dict(_parse_rename(text) for text in pairs)
    if check:
        return asyncio.run(_check_migration(settings, run, workflow, renamed, as_json=as_json))
    return event_loop.run(
        _migrate_run(settings, agent_files, run, workflow, renamed, as_json=as_json)
    )


def _parse_rename(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise click.UsageError(f"--rename {text!r} is not OLD=NEW; write --rename fetch=download.")
    return old, new


def _load_workflow(file: Path, settings: Settings, files: tuple[Path, ...]) -> WorkflowSpec:
    from agenthive.cli.support.workflow_files import accept_file

    return accept_file(file, settings, files)


async def _check_migration(
    settings: Settings, run: str, workflow: WorkflowSpec, renamed: dict[str, str], *, as_json: bool
) -> int:
    from agenthive.hive import open_journal
    from agenthive.hive.migrations import preview_migration

    async with open_journal(settings.home) as journal:
        run_id = await journal.find_run(run)
        migration = (await preview_migration(journal, run_id, workflow, renamed)).migration
    _print_migration(run_id, migration, done=False, as_json=as_json)
    return int(migration.verdict == "stay")


async def _migrate_run(
    settings: Settings,
    files: tuple[Path, ...],
    run: str,
    workflow: WorkflowSpec,
    renamed: dict[str, str],
    *,
    as_json: bool,
) -> int:
    from agenthive.cli.support.human_input import current_user, follow_and_report
    from agenthive.cli.support.interrupts import Interrupts
    from agenthive.cli.support.session import Session
    from agenthive.hive import open_journal

    async with open_journal(settings.home) as journal:
        run_id = await journal.find_run(run)
    async with Interrupts() as interrupts, Session(settings, files, interrupts) as session:
        migration = await session.migrate(run_id, workflow, renamed=renamed, actor=current_user())
        if not as_json:
            _print_migration(run_id, migration, done=True, as_json=False)
        return await follow_and_report(session, interrupts, run_id, as_json=as_json)


def _print_migration(run: str, migration: Migration, *, done: bool, as_json: bool) -> None:
    import msgspec

    from agenthive.cli.support import output

    if as_json:
        output.print_document("migrate", run_id=run, done=done, **msgspec.to_builtins(migration))
        return
    rows = [
        (change.task or "(run)", change.what, change.verdict, change.reason)
        for change in migration.changes
    ]
    if rows:
        output.print_table(("TASK", "CHANGE", "VERDICT", "REASON"), rows)
        output.print_line()
    output.print_line(f"{run}: {'migrated' if done else _MEANING[migration.verdict]}")


_MEANING = {
    "adopt": "adopt - the run can move to the changed workflow",
    "map": "map - the run can move to the changed workflow, with its tasks renamed",
    "stay": "stay - the run stays pinned to the workflow it was started with",
}
