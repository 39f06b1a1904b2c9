"""Metrics of a journal: runs, tasks, retries, circuit breakers, response times of agents.

One pass over the records of all streams, in the order they were committed. Memory grows with the
agents, the open runs and the tasks that have failed, not with the journal.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from agenthive.core.history import blobs
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Record
from agenthive.core.model.states import CLOSED
from agenthive.core.values import SECOND, Micros


class AgentFigures(msgspec.Struct):
    """The calls of one agent."""

    #: Calls that were started.
    calls: int = 0
    #: Calls that ended with a fault.
    failures: int = 0
    #: Calls that ended with a result or a fault.
    answered: int = 0
    #: Mean seconds of the answered calls.
    mean_time: float = 0.0
    #: Seconds of the longest answered call.
    longest_time: float = 0.0
    #: Input and output tokens.
    tokens: int = 0
    #: US dollars, without calls of unknown price.
    cost_usd: float = 0.0


class Metrics(msgspec.Struct):
    """The metrics of a journal."""

    #: Number of ended runs by final status.
    runs: dict[str, int] = {}
    #: Mean seconds from the acceptance of a run to its end.
    mean_run_time: float = 0.0
    tasks_succeeded: int = 0
    #: Tasks that have failed last, and have not succeeded since.
    tasks_failed: int = 0
    #: Share of succeeded among succeeded and failed tasks, 0 to 1.
    success_rate: float = 0.0
    #: Attempts after the first of a task.
    retries: int = 0
    #: Calls that were running when their process ended.
    lost_calls: int = 0
    #: Replies that came after their attempt had ended.
    late_replies: int = 0
    breakers_opened: int = 0
    breakers_closed: int = 0
    agents: dict[str, AgentFigures] = {}


class MetricsFold:
    """Folds records; `metrics` gives the metrics so far."""

    def __init__(self) -> None:
        self._metrics = Metrics()
        self._started_at: dict[str, Micros] = {}
        #: Number of ended runs, and the sum of their seconds.
        self._run_times: list[float] = [0.0, 0.0]
        #: Agent and start of the running call, by (run, task).
        self._calls: dict[tuple[str, str], tuple[str, Micros]] = {}
        #: Tasks whose last attempt failed, by (run, task).
        self._failing: set[tuple[str, str]] = set()

    def add_records(self, records: Iterable[Record]) -> None:
        """Add records, in the order of their ``pos``."""
        for record in records:
            if record.stream == ev.HIVE:
                for hive_event in ev.decode_hive_events(record.payload):
                    self._on_hive_event(hive_event)
            else:
                for event in blobs.decode_record(record):
                    if isinstance(event, ev.TaskEvent):
                        self._on_task_event(record.stream, event)

    @property
    def metrics(self) -> Metrics:
        """The metrics of all records so far."""
        metrics = self._metrics
        metrics.tasks_failed = len(self._failing)
        finished = metrics.tasks_succeeded + metrics.tasks_failed
        metrics.success_rate = metrics.tasks_succeeded / finished if finished else 0.0
        count, total = self._run_times
        metrics.mean_run_time = total / count if count else 0.0
        return metrics

    def _on_hive_event(self, event: ev.HiveEvent) -> None:
        metrics = self._metrics
        if isinstance(event, ev.RunOpened):
            self._started_at[event.run] = event.time
        elif isinstance(event, ev.RunClosed):
            metrics.runs[event.status] = metrics.runs.get(event.status, 0) + 1
            self._run_times[0] += 1
            started_at = self._started_at.pop(event.run, event.time)
            self._run_times[1] += max(0, event.time - started_at) / SECOND
        elif isinstance(event, ev.RunImported) and event.status in CLOSED:
            metrics.runs[event.status] = metrics.runs.get(event.status, 0) + 1
        elif isinstance(event, ev.BreakerOpened):
            metrics.breakers_opened += 1
        elif isinstance(event, ev.BreakerClosed):
            metrics.breakers_closed += 1

    def _on_task_event(self, run: str, event: ev.TaskEvent) -> None:
        key = (run, event.task)
        if isinstance(event, ev.TaskStarted):
            self._calls[key] = (event.agent, event.time)
            self._agent_figures(event.agent).calls += 1
            self._metrics.retries += event.attempt > 1
        elif isinstance(event, ev.TaskSucceeded):
            self._record_reply(key, event)
            self._failing.discard(key)
            self._metrics.tasks_succeeded += 1
        elif isinstance(event, ev.TaskFailed):
            self._record_reply(key, event)
            self._failing.add(key)
        elif isinstance(event, ev.TaskLost | ev.TaskCancelled):
            self._calls.pop(key, None)
            self._metrics.lost_calls += isinstance(event, ev.TaskLost)
        elif isinstance(event, ev.LateReply):
            self._metrics.late_replies += 1

    def _record_reply(self, key: tuple[str, str], event: ev.TaskSucceeded | ev.TaskFailed) -> None:
        name, started_at = self._calls.pop(key, ("", event.time))
        agent = self._agent_figures(name)
        # Not below 0: the clock may have been set back meanwhile.
        seconds = max(0, event.time - started_at) / SECOND
        agent.answered += 1
        agent.failures += isinstance(event, ev.TaskFailed)
        agent.mean_time += (seconds - agent.mean_time) / agent.answered
        agent.longest_time = max(agent.longest_time, seconds)
        if event.usage is not None:
            agent.tokens += event.usage.input_tokens + event.usage.output_tokens
            agent.cost_usd += (event.usage.cost or 0) / 1e9

    def _agent_figures(self, name: str) -> AgentFigures:
        return self._metrics.agents.setdefault(name, AgentFigures())
