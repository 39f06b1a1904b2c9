"""`agenthive export RUN`: one run as a file."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from agenthive.cli.support.options import home_option, json_option, settings_of

if TYPE_CHECKING:
    from agenthive.settings import Settings


@click.command(name="export", short_help="Write one run into a file.")
@click.argument("run")
@click.option(
    "--output", "-o", "target", metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to; standard output if nothing is said.",
)  # fmt: skip
@home_option
@json_option
def command(run: str, target: Path | None, home: Path | None, as_json: bool) -> int:
    """Write RUN (an id or its beginning) with its definition, records and results into one file.

    The file is JSON lines: a header, the definition, every record with its hash, large values.
    `agenthive import` reads it. It holds no secrets, only the names of those that were used; it
    does hold inputs and results. A run that has not ended is written as far as it has come.
    """
    import asyncio

    if as_json and target is None:
        raise click.UsageError("with --json say where the file goes: -o FILE")
    return asyncio.run(_export(settings_of(home), run, target, as_json=as_json))


async def _export(settings: Settings, run: str, target: Path | None, *, as_json: bool) -> int:
    from agenthive.cli.support import output
    from agenthive.hive import reading

    async with reading(settings.home) as archive:
        found = await archive.find(run)
        lines = archive.export(found)
        if target is None:
            stream = sys.stdout.buffer
            async for line in lines:
                stream.write(line)
            return 0
        partial = target.with_name(f"{target.name}.part")
        size = 0
        try:
            with _private(partial) as file:
                async for line in lines:
                    size += file.write(line)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    if as_json:
        output.document("export", run_id=found, file=str(target), bytes=size)
    else:
        output.line(f"{found}: {output.size(size)} in {output.safe(str(target))}")
    return 0


def _private(path: Path) -> BinaryIO:
    """A new file for its owner's eyes only: inputs and results may be nobody else's business."""
    path.unlink(missing_ok=True)
    made = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    return os.fdopen(made, "wb")
