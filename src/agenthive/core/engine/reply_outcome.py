"""What an answer becomes: the end of its attempt or, when it comes too late, only a cost.

An attempt that was given up still costs what it used, booked once: in its run's stream, or in the
hive's when the run has ended by then. Never changes a state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from agenthive.core.journal import run_events as ev
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Reply, Usage
from agenthive.core.values import Micros, NanoUSD

MAX_UNSETTLED_CALLS: Final = 10_000
"""How many calls of ended runs are remembered; the oldest are forgotten first."""


def reply_event(
    now: Micros, task: str, attempt: int, reply: Reply, draw: float, pause: Micros | None = None
) -> ev.RunEvent:
    """The fact that an answer in time is; ``pause`` is until the other side may be asked again."""
    if reply.fault is None:
        return ev.TaskSucceeded(
            at=now,
            task=task,
            attempt=attempt,
            result=reply.result,
            usage=reply.usage,
            cached=reply.cached,
            asks=reply.asks,
        )
    return ev.TaskFailed(
        at=now,
        task=task,
        attempt=attempt,
        fault=reply.fault,
        draw=draw,
        usage=reply.usage,
        pause=pause,
    )


def late_reply_event(
    state: RunState, now: Micros, task: str, attempt: int, reply: Reply
) -> ev.LateReply | None:
    """The fact that an answer too late is, if the run still owes for that call."""
    if reply.usage is None or (state.graph.index.get(task), attempt) not in state.unpaid:
        return None
    return ev.LateReply(
        at=now, task=task, attempt=attempt, succeeded=reply.fault is None, usage=reply.usage
    )


class LateUsage:
    """Remembers the calls of ended runs that never said what they used. Gone with the process."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str, int], UnsettledCall] = {}

    def remember_calls(
        self, state: RunState, scopes: Mapping[tuple[int, int], tuple[str, ...]]
    ) -> None:
        """A run has ended: remember its calls, and what they were to be spent from."""
        for index, attempt in sorted(state.unpaid):
            hold = state.holds.get((index, attempt))
            unsettled = UnsettledCall(scopes[index, attempt], 0 if hold is None else hold.amount)
            self._calls[state.run, state.graph.keys[index], attempt] = unsettled
        while len(self._calls) > MAX_UNSETTLED_CALLS:
            del self._calls[next(iter(self._calls))]

    def settle_call(
        self, now: Micros, run: str, task: str, attempt: int, usage: Usage | None
    ) -> tuple[ev.UsageAfterEnd, UnsettledCall] | None:
        """The fact to journal if that call is still owed for, and what was known of it."""
        if usage is None or (run, task, attempt) not in self._calls:
            return None
        unsettled = self._calls.pop((run, task, attempt))
        event = ev.UsageAfterEnd(
            at=now, run=run, task=task, attempt=attempt, usage=usage, booked=unsettled.booked
        )
        return event, unsettled


class UnsettledCall(NamedTuple):
    """What a call is spent from, and what was booked for it in doubt (nano-dollars)."""

    scopes: tuple[str, ...]
    booked: NanoUSD
