"""What may stand around a call: what is accepted, what it means, what everything else is told."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from agenthive import authoring
from agenthive.authoring import loads
from agenthive.authoring.dialect.json_schema import build_schema
from agenthive.authoring.readers.problems import Problems
from agenthive.authoring.readers.size_limits import OPERATOR
from agenthive.authoring.readers.sources import read_text
from agenthive.core.model.control_flow import (
    ApprovalSpec,
    CacheSpec,
    EachSpec,
    OnDeadline,
    OnReject,
    ReconcileSpec,
    RepeatSpec,
    WaitSpec,
)
from agenthive.core.model.workflow import Effect, TaskSpec
from agenthive.errors import ConfigurationError
from tests.authoring.known_actions import KnownActions

from .flows import AFTER, BAD, CALL, GOOD, HEAD, WARNED, with_task

VALIDATOR = jsonschema.Draft202012Validator(build_schema())


def plain(text: str) -> Any:
    return read_text(text, "yaml", OPERATOR, Problems("x")).to_plain()


def task(text: str) -> TaskSpec:
    return loads(with_task(text)).spec.tasks[1]


@pytest.mark.parametrize("name", GOOD)
def test_accepted_without_a_word(name: str) -> None:
    text = with_task(GOOD[name])
    loaded = loads(text, "f.yaml")
    assert loaded.warnings == ()
    assert authoring.parse_spec(authoring.dump(loaded.spec)) == loaded.spec
    VALIDATOR.validate(plain(text))


@pytest.mark.parametrize("name", BAD)
def test_refused_with_place_and_reason(name: str) -> None:
    text, place, why = BAD[name]
    with pytest.raises(ConfigurationError) as caught:
        loads(with_task(text), "f.yaml")
    line = next((line for line in caught.value.problems if why in line), str(caught.value))
    assert why in line
    assert line.startswith(f"f.yaml:{place}: ")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", WARNED)
def test_accepted_with_a_word(name: str) -> None:
    text, place, why = WARNED[name]
    (warning,) = loads(with_task(text), "f.yaml").warnings
    assert why in warning
    assert warning.startswith(f"f.yaml:{place}: ")
    VALIDATOR.validate(plain(with_task(text)))


@pytest.mark.parametrize(
    "name",
    [
        "delay and until",
        "delay below zero",
        "delay in words",
        "until without a zone",
        "items of a number",
        "items of a flag",
        "boundless items",
        "no items at all",
        "rounds without end",
        "boundless rounds",
        "rounds for ever",
        "nobody",
        "approval by name",
        "rejected to what",
        "nothing to do",
        "only a condition",
        "no agent",
        "no action",
        "both bodies",
        "parameters of nobody",
        "effect of a workflow",
        "cache of a number",
        "a list as workflow",
        "child without tasks",
        "signal without a name",
    ],
)
def test_the_schema_refuses_it_too(name: str) -> None:
    assert not VALIDATOR.is_valid(plain(with_task(BAD[name][0])))


def test_what_the_words_mean() -> None:
    found = task(GOOD["approval in full"])
    assert found.for_each == EachSpec(items=[1])
    assert found.approval == ApprovalSpec(
        message="{{ item }}?",
        approvers=("x", "y"),
        quorum=2,
        deadline=7200.0,
        on_deadline=OnDeadline.APPROVE,
        on_reject=OnReject.SKIP,
        escalate_after=3600.0,
        escalate_to=("z",),
    )
    assert task(GOOD["approval alone"]).approval == ApprovalSpec(
        payload={"p": "{{ tasks.t.result }}"}, approvers=("x",)
    )
    assert task(CALL + "approval: true}").approval == ApprovalSpec()
    assert task(GOOD["no approval"]).approval is None
    assert task(GOOD["signal"]).wait_for == WaitSpec(signal="go")
    assert task(GOOD["signal in full"]).wait_for == WaitSpec(
        signal="go", timeout=5.0, default={"a": [1]}, has_default=True, keep=False
    )
    no_default = task(CALL + "wait_for: {signal: s, timeout: 1, default: null}}").wait_for
    assert no_default == WaitSpec(signal="s", timeout=1.0, has_default=True)
    assert task(GOOD["items by an expression in braces"]).for_each == EachSpec(
        items="tasks.t.result"
    )
    assert task(GOOD["items in full"]).for_each == EachSpec(
        items="inputs.items", max_items=100_000, max_parallel=50, label="item.name"
    )
    assert task(GOOD["rounds"]).repeat_until == RepeatSpec(until="result.ok or round == 3")
    assert task(GOOD["rounds in full"]).repeat_until == RepeatSpec(
        until="result", max_rounds=10_000
    )


def test_what_more_words_mean() -> None:
    assert task(GOOD["when in braces"]).when == "tasks.t.result.ok"
    assert [task(GOOD[name]).delay for name in ("delay", "delay of an expression")] == [
        600.0,
        "{{ inputs.topic }}",
    ]
    assert task(GOOD["until"]).until == "2026-12-01T09:00:00+01:00"
    assert task(GOOD["cache"]).cache == CacheSpec()
    assert task(GOOD["cache in full"]).cache == CacheSpec(
        ttl=86_400.0, version="v{{ inputs.topic }}"
    )
    assert task(GOOD["no cache"]).cache is None
    assert task(GOOD["heartbeat"]).heartbeat_timeout == 30.0
    assert task(GOOD["schema"]).output_schema == {"type": "object", "required": ["a"]}
    assert task(GOOD["reconcile"]).reconcile == ReconcileSpec(
        agent="a", action="look", parameters={"x": "{{ item }}"}, timeout=5.0
    )
    alone = task(GOOD["delay alone"])
    assert (alone.agent, alone.action, alone.workflow) == ("", "", None)


def test_the_classic_dialect_has_the_same_words() -> None:
    text = HEAD.replace("agenthive: 1\n", "").replace("agent: a", "agent_name: a")
    spec = loads(text + "  - {name: u, delay: 5}\noutputs: {x: '{{ tasks.t.result }}'}\n").spec
    assert spec.tasks[1].delay == 5.0
    assert spec.outputs == {"x": "{{ tasks.t.result }}"}


@pytest.mark.parametrize(
    ("outputs", "why"),
    [
        ("{x: '{{ tasks.q.result }}'}", "outputs.x: the expression reads undefined task 'q'"),
        ("{x: ['{{ item }}']}", "outputs.x[0]: column 1: unknown name 'item'"),
        ("{x: '{{ inputs.topik }}'}", "undeclared input 'topik'"),
        ("[1]", "outputs: must be a map"),
    ],
)
def test_bad_outputs(outputs: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        loads(HEAD + f"outputs: {outputs}\n")
    assert why in str(caught.value)


def test_a_section_that_is_wrong_is_the_only_problem() -> None:
    """The names it would bring are not called unknown on top of that."""
    text = (
        AFTER + "wait_for: 5, for_each: 5, repeat_until: 5,"
        " parameters: {x: '{{ [item, index, round, previous, signal] }}'}}"
    )
    with pytest.raises(ConfigurationError) as caught:
        loads(with_task(text))
    assert len(caught.value.problems) == 3


def test_known_actions_decide_what_may_be_cached() -> None:
    class Known(KnownActions):
        def action_problem(self, spec: Any, action: str) -> str | None:
            return f"cannot {action}" if action == "fly" else None

        def effect_of(self, spec: Any, action: str) -> Effect | None:
            return Effect.NONE if action == "go" else None

    assert loads(with_task(CALL + "cache: true}"), actions=Known()).warnings == ()
    with pytest.raises(ConfigurationError, match=r"reconcile\.action: cannot fly"):
        loads(
            with_task(CALL + "effect: once, reconcile: {action: fly}}"), "f.yaml", actions=Known()
        )


def test_many_people() -> None:
    names = [f"p{i}" for i in range(1001)]
    data = {
        "name": "w",
        "tasks": [{"name": "t", "approval": {"approvers": names}}],
    }
    with pytest.raises(ConfigurationError, match="at most 1,000 names"):
        authoring.from_mapping(data)
