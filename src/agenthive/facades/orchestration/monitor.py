"""What has happened, in numbers and as a list of events.

Inside an engine the events are facts of the journal, told as they are read. Nothing here looks at
anything else.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from agenthive.infra.clock import SteadyClock
from agenthive.infra.logs import log

KEPT: Final = 10_000
"""Events that are remembered, the latest."""
WORKFLOW_ENDS: Final = ("completed", "partially_completed", "failed", "cancelled")


@dataclass
class MonitorConfig:
    """What is collected. ``metrics_interval`` is seconds between two sums in the log."""

    enable_metrics: bool = True
    enable_logging: bool = True
    metrics_interval: float = 60.0


class Monitor:
    """Counts events and remembers the latest. ``clock`` gives microseconds."""

    def __init__(
        self, config: MonitorConfig | None = None, *, clock: Callable[[], int] | None = None
    ) -> None:
        self.config = config or MonitorConfig()
        self._clock = clock or SteadyClock().now
        self._began = self._told = self._clock()
        self._events: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._counts: Counter[str] = Counter()
        self._sums: Counter[str] = Counter()

    def record_event(
        self,
        event_type: str,
        agent_id: str | None = None,
        workflow_id: str | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        """Something happened. ``data`` may say what it took: cost (dollars), tokens, seconds."""
        given = data or {}
        if self.config.enable_metrics:
            self._counts[event_type] += 1
            for name in ("cost", "tokens", "execution_time"):
                if isinstance(given.get(name), int | float):
                    self._sums[f"{event_type} {name}"] += given[name]
                    self._sums[name] += given[name]
        if not self.config.enable_logging:
            return
        at = datetime.now(UTC).isoformat()
        event = {"timestamp": at, "event_type": event_type, "agent_id": agent_id,
                 "workflow_id": workflow_id, "data": dict(given)}  # fmt: skip
        self._events.append(event)
        self._tell()

    def get_metrics(self) -> dict[str, Any]:
        """Counters: what began, how it ended, what it took."""
        counts = self._counts
        return {
            "uptime_seconds": (self._clock() - self._began) / 1e6,
            "workflows_started": counts["workflow_started"],
            **{f"workflows_{end}": counts[f"workflow_{end}"] for end in WORKFLOW_ENDS},
            **{
                f"agents_{how}": counts[f"agent_{how}"]
                for how in ("started", "completed", "failed", "retried")
            },
            "total_cost": float(self._sums["cost"]),
            "total_tokens": self._sums["tokens"],
            "events": dict(counts),
        }

    def get_summary(self) -> dict[str, Any]:
        """The same by subject, with rates in percent and times in seconds."""
        metrics = self.get_metrics()
        ended = {end: metrics[f"workflows_{end}"] for end in WORKFLOW_ENDS}
        agents = {how: metrics[f"agents_{how}"] for how in ("completed", "failed")}
        busy = self._sums["agent_completed execution_time"]
        return {
            "uptime_seconds": metrics["uptime_seconds"],
            "workflows": {
                "started": metrics["workflows_started"],
                **ended,
                "running": metrics["workflows_started"] - sum(ended.values()),
                "success_rate": _percent(ended["completed"], sum(ended.values())),
            },
            "agents": {
                "started": metrics["agents_started"],
                "retried": metrics["agents_retried"],
                **agents,
                "success_rate": _percent(agents["completed"], sum(agents.values())),
                "avg_execution_time": busy / agents["completed"] if agents["completed"] else 0.0,
            },
            "costs": {
                "total_cost": metrics["total_cost"], "total_tokens": metrics["total_tokens"],
            },
        }  # fmt: skip

    def get_recent_events(
        self, count: int = 100, event_type: str | None = None
    ) -> list[dict[str, Any]]:
        """The latest events, the newest last."""
        found = [e for e in self._events if event_type is None or e["event_type"] == event_type]
        return [dict(event) for event in found[max(0, len(found) - max(0, count)) :]]

    def _tell(self) -> None:
        now = self._clock()
        if (now - self._told) / 1e6 >= self.config.metrics_interval:
            self._told = now
            log("info", "orchestration", **{k: v for k, v in self.get_metrics().items()
                                            if k != "events"})  # fmt: skip


def _percent(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else 0.0
