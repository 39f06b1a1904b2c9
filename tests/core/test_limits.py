"""Rate limits at the driver: who waits for a gate, what a refusal does, what outlives a restart."""

from __future__ import annotations

from typing import Any

import pytest

from agenthive.core.engine.rate_limits import FIRST_PAUSE, MAX_PAUSE
from agenthive.core.engine.reply_validation import validate_reply
from agenthive.core.journal import run_events as ev
from agenthive.core.machine.guards.outcome import MAX_LOSSES
from agenthive.core.model.calls import Call, Fault, Headroom, Reply, Usage
from agenthive.core.model.states import TaskState
from agenthive.core.model.workflow import AgentSpec, WorkflowSpec
from agenthive.core.policies.rate_limit import RateLimit
from agenthive.core.values import SECOND
from tests.core.purse import Quotes, facts, state_of
from tests.core.rig import NO_RETRY, START, Bench, agent, flow, task

REFUSED = Fault(kind="rate_limited", message="slow down", counts=False)
MINUTE = 60 * SECOND


class Sizes(Quotes):
    """Every call takes as many tokens as its parameter says; none costs anything."""

    def is_priced(self, spec: AgentSpec) -> bool:
        return False

    def estimate_tokens(self, spec: AgentSpec, call: Call) -> int:
        return int(str(call.parameters.get("size", 10)))


def calls(*names: str, sizes: dict[str, Any] | None = None, **limits: int) -> WorkflowSpec:
    """Independent tasks at an agent with that limit."""
    limited = agent("a", rate_limit=RateLimit(**limits) if limits else None)
    given = {name: {"parameters": {"size": size}} for name, size in (sizes or {}).items()}
    tasks = [task(name, retry=NO_RETRY, **given.get(name, {})) for name in names]
    return flow(*tasks, agents=[limited], max_parallel=100, timeout=None)


def refuse(found: Bench, name: str, *, after: float | None = None, draw: float = 0.0) -> None:
    fault = Fault(kind="rate_limited", message="no", counts=False, retry_after=after)
    found.answer(name, fault=fault, draw=draw)


def under_way(found: Bench) -> list[str]:
    return [name for _, name in found.calls]


def test_calls_pass_evenly() -> None:
    found = Bench()
    found.run(calls("a", "b", "c", requests_per_minute=10))
    assert under_way(found) == ["a"]
    assert found.driver.next_wake() == START + MINUTE // 10
    found.wait(5.9)
    assert under_way(found) == ["a"]
    found.wait(0.1)
    assert under_way(found) == ["a", "b"]
    found.wait(6)
    assert under_way(found) == ["a", "b", "c"]


def test_all_runs_share_a_limit() -> None:
    found = Bench()
    found.run(calls("a", requests_per_minute=10))
    found.run(calls("b", requests_per_minute=10), run="s")
    assert list(found.calls) == [("r", "a")]
    found.wait(6)
    assert list(found.calls) == [("r", "a"), ("s", "b")]


def test_who_waits_for_the_gate_is_next_when_it_opens() -> None:
    found = Bench(quoter=Sizes())
    found.run(calls("a", "big", "c", sizes={"big": 90}, tokens_per_minute=100))
    assert under_way(found) == ["a"], "the large one waits, and nobody passes it"
    found.wait(53.9)
    assert under_way(found) == ["a"]
    found.wait(0.1)
    assert under_way(found) == ["a", "big"]


def test_what_was_not_used_is_free_again() -> None:
    found = Bench(quoter=Sizes())
    found.run(calls("a", "b", tokens_per_minute=100))
    found.answer("a", usage=Usage(model="m", input_tokens=1, output_tokens=0))
    found.wait(0.6)
    assert under_way(found) == ["b"]


def test_what_is_larger_than_the_limit_fails_at_once() -> None:
    found = Bench(quoter=Sizes())
    found.run(calls("a", sizes={"a": 101}, tokens_per_minute=100))
    (fact,) = facts(found, ev.TaskFaulted)
    assert fact.fault.kind == "too_large"
    assert "about 101 tokens, more than agent 'a' may use in a minute" in fact.fault.message


def test_a_size_that_nobody_knows_is_none() -> None:
    found = Bench()
    found.run(calls("a", "b", tokens_per_minute=10))
    assert under_way(found) == ["a", "b"]
    odd = Bench(quoter=Sizes())
    odd.run(calls("a", sizes={"a": "{{ 1 / 0 }}"}, tokens_per_minute=10))
    assert facts(odd, ev.TaskFailed)[0].fault.kind == "expression"


def test_calls_at_once() -> None:
    found = Bench()
    found.run(calls("a", "b", "c", concurrent_requests=2))
    assert under_way(found) == ["a", "b"]
    assert found.driver.next_wake() is None
    found.answer("a")
    assert under_way(found) == ["b", "c"]
    found.stop("b")
    assert under_way(found) == ["c"]


def test_a_refusal_is_no_attempt_and_pauses_all() -> None:
    found = Bench()
    found.run(calls("a", "b"))
    refuse(found, "a", draw=0.5)
    (fact,) = facts(found, ev.TaskFailed)
    assert fact.pause == FIRST_PAUSE + FIRST_PAUSE // 2
    assert state_of(found, "a") is TaskState.BACKING_OFF
    refuse(found, "b", after=3.0)
    assert facts(found, ev.TaskFailed)[1].pause == 3 * SECOND
    found.wait(1.5)
    assert under_way(found) == [], "the gate opens after three seconds"
    found.wait(1.5)
    assert under_way(found) == ["a"], "there is one place less"
    found.answer("a")
    assert under_way(found) == ["b"]
    found.answer("b")
    assert "r" not in found.driver.runs


