"""`agenthive du [RUN]`: how much room a home takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agenthive.cli.support.options import home_option, json_option, settings_of

if TYPE_CHECKING:
    from agenthive.core.journal.records import Sizes
    from agenthive.settings import Settings


@click.command(name="du", short_help="Show how much room a home takes, and what for.")
@click.argument("run", required=False)
@click.option(
    "--limit", "-n", type=click.IntRange(0, 100_000), default=10, show_default=True,
    help="How many runs to list, largest first.",
)  # fmt: skip
@home_option
@json_option
def command(run: str | None, limit: int, home: Path | None, as_json: bool) -> int:
    """Show the bytes of the home: records, large values (blobs), definitions, files, largest runs.

    With RUN (an id or its beginning), only what that run takes and nobody else uses. "gc would
    free" is what `agenthive gc` would drop as the settings are now.
    """
    import asyncio

    settings = settings_of(home)
    if run is not None:
        return asyncio.run(_one(settings, run, as_json=as_json))
    return asyncio.run(_all(settings, limit, as_json=as_json))


async def _one(settings: Settings, run: str, *, as_json: bool) -> int:
    from agenthive.cli.support import output
    from agenthive.hive import reading

    async with reading(settings.home) as archive:
        found = await archive.find(run)
        sizes = await archive.sizes(found)
    if as_json:
        output.document("du-run", run_id=found, **_content(sizes))
        return 0
    rows = [(name, output.size(count)) for name, count in _content(sizes).items()]
    output.table((found, "SIZE"), rows)
    return 0


async def _all(settings: Settings, limit: int, *, as_json: bool) -> int:
    from agenthive.cli.support import output
    from agenthive.hive import reading
    from agenthive.infra.clock import SteadyClock

    now = SteadyClock().now()
    async with reading(settings.home) as archive:
        sizes = await archive.sizes()
        largest = await archive.largest(limit)
        due, going = await archive.due(settings.retention, now)
    files = {"journal": sizes.file, "free": sizes.free, "log": sizes.log}
    files |= {"secrets": _folder(settings.home / "secrets")}
    would = {"runs": len(due), **_content(going)}
    if as_json:
        streams = [
            {"run": one.stream, "records": one.records, "blobs": one.blobs} for one in largest
        ]
        output.document("du", content=_content(sizes), files=files, largest=streams, gc=would)
        return 0
    for heading, group in (("CONTENT", _content(sizes)), ("FILES", files)):
        output.table((heading, "SIZE"), [(name, output.size(size)) for name, size in group.items()])
        output.line()
    if largest:
        rows = [(one.stream, output.size(one.records), output.size(one.blobs)) for one in largest]
        output.table(("LARGEST", "RECORDS", "BLOBS"), rows)
        output.line()
    output.line(f"gc would free {output.size(sum(_content(going).values()))} in {len(due):,} runs")
    return 0


def _content(sizes: Sizes) -> dict[str, Any]:
    return {"records": sizes.records, "blobs": sizes.blobs, "definitions": sizes.definitions}


def _folder(path: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
