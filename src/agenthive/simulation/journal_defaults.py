"""What the journal of a home says of a workflow's agents. Only reads, beside whoever owns it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from agenthive.core.journal import run_events as ev
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.errors import ConfigurationError, StoreCorrupt
from agenthive.hive import reading
from agenthive.infra.home import Home
from agenthive.insights.agent_statistics import Fit


def recall(home: Path, spec: WorkflowSpec) -> Fit:
    """Fold the journal of ``home``. Raises ConfigurationError if there is none."""
    if not Home(home).journal.exists():
        raise ConfigurationError(
            f"there is no journal in {home}", hint="Name a home in which workflows have run."
        )
    # A thread of its own: the caller may have a loop that is running.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(_fold(home, spec))).result()


async def _fold(home: Path, spec: WorkflowSpec) -> Fit:
    fit = Fit(spec.name, {task.name for task in spec.tasks})
    try:
        async with reading(home) as archive:
            async for page in archive.pages():
                for record in page:
                    if record.seq == 1 and record.stream != ev.HIVE:
                        fit.opens(record.stream, await archive.graph([record]))
                fit.take(page)
    except msgspec.ValidationError as error:
        raise StoreCorrupt(f"the journal of {home} cannot be read: {error}") from error
    return fit
