"""Runs that are tasks of other runs: how they begin, how they are told of, what they come to.

Pure: makes the facts, which the driver applies. The child's run id follows from the parent's and
the task, so that it is the same whoever makes it. ``Bind`` checks a workflow's inputs and fills
them in: `authoring`'s business, given from outside.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Final, TypeAlias

from agenthive.core.budget.holds import EXCEEDED
from agenthive.core.engine.expression_scope import run_result
from agenthive.core.graph.graph import Graph
from agenthive.core.journal import run_events as ev
from agenthive.core.machine.run_state import RunState
from agenthive.core.model import definition
from agenthive.core.model.states import OPEN, RunStatus
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.values import JSONObject, JSONValue, Micros
from agenthive.errors import ExpressionError

Bind: TypeAlias = Callable[[WorkflowSpec, JSONObject], tuple[WorkflowSpec, JSONObject]]
"""The workflow and the inputs as a run has them. Raises ConfigurationError."""

LONGEST_ID: Final = 128
MOST_GRAPHS: Final = 100
_GOOD: Final = frozenset({RunStatus.COMPLETED, RunStatus.PARTIALLY_COMPLETED})


def as_given(spec: WorkflowSpec, inputs: JSONObject) -> tuple[WorkflowSpec, JSONObject]:
    """The `Bind` that changes nothing."""
    return spec, inputs


def child_id(run: str, key: str) -> str:
    """The id of the run that does a task of another run."""
    mark = sha256(f"{len(run)}:{run}{key}".encode()).hexdigest()
    whole = f"{run}.{mark[:12]}"
    return whole if len(whole) <= LONGEST_ID else mark


class Nursery:
    """Makes child runs. Graphs are shared between those of one definition."""

    def __init__(self, bind: Bind = as_given) -> None:
        self._bind = bind
        self._graphs: dict[str, Graph] = {}

    def submission(
        self, state: RunState, task: int, inputs: JSONObject, now: Micros
    ) -> tuple[ev.RunSubmitted, Graph, bytes]:
        """The child of a task, ready to be submitted. Raises ConfigurationError."""
        around, key = state.graph.nodes[task].around, state.graph.keys[task]
        assert around is not None
        assert around.workflow is not None
        spec, bound = self._bind(around.workflow, inputs)
        body = definition.encode(spec)
        digest = definition.digest(body)
        event = ev.RunSubmitted(
            at=now,
            run=child_id(state.run, key),
            name=spec.name,
            definition=digest,
            inputs=bound,
            tenant=state.tenant,
            owner=state.owner,
            parent=ev.Parent(state.run, key),
        )
        return event, self._graph(digest, spec), body

    def _graph(self, digest: str, spec: WorkflowSpec) -> Graph:
        graph = self._graphs.get(digest)
        if graph is None:
            if len(self._graphs) >= MOST_GRAPHS:
                self._graphs.clear()
            graph = self._graphs[digest] = Graph(spec)
        return graph


def kin(state: RunState) -> list[str]:
    """The runs that this one cannot go on without: that which waits for it, and its own."""
    above = [] if state.parent is None else [state.parent.run]
    flow = state.flow
    if flow is None:
        return above
    open_ones = [run for task, run in flow.children.items() if state.state[task] in OPEN]
    return above + open_ones


def ended(state: RunState, parent: ev.Parent, now: Micros) -> ev.ChildEnded:
    """What a run that has ended is to the task it was."""
    result, error = _outcome(state)
    status = RunStatus.FAILED if error and state.status in _GOOD else state.status
    return ev.ChildEnded(
        at=now,
        task=parent.task,
        run=state.run,
        status=status,
        result=result,
        error=error,
        kind=EXCEEDED if state.over_budget else "child",
    )


def _outcome(state: RunState) -> tuple[JSONValue, str]:
    if state.status in _GOOD:
        try:
            return run_result(state), ""
        except ExpressionError as fault:
            return None, f"outputs: {fault.message}"
    faults = (state.graph.keys[task] + ": " + fault.message for task, fault in state.faults.items())
    return None, next(faults, "it did not come to its end")


def standing(state: RunState) -> str:
    """How a run stands, for whoever waits for it."""
    if state.parked is None:
        return "moving"
    return "helpless" if state.helpless else "timed"
