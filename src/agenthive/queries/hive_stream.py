"""Reads the hive stream: schedules, circuit breakers and imports.

The hive stream records what concerns more than one run. All answers are folded from it in one pass,
oldest record first. Never reads the stream of a run, and never writes.

To add a question about the hive: a method here; to add one about a run: `journal_reader`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator

from agenthive.core.engine.circuit_breakers import move_opening
from agenthive.core.engine.schedules import ScheduleRow, Schedules
from agenthive.core.history.clock_marks import CLOCK_MARK, RecordedStep, decode_steps
from agenthive.core.history.run_index import list_open_imports
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.store import Store
from agenthive.core.ports import Calendar
from agenthive.core.values import Micros
from agenthive.queries.damage import decode_hive_record, read_hive_records


class HiveStreamReader:
    """Answers questions about a hive as a whole."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list_schedules(self, calendar: Calendar) -> list[ScheduleRow]:
        """All schedules, in the order in which they were first set."""
        schedules = Schedules(calendar)
        async for event in self._read_events():
            schedules.apply_event(event)
        return [schedule.build_row(calendar) for schedule in schedules.by_name.values()]

    async def list_schedule_events(self, name: str, limit: int) -> list[ev.ScheduleEvent]:
        """The last ``limit`` events of a schedule, oldest first."""
        events: deque[ev.ScheduleEvent] = deque(maxlen=limit)
        async for event in self._read_events():
            if isinstance(event, ev.ScheduleEvent) and event.schedule == name:
                events.append(event)
        return list(events)

    async def list_open_breakers(self) -> dict[str, Micros]:
        """Endpoints with an open circuit breaker, and when it lets a probe pass."""
        breakers: dict[str, tuple[Micros, Micros]] = {}
        async for event in self._read_events():
            if isinstance(event, ev.BreakerOpened):
                breakers[event.endpoint] = event.until, event.time
            elif isinstance(event, ev.BreakerClosed):
                breakers.pop(event.endpoint, None)
            elif isinstance(event, ev.ClockSteppedBack | ev.ClockSteppedForward):
                for endpoint, (until, opened) in breakers.items():
                    moved = move_opening(until, opened, event)
                    breakers[endpoint] = moved, opened + moved - until
        return {endpoint: until for endpoint, (until, _) in breakers.items()}

    async def list_clock_steps(self) -> list[RecordedStep]:
        """The last steps back of the clock, the latest last."""
        return decode_steps((await self._store.list_marks()).get(CLOCK_MARK, ""))

    async def find_latest_time(self) -> Micros | None:
        """What the clock showed at the last event of the hive; None if there is none."""
        record = await self._store.read_last_record(ev.HIVE)
        return None if record is None else decode_hive_record(record)[-1].time

    async def list_open_imports(self) -> dict[str, int]:
        """Runs that were imported while they were open, with their number of events then."""
        return list_open_imports([record async for record in read_hive_records(self._store)])

    async def _read_events(self) -> AsyncIterator[ev.HiveEvent]:
        async for record in read_hive_records(self._store):
            for event in decode_hive_record(record):
                yield event
