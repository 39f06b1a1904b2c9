"""The judge's eye on rate limits: no window holds more than 110 %, and nobody waits for nothing.

Imports nothing of agenthive but the case, as the judge does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from agenthive.simulation.case import Case

MINUTE, HOUR = 60 * 1_000_000, 3600 * 1_000_000


def _limits_are_kept(case: Case) -> Iterator[str]:
    """In every minute and every hour, by the times that the journal has."""
    starts: dict[str, list[int]] = {where: [] for where in case.rates}
    for run, events in case.journal.items() if case.rates else ():
        where = {
            one["name"]: f"{one['type']} {one['endpoint']}" for one in case.specs[run]["agents"]
        }
        for event in events:
            if event["type"] == "task.started" and where[event["agent"]] in starts:
                starts[where[event["agent"]]].append(event["at"])
    for name, times in starts.items():
        for most, period in zip(case.rates[name][:2], (MINUTE, HOUR), strict=True):
            if most is not None:
                yield from _too_many(name, sorted(times), most + max(1, most // 10), period)


def _too_many(where: str, times: list[int], most: int, period: int) -> Iterator[str]:
    for last, first in zip(times[most:], times, strict=False):
        # Times are whole microseconds, arrival times are not.
        if last - first < period - 2:
            yield f"{where}: more than {most} calls within {period // 1_000_000} s of {first}"
            return


def _put_off_with_a_reason(case: Case) -> Iterator[str]:
    """An attempt that does not count was refused because there were too many, and waits."""
    for run, events in case.journal.items():
        for event in events:
            if event["type"] == "task.failed" and "pause" in event:
                kind = event["fault"]["kind"]
                if kind not in ("rate_limited", "overloaded"):
                    yield f"{run}/{event['task']}: {kind} put off a call"
                asked = event["fault"].get("retry_after")
                if asked is not None and event["pause"] < asked * 1_000_000 - 1:
                    yield f"{run}/{event['task']}: asked again too soon"


LIMIT_CHECKS: Final[tuple[Callable[[Case], Iterator[str]], ...]] = (
    _limits_are_kept,
    _put_off_with_a_reason,
)
