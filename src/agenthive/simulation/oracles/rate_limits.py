"""Oracle of rate limits: windows hold at most 110 % of a limit, and no call waits without need.

Imports nothing of agenthive but the case, as all oracles do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from agenthive.simulation.case import SimulationCase, true_time

MINUTE, HOUR = 60 * 1_000_000, 3600 * 1_000_000


def _rate_limits_respected(case: SimulationCase) -> Iterator[str]:
    """In every minute and every hour, by the times in the journal."""
    starts: dict[str, list[int]] = {where: [] for where in case.rates}
    for run, events in case.journal.items() if case.rates else ():
        where = {
            agent["name"]: f"{agent['type']} {agent['endpoint']}"
            for agent in case.specs[run]["agents"]
        }
        for event in events:
            if event["type"] == "task.started" and where[event["agent"]] in starts:
                starts[where[event["agent"]]].append(true_time(event))
    for name, times in starts.items():
        for limit, period in zip(case.rates[name][:2], (MINUTE, HOUR), strict=True):
            if limit is not None:
                yield from _find_excess(name, sorted(times), limit + max(1, limit // 10), period)


def _find_excess(where: str, times: list[int], limit: int, period: int) -> Iterator[str]:
    for last, first in zip(times[limit:], times, strict=False):
        # Times are whole microseconds, arrival times are not.
        if last - first < period - 2:
            yield f"{where}: more than {limit} calls within {period // 1_000_000} s of {first}"
            return


def _postponed_for_overload(case: SimulationCase) -> Iterator[str]:
    """An attempt that does not count was refused for a rate limit, and its retry waits."""
    for run, events in case.journal.items():
        for event in events:
            if event["type"] == "task.failed" and "pause" in event:
                kind = event["fault"]["kind"]
                if kind not in ("rate_limited", "overloaded"):
                    yield f"{run}/{event['task']}: {kind} postponed a call"
                retry_after = event["fault"].get("retry_after")
                if retry_after is not None and event["pause"] < retry_after * 1_000_000 - 1:
                    yield f"{run}/{event['task']}: retried too soon"


RATE_LIMIT_CHECKS: Final[tuple[Callable[[SimulationCase], Iterator[str]], ...]] = (
    _rate_limits_respected,
    _postponed_for_overload,
)
