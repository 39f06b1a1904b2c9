"""The event of a reply: the end of its attempt or, if the reply comes too late, only its cost.

An attempt that was cancelled or timed out still costs what it used. The cost is booked once: in the
stream of its run, or in the hive's stream if the run has ended by then. Nothing here changes a
state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from agenthive.core.journal import run_events as ev
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Reply, Usage
from agenthive.core.values import Micros, NanoUSD

MAX_UNSETTLED_CALLS: Final = 10_000
"""Calls of ended runs that are remembered; the oldest are forgotten first."""


def reply_event(
    now: Micros, task: str, attempt: int, reply: Reply, draw: float, pause: Micros | None = None
) -> ev.RunEvent:
    """The event of a reply in time.

    ``draw`` in [0, 1) is for the jitter of the retry; ``pause`` is the time in microseconds until
    the endpoint may be called again, if it throttled the call.
    """
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
    """The event of a late reply; None if it reports no usage, or the call is paid for already."""
    if reply.usage is None or (state.graph.index.get(task), attempt) not in state.unpaid:
        return None
    return ev.LateReply(
        at=now, task=task, attempt=attempt, succeeded=reply.fault is None, usage=reply.usage
    )


class LateUsage:
    """Remembers the calls of ended runs that have not reported their usage.

    Only in memory: after a restart, such a call counts with what was held for it.
    """

    def __init__(self) -> None:
        #: (run id, task key, attempt) -> what a late report has to correct, the oldest first.
        self._calls: dict[tuple[str, str, int], UnsettledCall] = {}

    def remember_calls(
        self, state: RunState, scopes: Mapping[tuple[int, int], tuple[str, ...]]
    ) -> None:
        """Remember the calls of a run that has ended, with the ``scopes`` they are spent from."""
        for index, attempt in sorted(state.unpaid):
            hold = state.holds.get((index, attempt))
            unsettled = UnsettledCall(scopes[index, attempt], 0 if hold is None else hold.amount)
            self._calls[state.run, state.graph.keys[index], attempt] = unsettled
        while len(self._calls) > MAX_UNSETTLED_CALLS:
            del self._calls[next(iter(self._calls))]

    def settle_call(
        self, now: Micros, run: str, task: str, attempt: int, usage: Usage | None
    ) -> tuple[ev.UsageAfterEnd, UnsettledCall] | None:
        """The event to journal for a late report, and what was booked; None if not remembered."""
        if usage is None or (run, task, attempt) not in self._calls:
            return None
        unsettled = self._calls.pop((run, task, attempt))
        event = ev.UsageAfterEnd(
            at=now, run=run, task=task, attempt=attempt, usage=usage, booked=unsettled.booked
        )
        return event, unsettled


class UnsettledCall(NamedTuple):
    """A call of an ended run; its cost is in doubt."""

    #: Scopes that the call is spent from.
    scopes: tuple[str, ...]
    #: What was booked for it, in nano-dollars: the amount of its hold.
    booked: NanoUSD
