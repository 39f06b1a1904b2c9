"""What is rehearsed: the workflow, its inputs, how each call is played, what goes wrong.

Inputs are checked as for a real run; secrets are not looked for. Where a result is read of which
there is no example, `wants` says what becomes of that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from agenthive import authoring
from agenthive.core.engine.driver import Driver
from agenthive.core.graph.graph import Graph
from agenthive.core.model import definition
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.values import JSONObject
from agenthive.insights.agent_statistics import Fit
from agenthive.insights.distributions import Spread
from agenthive.simulation.examples import read_examples
from agenthive.simulation.faults import Trouble, parse
from agenthive.simulation.missing_examples import readable
from agenthive.simulation.people import USUAL, patience
from agenthive.simulation.recording import CheckedDriver
from agenthive.simulation.world import Part, keys_of, parts_of


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All that a seed needs to become a run.

    ``graphs`` is the one graph, by the digest of its definition. ``people`` is how long they take,
    None if they never answer. ``notes`` say what is not known of the workflow.
    """

    spec: WorkflowSpec
    graph: Graph
    inputs: JSONObject
    parts: dict[str, Part]
    trouble: Trouble
    notes: list[str]
    graphs: dict[str, Graph]
    people: Spread | None
    make_driver: Callable[[], Driver]


def read_workflow(workflow: WorkflowSpec | str | Path) -> WorkflowSpec:
    """The workflow, read from its file if need be; secrets in it are replaced, never kept."""
    if isinstance(workflow, WorkflowSpec):
        return workflow
    return authoring.load(workflow, keep_secret=authoring.placeholder).spec


def make_plan(
    spec: WorkflowSpec,
    *,
    inputs: Mapping[str, Any] | None = None,
    faults: str | Trouble = "some",
    answers: Mapping[str, Any] | None = None,
    fit: Fit | None = None,
    people: str = USUAL,
    make_driver: Callable[[], Driver] | None = None,
) -> Plan:
    """Raises ConfigurationError if the inputs, the faults or the answers cannot be used."""
    bound, given = _bound(spec, dict(inputs or {}))
    graph = Graph(bound)
    parts = parts_of(graph, fit, read_examples(answers or {}, keys_of(graph)))
    played, wanted = readable(bound, given, parts)
    graph = Graph(played)
    return Plan(
        spec=played,
        graph=graph,
        graphs={definition.digest(definition.encode(played)): graph},
        inputs=given,
        parts=parts,
        trouble=parse(faults) if isinstance(faults, str) else faults,
        people=patience(people),
        notes=[*_unfounded(parts, fit), *wanted],
        make_driver=make_driver or checked_driver,
    )


def _unfounded(parts: Mapping[str, Part], fit: Fit | None) -> list[str]:
    """What to say of tasks whose times are guessed."""
    guessed = [key for key, part in parts.items() if part.source.startswith("a guess")]
    if not guessed:
        return []
    where = "in the journal" if fit is not None else "declared (estimated_duration)"
    return [f"no time is {where} for {', '.join(guessed)}: guessed by kind of agent"]


def _bound(spec: WorkflowSpec, given: JSONObject) -> tuple[WorkflowSpec, JSONObject]:
    """The workflow with its inputs checked and filled in, and the inputs."""
    inputs = authoring.check_inputs(spec, given, keep_secret=authoring.placeholder)
    return authoring.bind_inputs(spec, inputs), inputs


def checked_driver() -> Driver:
    """The driver of a rehearsal."""
    return CheckedDriver(bind=_bound)
