"""`agenthive du [RUN]`: the disk usage of a home."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agenthive.cli.support.options import home_option, json_option, load_settings

if TYPE_CHECKING:
    from agenthive.core.journal.records import Sizes
    from agenthive.settings import Settings


@click.command(name="du", short_help="Show the disk usage of a home.")
@click.argument("run", required=False)
@click.option(
    "--limit",
    "-n",
    type=click.IntRange(0, 100_000),
    default=10,
    show_default=True,
    help="Maximum number of runs, largest first.",
)
@home_option
@json_option
def command(run: str | None, limit: int, home: Path | None, as_json: bool) -> int:
    """Show the disk usage of the home: records, large values (blobs), definitions, files and the
    largest runs.

    With RUN (an id or its beginning), show what only that run uses. The last line is what
    `agenthive gc` would delete with the current settings.
    """
    import asyncio

    settings = load_settings(home)
    if run is not None:
        return asyncio.run(_show_run(settings, run, as_json=as_json))
    return asyncio.run(_show_home(settings, limit, as_json=as_json))


async def _show_run(settings: Settings, run: str, *, as_json: bool) -> int:
    from agenthive.cli.support import output
    from agenthive.hive import open_journal

    async with open_journal(settings.home) as journal:
        run_id = await journal.find_run(run)
        sizes = await journal.storage.measure_sizes(run_id)
    if as_json:
        output.print_document("du-run", run_id=run_id, **_content_fields(sizes))
        return 0
    rows = [(name, output.format_size(count)) for name, count in _content_fields(sizes).items()]
    output.print_table((run_id, "SIZE"), rows)
    return 0


async def _show_home(settings: Settings, limit: int, *, as_json: bool) -> int:
    from agenthive.cli.support import output
    from agenthive.hive import open_journal
    from agenthive.infra.clock import SystemClock

    now = SystemClock().now()
    async with open_journal(settings.home) as journal:
        sizes = await journal.storage.measure_sizes()
        largest = await journal.storage.list_largest_streams(limit)
        due, prunable = await journal.storage.list_due_runs(settings.retention, now)
    files = {"journal": sizes.file, "free": sizes.free, "log": sizes.log}
    files |= {"secrets": _folder_size(settings.home / "secrets")}
    gc_fields = {"runs": len(due), **_content_fields(prunable)}
    if as_json:
        streams = [
            {"run": usage.stream, "records": usage.records, "blobs": usage.blobs}
            for usage in largest
        ]
        output.print_document(
            "du", content=_content_fields(sizes), files=files, largest=streams, gc=gc_fields
        )
        return 0
    for heading, group in (("CONTENT", _content_fields(sizes)), ("FILES", files)):
        output.print_table(
            (heading, "SIZE"), [(name, output.format_size(size)) for name, size in group.items()]
        )
        output.print_line()
    if largest:
        rows = [
            (usage.stream, output.format_size(usage.records), output.format_size(usage.blobs))
            for usage in largest
        ]
        output.print_table(("LARGEST RUN", "RECORDS", "BLOBS"), rows)
        output.print_line()
    output.print_line(
        f"gc would free {output.format_size(sum(_content_fields(prunable).values()))} in "
        f"{len(due):,} runs"
    )
    return 0


def _content_fields(sizes: Sizes) -> dict[str, Any]:
    return {"records": sizes.records, "blobs": sizes.blobs, "definitions": sizes.definitions}


def _folder_size(path: Path) -> int:
    """Bytes of the files in a directory."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
