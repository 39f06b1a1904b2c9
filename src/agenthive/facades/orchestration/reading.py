"""The journal of some runs up to a cursor, which the cost tracker and the monitor report.

Keeps a cursor and the sums of `insights` up to it, since the tracker and the monitor are called
synchronously. Without a journal all sums are zero. Other runs of the hive are skipped.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from agenthive.core.history.story import event_type
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Record
from agenthive.core.values import SECOND, NanoUSD
from agenthive.insights.costs import Costs, CostTotals, sum_totals
from agenthive.insights.metrics import Metrics, MetricsFold
from agenthive.queries.journal_reader import JournalReader

#: Events that are kept.
MAX_EVENTS: Final = 1000
_EVENT_NAMES: Final = {
    "run.started": "workflow_started",
    "task.started": "agent_started",
    "task.succeeded": "agent_completed",
    "task.failed": "agent_failed",
    "task.cancelled": "agent_cancelled",
}
_RUN_NUMBER: Final = re.compile(r"\.\d+$")


def workflow_of(run: str) -> str:
    """The workflow of a run: each run after the first has a number appended to the id."""
    return _RUN_NUMBER.sub("", run)


def build_event(
    event_type: str, at: float, agent_id: str | None, workflow_id: str | None, data: Any
) -> dict[str, Any]:
    """An event in the form of this design; ``at`` is seconds since the epoch."""
    return {
        "event_type": event_type,
        "timestamp": datetime.fromtimestamp(at, UTC).isoformat(),
        "agent_id": agent_id,
        "workflow_id": workflow_id,
        "data": data,
    }


class Reading:
    """The part of a journal that was read so far."""

    def __init__(self) -> None:
        self.events: deque[dict[str, Any]] = deque(maxlen=MAX_EVENTS)
        self.started = 0
        self._fold = MetricsFold()
        self._costs = {by: Costs(by) for by in ("run", "agent", "model")}
        self._runs: set[str] = set()
        self._pos: int | None = None
        self._busy = asyncio.Lock()

    async def add_run(self, run: str, reader: JournalReader) -> None:
        """Also read this run, which has not started."""
        self._runs.add(run)
        if self._pos is None:
            self._pos = await reader.last_position()

    async def catch_up(self, reader: JournalReader) -> None:
        """Read the records that were committed since the last call."""
        async with self._busy:
            async for page in reader.read_pages(self._pos or 0):
                self._pos = page[-1].pos
                self._apply_page(
                    [
                        selected
                        for record in page
                        if (selected := self._select_own(record)) is not None
                    ]
                )

    @property
    def metrics(self) -> Metrics:
        """The sums over runs, tasks and agents."""
        return self._fold.metrics

    def total_spent(self) -> CostTotals:
        """The usage of all calls."""
        return sum_totals(self._costs["model"].sum_rows())

    def sum_costs(self, by: str) -> dict[str, NanoUSD]:
        """The cost of calls by ``run`` (its workflow), ``agent`` or ``model``, in nano-dollars."""
        sums: Counter[str] = Counter()
        for key, spent in self._costs[by].sum_rows():
            sums[workflow_of(key[0]) if by == "run" else key[0]] += spent.cost
        return sums

    def _select_own(self, record: Record) -> Record | None:
        """The events of a record that belong to these runs."""
        if record.stream != ev.HIVE:
            return record if record.stream in self._runs else None
        hive_events = ev.decode_hive_events(record.payload)
        own_events = [event for event in hive_events if getattr(event, "run", None) in self._runs]
        return (
            msgspec.structs.replace(record, payload=ev.encode(own_events)) if own_events else None
        )

    def _apply_page(self, page: Sequence[Record]) -> None:
        self._fold.add_records(page)
        for costs in self._costs.values():
            costs.add_records(page)
        for record in page:
            self._add_record(record)

    def _add_record(self, record: Record) -> None:
        if record.stream == ev.HIVE:
            for hive_event in ev.decode_hive_events(record.payload):
                if isinstance(hive_event, ev.RunClosed):
                    self._add_event(
                        f"workflow_{hive_event.status}", hive_event.run, None, hive_event
                    )
            return
        for event in ev.decode_run_events(record.payload):
            self.started += isinstance(event, ev.RunStarted)
            agent = event.task if isinstance(event, ev.TaskEvent) else None
            self._add_event(
                _EVENT_NAMES.get(event_type(event), event_type(event)), record.stream, agent, event
            )

    def _add_event(self, name: str, run: str, agent: str | None, event: ev.Event) -> None:
        data = msgspec.to_builtins(event)
        self.events.append(build_event(name, event.at / SECOND, agent, workflow_of(run), data))


def latest_events(
    events: Iterable[dict[str, Any]], count: int, event_type: str | None
) -> list[dict[str, Any]]:
    """The last ``count`` events, in order, of all types or of one."""
    matching = [item for item in events if event_type in (None, item["event_type"])]
    return sorted(matching, key=lambda event: str(event["timestamp"]))[-count:] if count > 0 else []
