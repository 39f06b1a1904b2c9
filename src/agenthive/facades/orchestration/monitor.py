"""Figures and events, read from the journal, with the events that a program adds.

The monitor of an engine shows the journal of its hive, so nothing is counted twice. A monitor
without an engine shows the events that a program records. Units are seconds, US dollars and per
cent. Decides nothing.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any, Final

from agenthive.facades.orchestration.reading import MAX_EVENTS, Reading, build_event, latest_events
from agenthive.infra.logging import log

_ENDS: Final = ("completed", "partially_completed", "failed", "cancelled")
#: Fields of a program's own ``agent_completed`` events that are summed up.
_SUMMED: Final = ("execution_time", "cost", "tokens")


@dataclass
class MonitorConfig:
    """What is collected."""

    enable_metrics: bool = True
    enable_logging: bool = True
    #: Seconds between two log lines with figures.
    metrics_interval: float = 60.0


class Monitor:
    """Events and figures. Log lines have the level ``info``."""

    def __init__(
        self, config: MonitorConfig | None = None, *, reading: Reading | None = None
    ) -> None:
        self.config = config or MonitorConfig()
        self._reading = reading or Reading()
        self._recorded_events: deque[dict[str, Any]] = deque(maxlen=MAX_EVENTS)
        self._counts: Counter[str] = Counter()
        self._sums = dict.fromkeys(_SUMMED, 0.0)
        self._started_at = self._logged_at = time.monotonic()

    def record_event(
        self,
        event_type: str,
        agent_id: str | None = None,
        workflow_id: str | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        """Add an event of the program. Events named like those of the journal are counted too."""
        event = build_event(event_type, time.time(), agent_id, workflow_id, data or {})
        self._recorded_events.append(event)
        if self.config.enable_metrics:
            self._count_event(event_type, data or {})
        if self.config.enable_logging:
            log("info", event_type, agent_id=agent_id, workflow_id=workflow_id, data=data)
            self._log_figures()

    def get_metrics(self) -> dict[str, Any]:
        """The figures so far."""
        uptime = {"uptime_seconds": time.monotonic() - self._started_at}
        return uptime | (
            self._compute_figures() if self.config.enable_metrics else dict(_NO_FIGURES)
        )

    def get_summary(self) -> dict[str, Any]:
        """The figures by subject, with rates in per cent."""
        metrics = self.get_metrics()
        ended_counts = {end: metrics[f"workflows_{end}"] for end in _ENDS}
        over = sum(ended_counts.values())
        return {
            "uptime_seconds": metrics["uptime_seconds"],
            "workflows": {
                "started": metrics["workflows_started"],
                "running": max(metrics["workflows_started"] - over, 0),
                **ended_counts,
                "success_rate": _percentage(ended_counts["completed"], over),
            },
            "agents": {
                "started": metrics["agents_started"],
                "completed": metrics["agents_completed"],
                "failed": metrics["agents_failed"],
                "retries": metrics["retries"],
                "success_rate": _percentage(
                    metrics["agents_completed"],
                    metrics["agents_completed"] + metrics["agents_failed"],
                ),
                "avg_execution_time": metrics["avg_execution_time"],
            },
            "costs": {"total_cost": metrics["total_cost"], "total_tokens": metrics["total_tokens"]},
        }

    def get_recent_events(
        self, count: int = 100, event_type: str | None = None
    ) -> list[dict[str, Any]]:
        """The latest events of the journal and of the program, oldest first."""
        return latest_events([*self._reading.events, *self._recorded_events], count, event_type)

    def _compute_figures(self) -> dict[str, Any]:
        metrics, spent, counts = self._reading.metrics, self._reading.total_spent(), self._counts
        agents = metrics.agents.values()
        answered = sum(agent.answered for agent in agents) + counts["agent_completed"]
        total_time = sum(agent.mean_time * agent.answered for agent in agents)
        ended_counts = {
            f"workflows_{end}": metrics.runs.get(end, 0) + counts[f"workflow_{end}"]
            for end in _ENDS
        }
        tokens = spent.input_tokens + spent.output_tokens + self._sums["tokens"]
        return {
            "workflows_started": self._reading.started + counts["workflow_started"],
            **ended_counts,
            "agents_started": sum(agent.calls for agent in agents) + counts["agent_started"],
            "agents_completed": metrics.tasks_succeeded + counts["agent_completed"],
            "agents_failed": metrics.tasks_failed + counts["agent_failed"],
            "retries": metrics.retries,
            "avg_execution_time": (total_time + self._sums["execution_time"]) / max(answered, 1),
            "total_cost": spent.cost / 1e9 + self._sums["cost"],
            "total_tokens": int(tokens),
        }

    def _count_event(self, event_type: str, data: dict[str, Any]) -> None:
        self._counts[event_type] += 1
        if event_type == "agent_completed":
            for name in _SUMMED:
                self._sums[name] += data.get(name) or 0

    def _log_figures(self) -> None:
        now = time.monotonic()
        if self.config.enable_metrics and now - self._logged_at >= self.config.metrics_interval:
            self._logged_at = now
            log("info", "metrics", **self.get_metrics())


def _percentage(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else 0.0


_NO_FIGURES: Final = dict.fromkeys(
    [
        *("workflows_started", *(f"workflows_{end}" for end in _ENDS), "agents_started"),
        *("agents_completed", "agents_failed", "retries", "total_tokens"),
        *("avg_execution_time", "total_cost"),
    ],
    0,
)
