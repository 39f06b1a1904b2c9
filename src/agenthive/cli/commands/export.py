"""`agenthive export RUN`: a run as a file."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from agenthive.cli.support.options import home_option, json_option, load_settings

if TYPE_CHECKING:
    from agenthive.settings import Settings


@click.command(name="export", short_help="Export a run to a file.")
@click.argument("run")
@click.option(
    "--output",
    "-o",
    "target",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write.  [default: standard output]",
)
@home_option
@json_option
def command(run: str, target: Path | None, home: Path | None, as_json: bool) -> int:
    """Export RUN (an id or its beginning) with its definition, records and results to one file.

    The file has one JSON document on each line: a header, the definition, every record with its
    hash, and large values. `agenthive import` reads it. It contains inputs and results, but only
    references to secrets. An open run is exported up to its last event.
    """
    import asyncio

    if as_json and target is None:
        raise click.UsageError("--json needs -o FILE: both would write to standard output.")
    return asyncio.run(_export_run(load_settings(home), run, target, as_json=as_json))


async def _export_run(settings: Settings, run: str, target: Path | None, *, as_json: bool) -> int:
    from agenthive.cli.support import output
    from agenthive.hive import open_journal

    async with open_journal(settings.home) as journal:
        run_id = await journal.find_run(run)
        lines = journal.export_run(run_id)
        if target is None:
            stream = sys.stdout.buffer
            async for line in lines:
                stream.write(line)
            return 0
        partial_file = target.with_name(f"{target.name}.part")
        size = 0
        try:
            with _open_private(partial_file) as file:
                async for line in lines:
                    size += file.write(line)
            partial_file.replace(target)
        finally:
            partial_file.unlink(missing_ok=True)
    if as_json:
        output.print_document("export", run_id=run_id, file=str(target), bytes=size)
    else:
        output.print_line(f"{run_id}: {output.format_size(size)} in {output.escape(str(target))}")
    return 0


def _open_private(path: Path) -> BinaryIO:
    """Create a file that only its owner can read: inputs and results may be confidential."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "wb")
