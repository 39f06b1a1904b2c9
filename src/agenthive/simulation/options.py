"""The options of a simulation: workflow, inputs, scripts of its calls, faults.

Inputs are checked as for a real run; secrets are not resolved. `missing_examples` decides what
happens where a workflow reads a result that has no example.
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
from agenthive.insights.distributions import Distribution
from agenthive.simulation.examples import read_examples
from agenthive.simulation.faults import FaultPlan, parse_faults
from agenthive.simulation.missing_examples import strip_unknown_parameters
from agenthive.simulation.people import DEFAULT_PATIENCE, parse_patience
from agenthive.simulation.recording import CheckedDriver
from agenthive.simulation.world import TaskScript, build_scripts, list_script_keys


class SimulationOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is shared by all seeds of a simulation."""

    spec: WorkflowSpec
    graph: Graph
    inputs: JSONObject
    #: Task name -> how its calls are simulated.
    scripts: dict[str, TaskScript]
    fault_plan: FaultPlan
    #: Messages for the user about what is guessed or omitted.
    notes: list[str]
    #: ``graph`` by the digest of its definition, so that no seed compiles it again.
    graphs: dict[str, Graph]
    #: Seconds until people answer; None if they never do.
    people_delay: Distribution | None
    #: Makes the driver of each simulated process.
    make_driver: Callable[[], Driver]


def read_workflow(workflow: WorkflowSpec | str | Path) -> WorkflowSpec:
    """The workflow, read from its file if necessary; secrets are replaced, never kept."""
    if isinstance(workflow, WorkflowSpec):
        return workflow
    return authoring.load(workflow, keep_secret=authoring.placeholder).spec


def build_options(
    spec: WorkflowSpec,
    *,
    inputs: Mapping[str, Any] | None = None,
    faults: str | FaultPlan = "some",
    answers: Mapping[str, Any] | None = None,
    fit: Fit | None = None,
    people: str = DEFAULT_PATIENCE,
    make_driver: Callable[[], Driver] | None = None,
) -> SimulationOptions:
    """Check and combine the options of `simulate`.

    Raises ConfigurationError if the inputs, the faults or the examples are not valid.
    """
    bound, bound_inputs = _bind_inputs(spec, dict(inputs or {}))
    graph = Graph(bound)
    scripts = build_scripts(graph, fit, read_examples(answers or {}, list_script_keys(graph)))
    playable, missing_notes = strip_unknown_parameters(bound, bound_inputs, scripts)
    graph = Graph(playable)
    return SimulationOptions(
        spec=playable,
        graph=graph,
        graphs={definition.compute_digest(definition.encode(playable)): graph},
        inputs=bound_inputs,
        scripts=scripts,
        fault_plan=parse_faults(faults) if isinstance(faults, str) else faults,
        people_delay=parse_patience(people),
        notes=[*_guess_notes(scripts, fit), *missing_notes],
        make_driver=make_driver or make_checked_driver,
    )


def _guess_notes(scripts: Mapping[str, TaskScript], fit: Fit | None) -> list[str]:
    """Notes about tasks with guessed durations."""
    guessed = [key for key, script in scripts.items() if script.source.startswith("a guess")]
    if not guessed:
        return []
    where = "in the journal" if fit is not None else "declared (estimated_duration)"
    return [f"no duration is {where} for {', '.join(guessed)}: guessed by kind of agent"]


def _bind_inputs(spec: WorkflowSpec, values: JSONObject) -> tuple[WorkflowSpec, JSONObject]:
    """The workflow with its inputs checked and defaults filled in, and the inputs."""
    inputs = authoring.check_inputs(spec, values, keep_secret=authoring.placeholder)
    return authoring.bind_inputs(spec, inputs), inputs


def make_checked_driver() -> Driver:
    """The driver of a simulation, which checks its invariants before each decision."""
    return CheckedDriver(bind=_bind_inputs)
