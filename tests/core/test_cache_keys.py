"""Equal calls: a cached result answers a call only if its agent would receive the same."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

import msgspec
import pytest

from agenthive.core.engine.call_builder import CALLER_FIELDS, cache_key
from agenthive.core.graph.nodes import Node
from agenthive.core.model.calls import Call, ModelTurn, Tool
from agenthive.core.model.control_flow import CacheSpec, EachSpec
from agenthive.core.model.workflow import AgentSpec
from tests.core.rig import Bench, agent, flow, task

CALL: Final = Call(
    run="r", task="t", attempt=1, key="k", agent="a", action="do", parameters={"x": 1}
)
OTHERS: Final[dict[str, Any]] = {
    "run": "s",
    "task": "u",
    "attempt": 2,
    "key": "l",
    "agent": "b",
    "action": "undo",
    "parameters": {"x": 2},
    "dependencies": {"before": "bob"},
    "description": "Translate this.",
    "references": frozenset({"${env:TOKEN}"}),
    "timeout": 3.0,
    "output_schema": {"type": "object"},
    "complaint": "it is no JSON",
    "progress": {"step": 2},
    "max_tokens": 10,
    "tools": (Tool(name="look"),),
    "turns": (ModelTurn(said="hm", outcomes=()),),
}
"""Another value for each field of a call; a new field of `Call` needs one here."""


def node(used: AgentSpec | None = None, version: str = "") -> Node:
    bench = Bench()
    spec = flow(task("t", cache=CacheSpec(version=version)), agents=(used or agent(),))
    bench.run(spec)
    return bench.state().graph.nodes[0]


@pytest.mark.parametrize("field", Call.__struct_fields__)
def test_every_field_counts_but_those_of_the_caller(field: str) -> None:
    other = msgspec.structs.replace(CALL, **{field: OTHERS[field]})
    same = cache_key(node(), other) == cache_key(node(), CALL)
    assert same is (field in CALLER_FIELDS)


def test_only_the_run_the_task_and_its_attempt_do_not_count() -> None:
    assert {"run", "task", "attempt", "key"} == CALLER_FIELDS


AGENTS: Final[dict[str, Any]] = {
    "endpoint": "custom://other",
    "custom_params": {"model": "y"},
    "authentication": {"type": "bearer", "token": "${env:OTHER}"},
    "type": "python",
}


@pytest.mark.parametrize("field", AGENTS)
def test_another_agent_is_another_call(field: str) -> None:
    other = msgspec.structs.replace(agent(), **{field: AGENTS[field]})
    assert cache_key(node(other), CALL) != cache_key(node(), CALL)


def test_the_version_counts() -> None:
    assert cache_key(node(version="2"), CALL) != cache_key(node(), CALL)


def test_the_order_of_what_has_no_order_does_not_count() -> None:
    names = [f"${{env:N{i}}}" for i in range(40)]
    calls = [
        msgspec.structs.replace(
            CALL, references=frozenset(listed), parameters=dict.fromkeys(listed, 1)
        )
        for listed in (names, names[::-1])
    ]
    assert cache_key(node(), calls[0]) == cache_key(node(), calls[1])


def test_results_under_keys_of_the_older_form_are_not_found() -> None:
    used = node()
    encoder = msgspec.json.Encoder(order="sorted")
    assert used.task is not None
    identity = (used.agent, CALL.action, CALL.parameters, used.schema, "")
    assert cache_key(used, CALL) != sha256(encoder.encode(identity)).hexdigest()


def test_the_result_of_a_dependency_is_part_of_the_call() -> None:
    spec = flow(
        task("a", parameters={"who": "{{ inputs.who }}"}),
        task("b", "a", cache=CacheSpec(), parameters={"k": 1}),
    )
    keys: dict[str, str] = {}
    for run, result in (("r", "alice"), ("s", "bob"), ("t", "alice")):
        bench = Bench()
        bench.run(spec, run=run, inputs={"who": "x"})
        bench.answer("a", result, run=run)
        keys[run] = bench.calls[run, "b"].cache_key
    assert keys["r"] == keys["t"] != keys["s"]


def test_items_that_are_equal_share_a_result() -> None:
    bench = Bench()
    each = EachSpec(items=["x", "y", "x"])
    bench.run(flow(task("a", for_each=each, cache=CacheSpec(), parameters={"i": "{{ item }}"})))
    keys = [bench.calls["r", f"a[{i}]"].cache_key for i in range(3)]
    assert keys[0] == keys[2] != keys[1]
    assert all(keys)
