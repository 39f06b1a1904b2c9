"""Requests of people and other systems about a run: approvals, signals, recorded outcomes.

`human_input` checks a request against the state of its run and makes the event; `HumanRequests`
applies the event and acknowledges or rejects the request. It never checks who the caller is: the
service that lets a caller in does that.
"""

from __future__ import annotations

from agenthive.core.engine import actions as act
from agenthive.core.engine.budget_requests import BudgetRequests
from agenthive.core.engine.command_handlers import CommandHandlers
from agenthive.core.engine.engine_state import EngineState
from agenthive.core.engine.human_input import (
    MAX_REFUSALS,
    ApprovalDecision,
    TaskResolution,
    approval_event,
    signal_received_event,
    task_resolved_event,
)
from agenthive.core.journal import run_events as ev
from agenthive.core.values import JSONValue, Micros


class HumanRequests:
    """Applies approvals, signals and recorded outcomes to open runs."""

    def __init__(
        self, engine: EngineState, handlers: CommandHandlers, budget_requests: BudgetRequests
    ) -> None:
        self._engine, self._handlers = engine, handlers
        self._budget_requests = budget_requests

    def answer(
        self, now: Micros, run_id: str, task: str, decision: ApprovalDecision, token: int
    ) -> None:
        """Apply a decision; one that does not count is recorded and rejected.

        Raises RunNotFound if the run is not open here, NotFound if it has no such task, Conflict if
        the task requests a higher limit and the decision is about another amount.
        """
        run, now = self._engine.get_open_run(run_id), self._engine.advance_clock(now)
        refusal = ""
        if not self._budget_requests.answer_request(run, task, decision, now):
            event, refusal = approval_event(run.state, task, decision, now)
            if not refusal or run.state.refusals < MAX_REFUSALS:
                self._handlers.apply_event(run, event, now)
        if refusal and not run.is_set_apart:
            self._engine.outbox.actions.append(act.RejectRequest(token, refusal, run_id))
        else:
            self._handlers.acknowledge(run, token)

    def signal_run(
        self,
        now: Micros,
        run_id: str,
        name: str,
        data: JSONValue,
        signal_id: str,
        actor: str,
        token: int,
    ) -> None:
        """Deliver a signal; one with the id of an earlier signal changes nothing.

        Raises RunNotFound, NotFound if no task ever waits for it, Conflict if it cannot be kept.
        """
        run, now = self._engine.get_open_run(run_id), self._engine.advance_clock(now)
        event = signal_received_event(run.state, name, data, signal_id, actor, now)
        if event is not None:
            self._handlers.apply_event(run, event, now)
        self._handlers.acknowledge(run, token)

    def resolve_outcome(self, now: Micros, resolution: TaskResolution, token: int) -> None:
        """Record the outcome of a call if it is unknown.

        Raises RunNotFound, NotFound, Conflict.
        """
        run, now = self._engine.get_open_run(resolution.run), self._engine.advance_clock(now)
        self._handlers.apply_event(run, task_resolved_event(run.state, resolution, now), now)
        self._handlers.acknowledge(run, token)

    def record_answer_after_end(
        self, now: Micros, run_id: str, task: str, decision: ApprovalDecision, token: int
    ) -> None:
        """Record a decision about a run that has ended, in the hive's stream, and reject it."""
        now = self._engine.advance_clock(now)
        event = ev.AnswerAfterEnd(
            at=now, run=run_id, task=task, actor=decision.actor, approved=decision.approved
        )
        self._engine.outbox.hive_events.append(event)
        rejection = act.RejectRequest(token, f"run {run_id} has ended already")
        self._engine.outbox.actions.append(rejection)