def test_pauses_grow_until_something_goes_well() -> None:
    found = Bench()
    found.run(calls("a"))
    pauses = []
    for _ in range(8):
        refuse(found, "a")
        pauses.append(facts(found, ev.TaskFailed)[-1].pause)
        found.wait(pauses[-1] / SECOND)
    assert pauses == [min(FIRST_PAUSE << wave, MAX_PAUSE) for wave in range(8)]
    found.answer("a")
    found.run(calls("a"), run="s")
    found.answer("a", fault=REFUSED, run="s")
    assert facts(found, ev.TaskFailed, "s")[-1].pause == FIRST_PAUSE


def test_who_is_put_off_too_often_has_failed() -> None:
    found = Bench()
    found.run(calls("a"))
    for _ in range(MAX_LOSSES):
        refuse(found, "a", after=0.0)
        found.wait(0)
    refuse(found, "a", after=0.0)
    assert facts(found, ev.TaskFailed)[-1].pause is None
    assert "r" not in found.driver.runs


def test_an_endpoint_that_is_unwell_is_the_breakers_business() -> None:
    found = Bench()
    found.run(calls("a"))
    found.answer("a", fault=Fault(kind="overloaded", message="503"))
    assert facts(found, ev.TaskFailed)[-1].pause is None
    assert found.driver.rate_limits.gates == {}


def test_a_breaker_and_a_gate_do_not_open_for_one_another() -> None:
    from agenthive.core.policies.circuit_breaker import BreakerPolicy

    found = Bench()
    limited = agent(
        "a",
        rate_limit=RateLimit(requests_per_minute=1),
        circuit_breaker=BreakerPolicy(failure_threshold=1, recovery_timeout=600.0),
    )
    spec = flow(
        task("a", retry=NO_RETRY),
        task("b"),
        agents=[limited],
        timeout=None,
        failure_strategy="continue_on_failure",
    )
    found.run(spec)
    found.answer("a", fault=Fault(kind="connection", message="gone"))
    found.wait(61)
    assert under_way(found) == []
    found.wait(540)
    assert under_way(found) == ["b"]


def test_what_the_other_side_says_is_left() -> None:
    found = Bench()
    found.run(calls("a", "b", "c", requests_per_minute=600))
    head = Headroom(requests=1, within=30.0)
    found.driver.record_reply(found.now, "r", "a", 1, Reply(result=1, headroom=head), 0.0)
    found.calls.clear()
    found.turn()
    assert found.driver.rate_limits.closed_until("custom custom://a") is None
    found.run(calls("d", "e", requests_per_minute=600), run="s")
    assert under_way(found) == ["d"]
    assert found.driver.rate_limits.closed_until("custom custom://a") == found.now + 30 * SECOND
    assert found.driver.rate_limits.closed_until("nowhere") is None


def test_a_quota_outlives_a_restart() -> None:
    found = Bench()
    found.run(calls("a", "b", requests_per_day=10))
    found.answer("a")
    found.crash()
    found.turn()
    assert under_way(found) == []
    assert found.driver.next_wake() == START + 86_400 * SECOND // 10
    found.wait(8640)
    assert under_way(found) == ["b"]


def test_lanes_that_come_later_stand_before_the_same_gate() -> None:
    found = Bench()
    found.run(calls("a", "b", requests_per_minute=1))
    other = msgspec_replace(calls("x"), "a")
    found.run(other, run="s")
    assert under_way(found) == ["a"]
    found.wait(60)
    assert len(found.calls) == 2


def msgspec_replace(spec: WorkflowSpec, name: str) -> WorkflowSpec:
    """The same address, reached by another agent."""
    import msgspec

    one = AgentSpec(name=name, type="custom", endpoint="custom://a", timeout=7.0)
    return msgspec.structs.replace(spec, agents=(one,))


def test_settled_late_or_not_at_all() -> None:
    found = Bench(quoter=Sizes())
    found.run(calls("a", "b", tokens_per_minute=100))
    found.stop("a")
    found.wait(6)
    assert under_way(found) == ["b"]
    refuse(found, "b")
    found.wait(1.2)
    assert under_way(found) == ["b"], "what was refused has used nothing"


@pytest.mark.parametrize(
    "odd",
    [
        Headroom(requests=-1),
        Headroom(tokens=1.5),  # type: ignore[arg-type]
        Headroom(requests=True, within=1.0),
        Headroom(within=-1.0),
        Headroom(within=float("nan")),
        Headroom(within="1"),  # type: ignore[arg-type]
    ],
)
def test_odd_headroom_is_not_heard(odd: Headroom) -> None:
    assert validate_reply(Reply(result=1, headroom=odd)).headroom is None
    assert validate_reply(Reply(fault=REFUSED, headroom=odd)).headroom is None
    good = Headroom(requests=1, tokens=2, within=3.0)
    assert validate_reply(Reply(result=1, headroom=good)).headroom == good
