"""Statistics of a workflow's agents, learned from the journal of a home.

Only reads the journal, so it can run while another process owns the home.
"""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from agenthive.core.journal import run_events as ev
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.errors import ConfigurationError, RunUnusable, StoreCorrupt
from agenthive.hive import open_journal
from agenthive.infra.home import Home
from agenthive.insights.agent_statistics import Fit


def learn_from_journal(home: Path, spec: WorkflowSpec) -> Fit:
    """Statistics from the journal of ``home``. Raises ConfigurationError if there is none."""
    if not Home(home).journal.exists():
        raise ConfigurationError(
            f"there is no journal in {home}", hint="Name a home in which workflows have run."
        )
    # In a thread, because the caller may already run an event loop.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(_fold_journal(home, spec))).result()


async def _fold_journal(home: Path, spec: WorkflowSpec) -> Fit:
    fit = Fit(spec.name, {task.name for task in spec.tasks})
    try:
        async with open_journal(home) as reader:
            # Statistics are the same without a few runs: what is damaged is left out.
            async for page in reader.read_pages(damage={}):
                for record in page:
                    if record.seq == 1 and record.stream != ev.HIVE:
                        with contextlib.suppress(RunUnusable):
                            fit.open_run(record.stream, await reader.load_graph([record]))
                fit.add_records(page)
    except msgspec.ValidationError as error:
        raise StoreCorrupt(f"the journal of {home} cannot be read: {error}") from error
    return fit
