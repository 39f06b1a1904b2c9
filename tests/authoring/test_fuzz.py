"""Whatever a file says, the loader answers with a workflow or a `ConfigurationError`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agenthive import authoring
from agenthive.authoring.dialect.dialect import SHAPES, TASK
from agenthive.authoring.dialect.shapes import Field, Kind, Shape
from agenthive.core.graph.graph import topological_order
from agenthive.errors import ConfigurationError

WORDS = st.sampled_from(
    [
        "",
        " ",
        "t0",
        "t1",
        "a",
        "true",
        "5",
        "10m",
        "-1s",
        "1e400",
        "2026-12-01T09:00Z",
        "x/y",
        "tasks.t0.result",
        "{{ tasks.t0.result }}",
        "{{ item }}",
        "{{",
        "}}",
        "{{{{ }}",
        "result",
        "round == 3",
        "[1, 2]",
        "1 / 0",
        "inputs.x",
        "child.yaml",
        "${env:A}",
        "none",
        "once",
        "approve",
        "skip",
        "\0",
        "é",
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-2, 200_000)
    | st.floats(allow_nan=True)
    | WORDS
    | st.text(max_size=8)
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


def value(field: Field, depth: int) -> st.SearchStrategy[Any]:
    """Often what the key takes, and often not."""
    match field.kind:
        case Kind.SHAPE if depth:
            return shape(SHAPES[field.shape], depth - 1) | ANYTHING
        case Kind.WORKFLOW if depth:
            return st.fixed_dictionaries({"tasks": tasks(depth - 1)}) | ANYTHING
        case Kind.CHOICE:
            return st.sampled_from(field.choices) | ANYTHING
        case Kind.NAMES:
            return st.lists(st.sampled_from(["t0", "t1", "x"]), max_size=2) | ANYTHING
        case Kind.MAP:
            return st.dictionaries(WORDS, ANYTHING, max_size=3) | ANYTHING
        case _:
            return ANYTHING


def shape(what: Shape, depth: int) -> st.SearchStrategy[dict[str, Any]]:
    fields = {field.key: value(field, depth) for field in what.fields}
    return st.sets(st.sampled_from(sorted(fields)), max_size=5).flatmap(
        lambda keys: st.fixed_dictionaries({key: fields[key] for key in sorted(keys)})
    )


def tasks(depth: int) -> st.SearchStrategy[list[dict[str, Any]]]:
    bodies = st.sampled_from([{"agent_name": "a", "action": "go"}, {"delay": 1}, {}])
    body = st.tuples(bodies, shape(TASK, depth)).map(lambda both: both[0] | both[1])
    return st.lists(body, min_size=1, max_size=3).map(
        lambda found: [{**one, "name": f"t{i}"} for i, one in enumerate(found)]
    )


@pytest.mark.slow
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tasks(2), st.booleans())
def test_any_sections(found: list[dict[str, Any]], native: bool) -> None:
    data: dict[str, Any] = {"agenthive": 1} if native else {}
    agents = [{"name": "a", "type": "custom", "endpoint": "e"}]
    try:
        loaded = authoring.from_mapping({**data, "name": "w", "agents": agents, "tasks": found})
    except ConfigurationError:
        return
    spec = loaded.spec
    assert authoring.parse_spec(authoring.dump(spec)) == spec
    index = {task.name: i for i, task in enumerate(spec.tasks)}
    dependents: list[list[int]] = [[] for _ in index]
    for task in spec.tasks:
        for other in task.depends_on:
            dependents[index[other]].append(index[task.name])
        assert bool(task.agent) == bool(task.action)
        assert task.agent == "" or task.workflow is None
    topological_order(dependents)
