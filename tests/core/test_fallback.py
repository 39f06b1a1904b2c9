"""Those who go on where a model could not, or where it would have to be waited for."""

from __future__ import annotations

from typing import Any

import msgspec

from agenthive.core.journal import run_events as ev
from agenthive.core.machine.model_turns import BREAKER_OPEN
from agenthive.core.model.workflow import (
    AgentSpec,
    BudgetSpec,
    FailureStrategy,
    FallbackSpec,
    TaskSpec,
)
from agenthive.core.policies.circuit_breaker import BreakerPolicy
from tests.core.rig import AT_ONCE, FAULT, FINAL, NO_RETRY, SECOND, Bench, agent, flow, task
from tests.core.test_turns import ask, begun, fault_of, tool


def others(*names: str, **more: Any) -> TaskSpec:
    fallback = tuple(FallbackSpec(agent=name, model=f"{name}-large") for name in names)
    given = {"parameters": {"model": "first", "text": "x"}, "retry": NO_RETRY} | more
    return task("q", fallback=fallback, **given)


def test_the_next_model_goes_on_where_the_first_could_not() -> None:
    bench = begun(flow(others("b", "c", tools=(tool(),))))
    bench.answer("q~1", "hm", asks=(ask(),))
    bench.answer("q~1[0]", 7)
    bench.answer("q~2", fault=FINAL)
    call = bench.calls["r", "q~3"]
    assert (call.agent.name, call.call.parameters["model"]) == ("b", "b-large")
    assert [turn.said for turn in call.call.turns] == ["hm"]
    bench.answer("q~3", asks=(ask(at=2),))
    bench.answer("q~3[0]", 8)
    # It speaks from then on.
    assert bench.calls["r", "q~4"].agent.name == "b"
    bench.answer("q~4", fault=FINAL)
    assert bench.calls["r", "q~5"].agent.name == "c"
    bench.answer("q~5", "there")
    assert bench.results()["q"] == "there"
    assert bench.status() == "completed"


def test_without_tools_too() -> None:
    bench = begun(flow(others("b")))
    bench.answer("q~1", fault=FINAL)
    assert bench.calls["r", "q~2"].call.parameters == {"model": "b-large", "text": "x"}
    bench.answer("q~2", fault=FINAL)
    assert (bench.status(), fault_of(bench).message) == ("failed", "q~2: no")


def test_a_fallback_without_a_model_has_its_agents_own() -> None:
    spec = task(
        "q", fallback=(FallbackSpec(agent="b"),), parameters={"model": "first"}, retry=NO_RETRY
    )
    bench = begun(flow(spec))
    bench.answer("q~1", fault=FINAL)
    assert bench.calls["r", "q~2"].call.parameters == {}


def test_what_is_too_dear_is_done_by_the_next() -> None:
    agents = [agent("a", max_cost=100), agent("b", max_cost=10)]
    bench = begun(flow(others("b"), agents=agents, budget=BudgetSpec(limit=50)))
    assert bench.open_calls() == ["r/q~2"]
    bench.answer("q~2", "cheap")
    assert bench.status() == "completed"


def test_a_run_that_stops_asks_nobody_else() -> None:
    bench = begun(flow(others("b"), task("bad", retry=NO_RETRY)))
    bench.answer("bad", fault=FINAL)
    bench.answer("q~1", fault=FINAL)
    assert bench.states()["q"] == "failed"
    assert bench.status() == "failed"


# While a breaker is open.


def shaky(name: str = "a", **more: Any) -> AgentSpec:
    policy = BreakerPolicy(failure_threshold=1, recovery_timeout=60)
    return msgspec.structs.replace(agent(name), circuit_breaker=policy, **more)


def broken(*agents: AgentSpec, first: str = "a", then: tuple[str, ...] = ("b",)) -> Bench:
    """A task waits for its turn while a call at ``first`` opens the breaker there."""
    before = task("x", agent=first, retry=NO_RETRY, priority=9)
    way = FailureStrategy.CONTINUE
    bench = begun(flow(before, others(*then), agents=agents, max_parallel=1, failure_strategy=way))
    bench.answer("x", fault=FAULT)
    return bench


def test_nobody_waits_for_a_breaker_while_another_model_can_speak() -> None:
    bench = broken(shaky(), agent("b"))
    assert bench.open_calls() == ["r/q~2"]
    assert bench.calls["r", "q~2"].agent.name == "b"
    assert bench.states()["q~1"] == "failed"
    bench.answer("q~2", "there")
    assert bench.results()["q"] == "there"


def test_a_retry_neither() -> None:
    bench = begun(flow(others("b", retry=AT_ONCE), agents=[shaky(), agent("b")]))
    bench.answer("q~1", fault=FAULT)
    bench.wait(1)
    assert bench.open_calls() == ["r/q~2"]
    (fact,) = [one for one in bench.events() if isinstance(one, ev.TaskFaulted)]
    assert (fact.task, fact.fault.kind, fact.fault.retriable) == ("q~1", BREAKER_OPEN, False)
    assert fact.fault.message == "the circuit breaker of agent 'a' is open"


def test_who_has_nobody_else_waits() -> None:
    bench = begun(flow(others("b"), agents=[agent(), shaky("b")]))
    bench.answer("q~1", fault=FINAL)
    bench.answer("q~2", fault=FAULT)
    assert fault_of(bench).message == "q~2: gone"
    here = shaky("b", endpoint="custom://a")
    bench = broken(shaky(), here)
    assert bench.open_calls() == []
    bench.wait(60)
    assert bench.open_calls() == ["r/q~1"]


def test_it_goes_on_to_the_first_that_can_be_had() -> None:
    here = shaky("b", endpoint="custom://a")
    bench = broken(shaky(), here, agent("c"), then=("b", "c"))
    assert bench.calls["r", "q~3"].agent.name == "c"
    assert bench.open_calls() == ["r/q~3"]


def test_a_breaker_that_was_open_before_the_restart() -> None:
    bench = broken(shaky(), agent("b"))
    bench.answer("q~2", "there")
    bench.run(flow(others("b"), agents=[shaky(), agent("b")]), "s")
    assert bench.open_calls() == ["s/q~2"]
    bench.crash(after=SECOND)
    bench.run(flow(others("b"), agents=[shaky(), agent("b")]), "t")
    assert "t/q~2" in bench.open_calls()
    bench.wait(60)
    bench.run(flow(others("b"), agents=[shaky(), agent("b")]), "u")
    assert "u/q~1" in bench.open_calls(), "the probe"
