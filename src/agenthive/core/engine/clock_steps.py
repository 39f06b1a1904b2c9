"""What follows when the clock of the operating system is set: nothing is late or early for it.

All times in the engine are times of the clock. Dates stay what they are when the clock is set:
``until``, planned times of schedules, days of budgets. Lengths of time (time-outs, pauses, the time
of an open circuit breaker, rate limits) are stored as the time at which they are over, and that
time is set together with the clock.

A process sees that the clock is set while it works (`record_step`), and knows then how much time
has really passed. That the clock was set back before it began can only be seen from the journal
(`on_step_back`): then the times that lie after the clock are wrong, and the others are left alone.
Every step back is recorded in the hive's stream, with a mark that keeps the last ones at hand.
"""

from __future__ import annotations

from typing import Final

import msgspec

from agenthive.core.engine.active_run import ActiveRun
from agenthive.core.engine.command_handlers import CommandHandlers
from agenthive.core.engine.engine_state import SMALLEST_STEP, EngineState
from agenthive.core.history.clock_marks import CLOCK_MARK, RecordedStep, encode_steps
from agenthive.core.journal import run_events as ev
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import CLOSED, RunStatus
from agenthive.core.values import Micros

MAX_MARKED: Final = 50
"""Steps back that the mark keeps, the latest."""


class ClockSteps:
    """Records steps of the clock, and sets what an `EngineState` counts from an earlier moment."""

    def __init__(self, engine: EngineState, handlers: CommandHandlers) -> None:
        self._engine, self._handlers = engine, handlers
        engine.on_step_back = self.on_step_back
        #: Steps back that earlier processes and this one recorded, the latest last.
        self._recorded: list[RecordedStep] = []
        #: Whether this process has recorded that the clock is behind the journal.
        self._is_recorded = False

    def load_steps(self, steps: list[RecordedStep]) -> None:
        """Take over the steps that earlier processes recorded."""
        self._recorded = steps

    def record_step(self, now: Micros, by: Micros) -> None:
        """The clock was set by ``by`` microseconds, negative: back, and shows ``now`` since.

        What happened so far happened by the clock of before.
        """
        if abs(by) < SMALLEST_STEP:
            return
        self._record_event(now, by, seen=True)
        for run in self._list_timed_runs():
            self._apply_step(run, now, by, after=0, away=by)

    def on_step_back(self, now: Micros, step_back: Micros) -> None:
        """The clock shows ``now``, which is ``step_back`` microseconds earlier than before."""
        self._record_event(now, -step_back, seen=False)
        for run in self._list_timed_runs():
            away = -step_back if run.state.started > now else 0
            self._apply_step(run, now, -step_back, after=now, away=away)

    def settle_recovered_run(self, run: ActiveRun, now: Micros) -> None:
        """Set the times of a run whose last event is later than the clock, before it continues."""
        step_back = run.state.last_at - now
        if step_back < SMALLEST_STEP:
            return
        if not self._is_recorded:
            self._record_event(now, -step_back, seen=False)
        self._apply_step(run, now, -step_back, after=now, away=-step_back)

    def _record_event(self, now: Micros, by: Micros, *, seen: bool) -> None:
        engine = self._engine
        outbox = engine.outbox
        engine.latest_time = now
        event: ev.ClockSteppedBack | ev.ClockSteppedForward
        if by < 0:
            self._is_recorded = True
            step = RecordedStep(shown=now, by=-by, after=outbox.durable_hive_seq)
            self._recorded = [*self._recorded, step][-MAX_MARKED:]
            outbox.next_batch.marks.append((CLOCK_MARK, encode_steps(self._recorded)))
            event = ev.ClockSteppedBack(at=now, by=-by, seen=seen)
        else:
            event = ev.ClockSteppedForward(at=now, by=by)
        # Its `wall` is set here already: what follows from the event is the same in a replay.
        event = msgspec.structs.replace(event, at=max(now, outbox.hive_at), wall=now)
        outbox.hive_events.append(event)
        engine.schedules.apply_event(event)
        engine.breakers.set_clock(event)
        engine.rate_limits.set_clock(now, by if seen else None)

    def _list_timed_runs(self) -> list[ActiveRun]:
        return [run for run in self._engine.runs.values() if _counts_time(run.state)]

    def _apply_step(
        self, run: ActiveRun, now: Micros, by: Micros, *, after: Micros, away: Micros
    ) -> None:
        event = ev.RunClockStepped(at=now, by=by, after=after, away=away)
        self._handlers.apply_event(run, event, now)
        self._engine.budgets.reschedule_expiries(run)


def _counts_time(state: RunState) -> bool:
    """Whether a run counts time from an earlier moment."""
    if state.status in CLOSED or state.status is RunStatus.QUEUED:
        return False
    has_timeout = state.graph.spec.timeout is not None
    return bool(state.wake_at or state.holds) or has_timeout or state.parked is not None
