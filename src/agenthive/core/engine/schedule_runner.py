"""Carries out what schedules require: runs to accept, runs to cancel, events to record.

`schedules` decides, from the journal and the time, what is due; `ScheduleRunner` does it. It never
computes a planned time.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from agenthive.core.engine import actions as act
from agenthive.core.engine.command_handlers import CommandHandlers
from agenthive.core.engine.engine_state import EngineState
from agenthive.core.engine.schedules import CancelRun, ScheduleAction, StartRun
from agenthive.core.graph.graph import Graph
from agenthive.core.journal import run_events as ev
from agenthive.core.values import Micros


class ScheduleRunner:
    """Changes schedules, and starts and cancels their runs."""

    def __init__(self, engine: EngineState, handlers: CommandHandlers) -> None:
        self._engine, self._handlers = engine, handlers
        self._schedules = engine.schedules

    def change_schedule(
        self,
        now: Micros,
        change: ev.ScheduleChange,
        token: int,
        body: bytes,
        graph: Graph | None,
        problem: str,
    ) -> None:
        """Apply a change of a schedule. See `Driver.change_schedule`."""
        now = self._engine.advance_clock(now)
        change = msgspec.structs.replace(change, at=now, since=now)
        actions = self._schedules.apply_change(change, now)
        outbox = self._engine.outbox
        if isinstance(change, ev.ScheduleSet):
            outbox.next_batch.definitions.append((change.definition, body))
            outbox.next_batch.uses.append((ev.HIVE, change.definition))
            self._schedules.by_name[change.schedule].attach_graph(graph, problem)
        self._execute_actions(actions, now)
        triggered_run = change.run if isinstance(change, ev.ScheduleTriggered) else ""
        outbox.actions.append(act.AcknowledgeRequest(token, triggered_run))

    def start_due_runs(self, now: Micros) -> None:
        """Do what is due."""
        self._execute_actions(self._schedules.due_actions(now), now)

    def _execute_actions(self, actions: Iterable[ScheduleAction], now: Micros) -> None:
        engine = self._engine
        for action in actions:
            if isinstance(action, StartRun):
                self._handlers.accept_run(action.event, action.graph, now)
                engine.queued_runs[action.event.run] = None
            elif not isinstance(action, CancelRun):
                engine.outbox.hive_events.append(action)
            elif action.run in engine.runs:
                self._handlers.cancel_run(
                    engine.runs[action.run], now, f"schedule {action.schedule}", "overtaken"
                )
