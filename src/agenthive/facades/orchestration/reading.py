"""The journal of some runs, as far as it was read: what the cost tracker and the monitor show.

A cursor and the sums of `insights` up to it, since these are asked without waiting. Holds nothing
that was not read; one that reads no journal stays at nothing. Other runs of the hive are passed by.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from agenthive.core.history.story import tag
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Record
from agenthive.core.values import SECOND, NanoUSD
from agenthive.insights.costs import Costs, Spent, total
from agenthive.insights.metrics import Fold, Metrics
from agenthive.queries.journal_reader import Archive

KEPT: Final = 1000
"""Events that can be looked at again."""
_NAMES: Final = {
    "run.started": "workflow_started",
    "task.started": "agent_started",
    "task.succeeded": "agent_completed",
    "task.failed": "agent_failed",
    "task.cancelled": "agent_cancelled",
}
_AGAIN: Final = re.compile(r"\.\d+$")


def workflow_of(run: str) -> str:
    """The workflow whose run that is: each run after the first has a number behind its id."""
    return _AGAIN.sub("", run)


def shown(
    event_type: str, at: float, agent_id: str | None, workflow_id: str | None, data: Any
) -> dict[str, Any]:
    """An event as this design shows it; ``at`` is seconds since the epoch."""
    return {
        "event_type": event_type,
        "timestamp": datetime.fromtimestamp(at, UTC).isoformat(),
        "agent_id": agent_id,
        "workflow_id": workflow_id,
        "data": data,
    }


class Reading:
    """What was read of a journal."""

    def __init__(self) -> None:
        self.events: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self.started = 0
        self._fold = Fold()
        self._costs = {by: Costs(by) for by in ("run", "agent", "model")}
        self._runs: set[str] = set()
        self._pos: int | None = None
        self._busy = asyncio.Lock()

    async def begin(self, run: str, archive: Archive) -> None:
        """Read this run too, which has not begun."""
        self._runs.add(run)
        if self._pos is None:
            self._pos = await archive.latest()

    async def catch_up(self, archive: Archive) -> None:
        """Read what has been committed since."""
        async with self._busy:
            async for page in archive.pages(self._pos or 0):
                self._pos = page[-1].pos
                self._take([own for record in page if (own := self._own(record)) is not None])

    @property
    def metrics(self) -> Metrics:
        """The sums over runs, tasks and agents."""
        return self._fold.metrics

    def spent(self) -> Spent:
        """What all calls used."""
        return total(self._costs["model"].rows())

    def costs(self, by: str) -> dict[str, NanoUSD]:
        """What calls cost by ``run`` (its workflow), ``agent`` or ``model``."""
        found: Counter[str] = Counter()
        for key, spent in self._costs[by].rows():
            found[workflow_of(key[0]) if by == "run" else key[0]] += spent.cost
        return found

    def _own(self, record: Record) -> Record | None:
        """What a record says of these runs."""
        if record.stream != ev.HIVE:
            return record if record.stream in self._runs else None
        about = ev.decode_hive(record.payload)
        own = [event for event in about if getattr(event, "run", None) in self._runs]
        return msgspec.structs.replace(record, payload=ev.encode(own)) if own else None

    def _take(self, page: Sequence[Record]) -> None:
        self._fold.take(page)
        for costs in self._costs.values():
            costs.take(page)
        for record in page:
            self._tell(record)

    def _tell(self, record: Record) -> None:
        if record.stream == ev.HIVE:
            for about in ev.decode_hive(record.payload):
                if isinstance(about, ev.RunClosed):
                    self._add(f"workflow_{about.status}", about.run, None, about)
            return
        for event in ev.decode_run(record.payload):
            self.started += isinstance(event, ev.RunStarted)
            agent = event.task if isinstance(event, ev.TaskEvent) else None
            self._add(_NAMES.get(tag(event), tag(event)), record.stream, agent, event)

    def _add(self, name: str, run: str, agent: str | None, event: ev.Event) -> None:
        data = msgspec.to_builtins(event)
        self.events.append(shown(name, event.at / SECOND, agent, workflow_of(run), data))


def latest(
    events: Iterable[dict[str, Any]], count: int, event_type: str | None
) -> list[dict[str, Any]]:
    """The last ``count`` events, in order, of all types or one."""
    found = [one for one in events if event_type in (None, one["event_type"])]
    return sorted(found, key=lambda one: str(one["timestamp"]))[-count:] if count > 0 else []
