"""The workflow as integers, and what a definition that cannot be one is told."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthive.core.graph.graph import Graph, find_secret_references, topological_order, upward_rank
from agenthive.core.model import definition
from agenthive.core.model.workflow import CompensationSpec, Effect, WorkflowSpec
from agenthive.core.policies.retry import RetryPolicy
from agenthive.core.values import SECOND
from agenthive.errors import ConfigurationError
from tests.core.rig import agent, flow, task, undo


def test_edges() -> None:
    graph = Graph(flow(task("a"), task("b", "a"), task("c", "b", "a")))
    assert graph.keys == ["a", "b", "c"]
    assert graph.index == {"a": 0, "b": 1, "c": 2}
    assert graph.deps == [(), (0,), (1, 0)]
    assert graph.dependents == [[1, 2], [2], []]
    assert graph.readers == [2, 1, 0]
    assert graph.rank == [3.0, 2.0, 1.0]
    assert (graph.tasks, graph.compensations) == (3, {})


def test_what_expressions_read_counts_as_read_but_is_no_edge() -> None:
    graph = Graph(
        flow(
            task("a"),
            task("b", "a"),
            task("c", "b", parameters={"x": "{{ tasks.a.result }} {{ tasks.b.result }}"}),
        )
    )
    assert graph.deps[2] == (1,)
    assert sorted(graph.reads[2]) == [0, 1]
    assert graph.readers == [2, 1, 0]


def test_compensations_are_nodes_of_their_own() -> None:
    plan = CompensationSpec(
        agent="b",
        action="undo",
        parameters={"x": 1, "k": "${env:K}"},
        timeout=4.0,
        retry=RetryPolicy(max_attempts=9),
        effect=Effect.KEYED,
    )
    graph = Graph(flow(task("a"), task("b", "a", priority=8, compensate=plan)))
    assert graph.tasks == 2
    assert graph.compensations == {1: 2}
    node = graph.nodes[2]
    assert (node.key, node.agent.name, node.action) == ("b#undo", "b", "undo")
    assert (node.compensates, node.timeout, node.retry.max_attempts) == (1, 4 * SECOND, 9)
    assert (node.effect, node.priority, node.tolerated) == (Effect.KEYED, 8, False)
    assert (node.description, node.endpoint) == ("compensation of b", "custom custom://b")
    assert node.references == {"${env:K}"}
    assert node.parameters.render({}) == {"x": 1, "k": "${env:K}"}
    assert graph.reads[2] == (1,)
    assert graph.readers == [1, 1, 0]
    assert graph.deps[2] == ()


def test_defaults_are_resolved() -> None:
    own, theirs = RetryPolicy(max_attempts=7), RetryPolicy(max_attempts=8)
    spec = flow(
        task("a", retry=own, timeout=1.5, description="d", effect=Effect.ONCE),
        task("b", continue_on_failure=True),
        task("c", agent="plain", compensate=undo()),
        task("d", agent="free"),
        agents=[agent(retry=theirs, timeout=9.0), agent("plain"), agent("free", timeout=None)],
    )
    nodes = Graph(spec).nodes
    assert [node.retry for node in nodes] == [own, theirs, RetryPolicy(), RetryPolicy(), theirs]
    seconds = [None if n.timeout is None else n.timeout / SECOND for n in nodes]
    assert seconds == [1.5, 9.0, 30.0, None, 9.0]
    assert [node.tolerated for node in nodes] == [False, True, False, False, False]
    assert (nodes[0].description, nodes[0].effect, nodes[0].action) == ("d", Effect.ONCE, "do")
    assert [node.compensates for node in nodes] == [None, None, None, None, 2]
    assert nodes[0].priority == 5


def test_the_longest_way_to_the_end() -> None:
    spec = flow(
        task("a", estimated_duration=2.0),
        task("b", "a", estimated_duration=5.0),
        task("c", "a"),
        task("d", "b", "c", estimated_duration=0.0),
    )
    assert Graph(spec).rank == [7.0, 5.0, 1.0, 0.0]


def test_ranks_that_would_be_slower_are_not_used() -> None:
    """With two slots the longest way first needs 11 s here, and each in its turn 10 s."""
    needs = [(), (), ("t1",), ("t0",), (), ("t1", "t4")]
    seconds = (1.0, 1.0, 5.0, 4.0, 2.0, 5.0)
    tasks = [
        task(f"t{i}", *deps, estimated_duration=one)
        for i, (deps, one) in enumerate(zip(needs, seconds, strict=True))
    ]
    longest = [5.0, 6.0, 5.0, 4.0, 7.0, 5.0]
    assert Graph(flow(*tasks, max_parallel=2)).rank == [0.0] * 6
    assert Graph(flow(*tasks, max_parallel=6)).rank == longest, "nobody waits for a slot"
    assert Graph(flow(*tasks, max_parallel=1)).rank == longest, "neither is quicker"
    undone = msgspec.structs.replace(tasks[0], compensate=undo())
    graph = Graph(flow(undone, *tasks[1:], max_parallel=2))
    assert graph.rank[:6] == [0.0] * 6, "what undoes a task does not count"


def test_ranks_with_another_unit() -> None:
    assert upward_rank([[1], [2], []], [None, 4.0, None], 10.0) == [24.0, 14.0, 10.0]
    assert upward_rank([[], []], [3.0]) == [3.0, 1.0]


def test_kinds() -> None:
    spec = flow(task("a"), task("b", agent="x"), task("c"))
    graph = Graph(spec)
    assert (graph.kinds, graph.kind_count) == ([0, 1, 0], 2)


def test_equal_agents_share_a_lane_in_all_runs() -> None:
    one, two = Graph(flow(task("a"), task("b", agent="b"))), Graph(flow(task("z")))
    assert one.lanes[0] == two.lanes[0] != one.lanes[1]
    other = Graph(flow(task("a"), agents=[agent(timeout=1.0)]))
    assert other.lanes[0] != one.lanes[0]
    assert {name: a.name for name, a in one.lane_agents.items()} == {
        one.lanes[0]: "a",
        one.lanes[1]: "b",
    }
    assert one.lanes[0].startswith("a-")
    assert len(one.lanes[0]) == len("a-") + 16


def test_a_number_written_in_another_way_makes_no_other_agent() -> None:
    whole = Graph(flow(task("t"), agents=[agent("a", timeout=9)]))
    real = Graph(flow(task("t"), agents=[agent("a", timeout=9.0)]))
    assert whole.lanes == real.lanes


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (flow(task("a"), task("a")), "Two tasks have the same name"),
        (flow(task("a", "x")), "Task 'a' depends on undefined task 'x'"),
        (flow(task("a", compensate=undo()), task("b", "a#undo")), "undefined task 'a#undo'"),
        (flow(task("a", parameters={"x": "{{ tasks.x.result }}"})), "'a' depends on undefined"),
        (flow(task("a", compensate=undo(parameters={"x": "{{ tasks.x.result }}"}))), "'a#undo'"),
        (flow(task("a", "b"), task("b", "a")), "Circular dependency detected in tasks"),
        (flow(task("a", "a")), "Circular dependency detected in tasks"),
    ],
)
def test_refused(spec: WorkflowSpec, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Graph(spec)


def test_an_agent_nobody_defined() -> None:
    for spec in (
        WorkflowSpec(name="w", tasks=(task("t", agent="x"),)),
        WorkflowSpec(
            name="w",
            agents=(agent("b"),),
            tasks=(task("t", agent="b", compensate=CompensationSpec(agent="x", action="u")),),
        ),
    ):
        with pytest.raises(ConfigurationError, match="Task 't' references undefined agent 'x'"):
            Graph(spec)


@st.composite
def dags(draw: st.DrawFn) -> list[list[int]]:
    size = draw(st.integers(0, 12))
    edges = [[j for j in range(i + 1, size) if draw(st.booleans())] for i in range(size)]
    order = draw(st.permutations(range(size)))
    mixed: list[list[int]] = [[] for _ in range(size)]
    for i, targets in enumerate(edges):
        mixed[order[i]] = [order[j] for j in targets]
    return mixed


@given(dags())
def test_a_topological_order(dependents: list[list[int]]) -> None:
    order = topological_order(dependents)
    assert sorted(order) == list(range(len(dependents)))
    place = {node: i for i, node in enumerate(order)}
    assert all(place[i] < place[j] for i, targets in enumerate(dependents) for j in targets)


@given(dags(), st.data())
def test_a_cycle_is_found(dependents: list[list[int]], data: st.DataObject) -> None:
    paths = [(i, j) for i, targets in enumerate(dependents) for j in targets]
    if not paths:
        return
    i, j = data.draw(st.sampled_from(paths))
    dependents[j].append(i)
    with pytest.raises(ConfigurationError, match="Circular"):
        topological_order(dependents)


def test_secret_references() -> None:
    value = {
        "a": "${env:A} and ${file:/b}",
        "b": ["${secret:c-d}", {"c": "${env:A}", "d": 5, "e": None}],
        "plain": "${HOME} $env:X ${env:} env:Y",
        "long": "${env:" + "x" * 513 + "}",
    }
    assert find_secret_references(value) == {"${env:A}", "${file:/b}", "${secret:c-d}"}
    assert find_secret_references("${env:" + "x" * 512 + "}") != frozenset()
    assert (
        find_secret_references({})
        == find_secret_references("$")
        == find_secret_references(1)
        == frozenset()
    )


def test_a_definition_is_pinned_by_its_canonical_bytes() -> None:
    spec = flow(task("a", parameters={"b": 1, "a": [2]}))
    other = flow(task("a", parameters={"a": [2], "b": 1}))
    assert definition.encode(spec) == definition.encode(other)
    assert definition.decode(definition.encode(spec)) == spec
    assert b'"effect"' not in definition.encode(spec), "defaults are left out"
    assert len(definition.compute_digest(b"")) == 64
    assert definition.compute_digest(definition.encode(spec)) != definition.compute_digest(b"{}")
    with pytest.raises(msgspec.ValidationError):
        definition.decode(b'{"name": 5}')
