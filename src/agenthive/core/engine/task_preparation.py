"""Prepares tasks: evaluates the next step of each, checks approvals, and starts child runs.

`step_evaluation` computes the events; `TaskPreparation` applies them in order until no task has a
step to evaluate. It never starts a call: `Admission` does, and checks the approval here first.
"""

from __future__ import annotations

from agenthive.core.engine.active_run import ActiveRun
from agenthive.core.engine.child_runs import ChildRunFactory
from agenthive.core.engine.command_handlers import CommandHandlers
from agenthive.core.engine.engine_state import EngineState
from agenthive.core.engine.step_evaluation import (
    approval_requested_event,
    evaluate_step,
    is_approved,
    task_faulted_event,
)
from agenthive.core.graph.nodes import Step
from agenthive.core.journal import run_events as ev
from agenthive.core.model.states import TaskState
from agenthive.core.values import Micros
from agenthive.errors import ConfigurationError, ExpressionError


class TaskPreparation:
    """Takes tasks to the point where they are ready, wait, or have ended."""

    def __init__(
        self, engine: EngineState, handlers: CommandHandlers, child_factory: ChildRunFactory
    ) -> None:
        self._engine, self._handlers = engine, handlers
        self._child_factory = child_factory

    def prepare_tasks(self, now: Micros) -> None:
        """Evaluate the next steps of tasks until none is left."""
        engine, handlers = self._engine, self._handlers
        while engine.unprepared_tasks:
            run, index = engine.unprepared_tasks.popleft()
            state = run.state
            if engine.runs.get(run.id) is not run:
                continue  # the run was withdrawn, migrated or set apart since
            try:
                if state.state[index] is TaskState.EXPANDED:
                    handlers.apply_event(run, evaluate_step(state, index, now), now)
                elif state.state[index] is not TaskState.PREPARING:
                    continue
                elif state.current_step(index) is not Step.CHILD:
                    handlers.apply_event(run, evaluate_step(state, index, now), now)
                elif self.check_approval(run, index, now):
                    self._start_child(run, index, now)
            except Exception as error:
                handlers.set_apart_run(run, error, now)

    def check_approval(self, run: ActiveRun, index: int, now: Micros) -> bool:
        """Whether the task would now do exactly what was approved.

        If not, the approval is requested again, for what the task would do now.
        """
        try:
            if is_approved(run.state, index):
                return True
            event: ev.RunEvent = approval_requested_event(run.state, index, now)
        except ExpressionError as error:
            event = task_faulted_event(
                now, run.state.graph.keys[index], "expression", error.message
            )
        self._handlers.apply_event(run, event, now)
        return False

    def _start_child(self, run: ActiveRun, index: int, now: Micros) -> None:
        """Submit and start the child run of a task. It shares the run slot of its parent."""
        handlers = self._handlers
        key = run.state.graph.keys[index]
        try:
            inputs = run.evaluate_parameters(index)
            event, graph, body = self._child_factory.build_submission(run.state, index, inputs, now)
        except (ExpressionError, ConfigurationError) as error:
            handlers.apply_event(run, task_faulted_event(now, key, "inputs", error.message), now)
            return
        handlers.apply_event(run, ev.ChildOpened(at=now, task=key, run=event.run), now)
        if run.is_set_apart:
            return
        child = handlers.accept_run(event, graph, now, body)
        child.missing_agents = run.missing_agents
        handlers.apply_event(child, ev.RunStarted(at=now), now)
