"""What an answer becomes: the end of its attempt or, when it comes too late, only a cost.

An attempt that was given up still costs what it used, booked once: in its run's stream, or in the
hive's when the run has ended by then. Never changes a state.
"""

from __future__ import annotations

from typing import Final

from agenthive.core import events as ev
from agenthive.core.ports import Reply, Usage
from agenthive.core.run_state import RunState
from agenthive.core.values import Micros

MOST: Final = 10_000
"""How many calls of ended runs are remembered; the oldest are forgotten first."""


def outcome(now: Micros, task: str, attempt: int, reply: Reply, draw: float) -> ev.RunEvent:
    """The fact that an answer in time is."""
    if reply.fault is None:
        return ev.TaskSucceeded(
            at=now, task=task, attempt=attempt, result=reply.result, usage=reply.usage,
            cached=reply.cached,
        )  # fmt: skip
    return ev.TaskFailed(
        at=now, task=task, attempt=attempt, fault=reply.fault, draw=draw, usage=reply.usage
    )


def late(
    state: RunState, now: Micros, task: str, attempt: int, reply: Reply
) -> ev.LateReply | None:
    """The fact that an answer too late is, if the run still owes for that call."""
    if reply.usage is None or (state.graph.index.get(task), attempt) not in state.unpaid:
        return None
    return ev.LateReply(
        at=now, task=task, attempt=attempt, succeeded=reply.fault is None, usage=reply.usage
    )


class Unpaid:
    """Remembers the calls of ended runs that never said what they used. Gone with the process."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str, int], None] = {}

    def keep(self, state: RunState) -> None:
        """A run has ended: remember its calls."""
        for index, attempt in sorted(state.unpaid):
            self._calls[state.run, state.graph.keys[index], attempt] = None
        while len(self._calls) > MOST:
            del self._calls[next(iter(self._calls))]

    def settle(
        self, now: Micros, run: str, task: str, attempt: int, usage: Usage | None
    ) -> list[ev.HiveEvent]:
        """The fact to journal if that call is still owed for."""
        if usage is None or (run, task, attempt) not in self._calls:
            return []
        del self._calls[run, task, attempt]
        return [ev.UsageAfterEnd(at=now, run=run, task=task, attempt=attempt, usage=usage)]
