"""Child runs (sub-workflows): how they are submitted, how they wait, and what their end gives.

Makes the events, which `TaskPreparation` and `CommandHandlers` apply. The id of a child run is
computed from the parent's id and the task, so that it is the same after a crash. Checking inputs
and filling them into a workflow belongs to `authoring`; it comes in as an `InputBinder`.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Final, TypeAlias

from agenthive.core.budget.holds import BUDGET_EXCEEDED
from agenthive.core.engine.expression_scope import run_result
from agenthive.core.graph.graph import Graph
from agenthive.core.journal import run_events as ev
from agenthive.core.machine.run_state import RunState
from agenthive.core.model import definition
from agenthive.core.model.states import OPEN, RunStatus
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.values import JSONObject, JSONValue, Micros
from agenthive.errors import ExpressionError

InputBinder: TypeAlias = Callable[[WorkflowSpec, JSONObject], tuple[WorkflowSpec, JSONObject]]
"""(workflow, inputs) -> both as a run is submitted with them. Raises ConfigurationError."""

MAX_ID_LENGTH: Final = 128
"""Characters of a run id."""
MAX_GRAPHS: Final = 100
"""Graphs of child workflows that are kept for the next child run."""
_SUCCESSFUL: Final = frozenset({RunStatus.COMPLETED, RunStatus.PARTIALLY_COMPLETED})


def bind_unchanged(spec: WorkflowSpec, inputs: JSONObject) -> tuple[WorkflowSpec, JSONObject]:
    """The `InputBinder` that changes nothing."""
    return spec, inputs


def child_id(run: str, key: str) -> str:
    """The id of the child run of a task."""
    fingerprint = sha256(f"{len(run)}:{run}{key}".encode()).hexdigest()
    full_id = f"{run}.{fingerprint[:12]}"
    return full_id if len(full_id) <= MAX_ID_LENGTH else fingerprint


class ChildRunFactory:
    """Submits child runs. Those with the same definition share one graph."""

    def __init__(self, bind: InputBinder = bind_unchanged) -> None:
        self._bind_inputs = bind
        self._graphs: dict[str, Graph] = {}

    def build_submission(
        self, state: RunState, task: int, inputs: JSONObject, now: Micros
    ) -> tuple[ev.RunSubmitted, Graph, bytes]:
        """The event, graph and definition of a task's child run. Raises ConfigurationError."""
        around, key = state.graph.nodes[task].control_flow, state.graph.keys[task]
        assert around is not None
        assert around.workflow is not None
        spec, bound_inputs = self._bind_inputs(around.workflow, inputs)
        body = definition.encode(spec)
        digest = definition.compute_digest(body)
        event = ev.RunSubmitted(
            at=now,
            run=child_id(state.run, key),
            name=spec.name,
            definition=digest,
            inputs=bound_inputs,
            tenant=state.tenant,
            owner=state.owner,
            parent=ev.Parent(state.run, key),
        )
        return event, self._get_graph(digest, spec), body

    def _get_graph(self, digest: str, spec: WorkflowSpec) -> Graph:
        graph = self._graphs.get(digest)
        if graph is None:
            if len(self._graphs) >= MAX_GRAPHS:
                self._graphs.clear()
            graph = self._graphs[digest] = Graph(spec)
        return graph


def related_runs(state: RunState) -> list[str]:
    """The ids of the runs that this one depends on: its parent, and its open children."""
    parents = [] if state.parent is None else [state.parent.run]
    flow = state.flow
    if flow is None:
        return parents
    open_children = [run for task, run in flow.children.items() if state.state[task] in OPEN]
    return parents + open_children


def child_ended_event(state: RunState, parent: ev.Parent, now: Micros) -> ev.ChildEnded:
    """The event in the parent run for a child run that has ended."""
    result, error = _child_outcome(state)
    status = RunStatus.FAILED if error and state.status in _SUCCESSFUL else state.status
    return ev.ChildEnded(
        at=now,
        task=parent.task,
        run=state.run,
        status=status,
        result=result,
        error=error,
        kind=BUDGET_EXCEEDED if state.over_budget else "child",
    )


def _child_outcome(state: RunState) -> tuple[JSONValue, str]:
    if state.status in _SUCCESSFUL:
        try:
            return run_result(state), ""
        except ExpressionError as fault:
            return None, f"outputs: {fault.message}"
    faults = (state.graph.keys[task] + ": " + fault.message for task, fault in state.faults.items())
    return None, next(faults, "the child run did not complete")


def child_wait_state(state: RunState) -> str:
    """How a child run waits: ``moving`` (not at all), ``timed``, ``helpless`` (for help)."""
    if state.parked is None:
        return "moving"
    return "helpless" if state.needs_help else "timed"
