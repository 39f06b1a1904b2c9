"""`simulate()`: a workflow is played and judged; a broken core is found, with its seed."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agenthive.core.engine import actions as act
from agenthive.core.engine import active_run as live
from agenthive.core.engine.driver import Driver
from agenthive.core.engine.engine_state import EngineState
from agenthive.core.model.workflow import (
    AgentSpec,
    CompensationSpec,
    Effect,
    FailureStrategy,
    InputSpec,
    TaskSpec,
    WorkflowSpec,
)
from agenthive.core.policies.retry import RetryPolicy
from agenthive.errors import ConfigurationError, InternalError, StoreCorrupt
from agenthive.simulation.faults import FaultPlan
from agenthive.simulation.options import build_options
from agenthive.simulation.runner import SimulatedRun
from agenthive.testing import SimulationReport, simulate

ROOT = Path(__file__).resolve().parents[2]
AGENTS = (
    AgentSpec(name="shop", type="custom", endpoint="custom://shop", max_concurrency=2),
    AgentSpec(
        name="bank",
        type="http_api",
        endpoint="http://127.0.0.1:1",
        retry=RetryPolicy(max_attempts=5),
    ),
)


def task(name: str, *after: str, agent: str = "shop", **more: Any) -> TaskSpec:
    return TaskSpec(name=name, agent=agent, action=name, depends_on=after, **more)


def flow(*tasks: TaskSpec, **more: Any) -> WorkflowSpec:
    return WorkflowSpec(name="orders", agents=AGENTS, tasks=tasks, max_parallel=3, **more)


ORDERS = flow(
    task("order", effect=Effect.NONE, priority=9),
    task(
        "reserve",
        "order",
        effect=Effect.KEYED,
        compensate=CompensationSpec(agent="shop", action="release"),
    ),
    task("quote", "order", agent="bank"),
    task("charge", "reserve", "quote", agent="bank", effect=Effect.ONCE),
    task("mail", "charge"),
    task("log", "order", continue_on_failure=True),
)


@pytest.mark.slow
def test_every_promise_is_kept() -> None:
    found = simulate(ORDERS, seeds=300, faults="hostile")
    found.check()
    assert found.broken == found.violations == []
    assert found.seeds == list(range(300))
    assert sum(found.statuses.values()) == len(found.durations) == len(found.costs) == 300
    assert {"completed", "compensated", "waiting (outcome)"} <= set(found.statuses)
    for status, seed in found.examples.items():
        assert SimulatedRun(found.options, seed).build_outcome().status == status
    assert found.tasks["order"].acted_twice == 0
    assert found.tasks["mail"].acted_twice > 0
    assert found.tasks["charge"].most == 1 or found.tasks["charge"].repeated > 0
    assert found.tasks["reserve#undo"].calls > 0
    assert found.tasks["quote"].most > 3
    assert all(figures.failed <= 300 for figures in found.tasks.values())
    assert "orders: 300 seeds" in repr(found)


def test_nothing_goes_wrong_if_nothing_may() -> None:
    found = simulate(ORDERS, seeds=100, faults="none")
    assert found.statuses == {"completed": 100}
    assert not found.failures
    for name in ("order", "reserve", "quote", "charge", "mail", "log"):
        figures = found.tasks[name]
        assert (figures.calls, figures.most, figures.repeated, figures.failed) == (100, 1, 0, 0)
    assert found.tasks["reserve#undo"].calls == 0
    assert found.tasks["order"].critical == found.tasks["mail"].critical == 100
    assert found.tasks["log"].critical == 0
    assert found.tasks["reserve"].critical + found.tasks["quote"].critical == 100


def test_the_same_seed_is_the_same_story() -> None:
    plan = build_options(ORDERS, faults="hostile")
    first = [SimulatedRun(plan, seed).build_outcome() for seed in range(30)]
    assert first == [
        SimulatedRun(build_options(ORDERS, faults="hostile"), s).build_outcome() for s in range(30)
    ]
    assert len({outcome.trace for outcome in first}) == 30
    found = simulate(ORDERS, seeds=[17, 4], faults="hostile")
    assert found.seeds == [17, 4]
    assert list(found.durations) == [first[17].duration, first[4].duration]
    assert found.story(17) == found.story(17)


@pytest.mark.parametrize("hash_seed", ["1", "4242"])
def test_in_another_process_too(hash_seed: str) -> None:
    text = (
        "from agenthive.simulation.options import build_options, read_workflow\n"
        "from agenthive.simulation.runner import SimulatedRun\n"
        "plan = build_options(read_workflow('examples/release_notes.yaml'), faults='hostile')\n"
        "print(*(SimulatedRun(plan, seed).build_outcome().trace for seed in range(10)))\n"
    )
    env = dict(os.environ, PYTHONHASHSEED=hash_seed)
    told = subprocess.run(
        [sys.executable, "-c", text], env=env, cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = simulate(ROOT / "examples" / "release_notes.yaml", seeds=10, faults="hostile")
    again = [SimulatedRun(found.options, seed).build_outcome().trace for seed in range(10)]
    assert told.stdout.split() == again


# Where times, results and costs are from.


def test_times_that_were_given_declared_or_guessed() -> None:
    spec = flow(
        task("a", timeout=1000.0),
        task("b", "a", estimated_duration=40.0, timeout=1000.0),
        task("c", "b", agent="bank"),
        timeout=None,
    )
    found = simulate(spec, seeds=300, faults="none", answers={"a": {"duration": 100}})
    sources = [found.tasks[name].source for name in "abc"]
    assert sources == ["given", "declared", "a guess for http_api"]
    assert 110 < found.duration(0.5) < 180
    assert found.duration(0.05) < found.duration(0.5) < found.duration(0.95) < found.duration(1)
    assert found.notes == [
        "no duration is declared (estimated_duration) for c: guessed by kind of agent"
    ]


def test_costs_and_failures_that_were_given() -> None:
    spec = flow(task("a", retry=RetryPolicy(max_attempts=1)))
    found = simulate(spec, seeds=200, faults="none", answers={"a": {"cost": 0.25, "fail": 0.5}})
    assert 60 < found.statuses["completed"] < 140
    assert found.cost(1) == 0.25
    assert sum(cost > 0 for cost in found.costs) == found.statuses["completed"]
    assert sum(found.failures.values()) == found.statuses["failed"] == found.tasks["a"].failed


def test_a_home_to_learn_from(tmp_path: Path) -> None:
    from agenthive import AgentRegistry, Hive

    async def shop(action: str) -> dict[str, list[int]]:
        await asyncio.sleep(0.05)
        return {"items": [4, 5]}

    spec = flow(
        task("a", retry=RetryPolicy(max_attempts=1)),
        task("b", "a", parameters={"x": "{{ tasks.a.result.items[1] }}"}),
    )

    async def work() -> None:
        directory = AgentRegistry()
        directory.register("shop", shop)
        async with Hive.open(tmp_path / "home", agents=directory) as hive:
            for _ in range(3):
                assert (await hive.run(spec)).status == "completed"

    asyncio.run(work())
    before = {file.name for file in (tmp_path / "home").iterdir()}
    blind = simulate(spec, seeds=20, faults="none")
    assert "give an example result of a: the parameters of b read it" in blind.notes[-1]
    found = simulate(spec, seeds=200, faults="none", fit=tmp_path / "home")
    assert found.notes == []
    assert [found.tasks[name].source for name in "ab"] == ["fitted, 3 calls"] * 2
    assert 0.05 < found.duration(0.5) < 0.6
    assert found.statuses == {"completed": 200}
    assert {file.name for file in (tmp_path / "home").iterdir()} == before
    longer = flow(*spec.tasks, task("c", "b"), task("d", "c", agent="bank"))
    found = simulate(longer, seeds=1, faults="none", fit=str(tmp_path / "home"))
    assert found.tasks["c"].source == "this agent's other actions, 6 calls"
    assert found.notes == ["no duration is in the journal for d: guessed by kind of agent"]
    with pytest.raises(ConfigurationError, match="there is no journal in"):
        simulate(spec, fit=tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_journal_that_cannot_be_read(tmp_path: Path) -> None:
    from agenthive import Hive

    async def work() -> None:
        async with Hive.open(tmp_path / "home") as hive:
            await hive.run(WorkflowSpec(name="empty"))

    asyncio.run(work())
    with closing(sqlite3.connect(tmp_path / "home" / "journal.db")) as journal, journal:
        journal.execute("""UPDATE records SET payload = '[{"type": "new"}]'""")
    with pytest.raises(StoreCorrupt, match="the chain breaks at record 1"):
        simulate(flow(), fit=tmp_path / "home")


# Placeholders are told of; they fail nothing.

READS = flow(
    task("list"),
    task(
        "page",
        "list",
        parameters={"first": "{{ tasks.list.result.items[0] }}"},
        compensate=CompensationSpec(
            agent="shop", action="undo", parameters={"x": "{{ tasks.page.result.id.x }}"}
        ),
    ),
    task("all", "list", parameters={"everything": "{{ tasks.list.result }}"}),
)


def test_a_missing_example_is_asked_for() -> None:
    found = simulate(READS, seeds=50, faults="none")
    assert found.statuses == {"completed": 50}
    assert found.notes[-2:] == [
        "give an example result of list: the parameters of page read it and are omitted",
        "give an example result of page: the parameters of page#undo read it and are omitted",
    ]
    answers = {"list": {"result": {"items": [1]}}, "page": {"result": {"id": {"x": 2}}}}
    found = simulate(READS, seeds=50, faults="none", answers=answers)
    assert found.statuses == {"completed": 50}
    assert not any("example" in note for note in found.notes)


def test_an_example_that_does_not_fit_is_a_failure_of_the_workflow() -> None:
    found = simulate(READS, seeds=20, faults="none", answers={"list": {"result": {"items": []}}})
    assert found.statuses == {"failed": 20}
    ((name, fault), count) = found.failures.most_common()[0]
    assert (name, count) == ("page", 20)
    assert fault.startswith("expression: ")
    assert found.tasks["page"].failed == 20
    found.check()


def test_inputs_are_checked_and_secrets_never_looked_for() -> None:
    spec = flow(
        task("a", parameters={"to": "{{ inputs.to }}", "token": "${env:NOT_SET_ANYWHERE}"}),
        inputs={"to": InputSpec(type="string", required=True), "key": InputSpec(type="secret")},
    )
    with pytest.raises(ConfigurationError, match="'to' is required"):
        simulate(spec)
    found = simulate(spec, seeds=20, faults="none", inputs={"to": "x", "key": "hunter2"})
    assert found.statuses == {"completed": 20}
    assert "hunter2" not in str(found.options)


# What takes long, or never ends.


def test_a_call_without_a_time_out_that_hangs_answers_after_an_hour() -> None:
    agents = (AgentSpec(name="shop", type="custom", endpoint="custom://shop", timeout=None),)
    spec = WorkflowSpec(name="w", agents=agents, tasks=(task("a"),), timeout=None)
    found = simulate(spec, seeds=30, faults="hang=0.5,lose=0.5")
    found.check()
    assert found.duration(1) == pytest.approx(3600, rel=0.01)
    bounded = WorkflowSpec(name="w", agents=agents, tasks=(task("a"),), timeout=60.0)
    found = simulate(bounded, seeds=30, faults="hang=1")
    found.check()
    assert found.statuses == {"failed": 30}
    assert found.failures["the run", "timed out"] == 30
    assert found.duration(1) == pytest.approx(60, rel=0.01)


def test_who_is_not_accepted_comes_again() -> None:
    found = simulate(flow(task("a")), seeds=50, faults="refuse=0.8")
    assert found.statuses == {"completed": 50}


def test_a_journal_that_takes_nothing_at_all() -> None:
    found = simulate(flow(task("a")), seeds=1, faults=FaultPlan(refuse=1.0))
    assert found.statuses == {"never accepted": 1}
    assert found.story(0)[0].text == "the journal refused a write"


def test_an_agent_that_nobody_has_is_awaited() -> None:
    spec = flow(task("a"), task("b", "a"), failure_strategy=FailureStrategy.CONTINUE)
    found = simulate(spec, seeds=50, faults=FaultPlan(crash=0.1, absent=1.0))
    found.check()
    assert found.statuses["waiting (agent)"] > 0


# A broken core is found.


class ActsFirst(Driver):
    """Makes every call before its intent is on disk."""

    def take_eager_calls(self) -> list[act.PerformCall]:
        waiting = self._outbox._committing_actions
        calls = [one for one in waiting if isinstance(one, act.PerformCall)]
        self._outbox._committing_actions = [
            one for one in waiting if not isinstance(one, act.PerformCall)
        ]
        return super().take_eager_calls() + calls


def test_a_driver_that_acts_before_its_intent_is_found() -> None:
    found = simulate(ORDERS, seeds=20, faults="none", make_driver=ActsFirst)
    assert found.broken == list(range(20))
    assert {violation.invariant for violation in found.violations} == {"intent_before_call"}
    with pytest.raises(AssertionError) as failed:
        found.check()
    assert "an invariant broke at 20 of 20 seeds (0, 1, 2," in str(failed.value)
    assert "seed 0: intent_before_call: run-0/" in str(failed.value)
    assert simulate(ORDERS, seeds=[19], faults="none", make_driver=ActsFirst).broken == [19]


def test_a_planted_bug_is_found_at_some_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = iter(range(1 << 30))
    monkeypatch.setattr(live, "IdempotencyKeys", lambda run: lambda task: f"key {next(keys)}")
    found = simulate(ORDERS, seeds=60)
    assert 0 < len(found.broken) < 60
    assert {violation.invariant for violation in found.violations} >= {"stable_keys"}
    assert {violation.seed for violation in found.violations} == set(found.broken)
    monkeypatch.undo()
    simulate(ORDERS, seeds=found.broken).check()


def test_a_fault_inside_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EngineState, "find_current_task", lambda self, live, task, attempt: 0)
    found = simulate(ORDERS, seeds=20)
    assert found.broken
    assert any("InvalidTransition" in violation.detail for violation in found.violations)


def test_a_journal_that_cannot_be_replayed_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise InternalError("no such move")

    monkeypatch.setattr("agenthive.simulation.runner.replay", broken)
    monkeypatch.setattr("agenthive.simulation.recording.replay", broken)
    found = simulate(ORDERS, seeds=2, faults="none")
    assert {(v.invariant, v.detail) for v in found.violations} == {
        ("state", "run-0: no such move"),
        ("state", "run-1: no such move"),
    }
    assert found.tasks["order"].calls == 2
    assert found.tasks["order"].critical == 0


def test_violations_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agenthive.simulation.simulate.MAX_VIOLATIONS", 7)
    monkeypatch.setattr("agenthive.simulation.simulate.MAX_SAMPLES", 5)
    found = simulate(ORDERS, seeds=20, faults="none", make_driver=ActsFirst)
    assert (len(found.violations), len(found.broken)) == (7, 20)
    assert len(found.tasks["order"].times) == 5


# The story.


def told(found: SimulationReport, seed: int) -> str:
    return "\n".join(f"{one.type}: {one.text}" for one in found.story(seed))


def test_the_story_of_a_run() -> None:
    found = simulate(flow(task("a"), task("b", "a")), seeds=1, faults="none")
    moments = found.story(0)
    assert [one.type for one in moments] == [
        "run.submitted",
        "run.started",
        "task.started",
        "acted",
        "task.succeeded",
        "task.started",
        "acted",
        "task.succeeded",
        "ended",
    ]
    assert moments[0].seconds == 0
    assert [one.seconds for one in moments] == sorted(one.seconds for one in moments)
    assert [one.seq for one in moments if one.seq] == [1, 2, 3, 4, 5, 6]
    assert moments[-2].seconds == pytest.approx(found.durations[0])
    assert moments[-1].text == "the run is completed"


def test_story_shows_events_outside_the_journal() -> None:
    found = simulate(ORDERS, seeds=80, faults="hostile,jump=0.3")
    every = "\n".join(told(found, seed) for seed in range(80))
    for text in (
        "crashed: the process died; another takes over",
        "refused: the journal refused a write",
        "jumped: the clock was set forward",
        "jumped: the clock was set back",
        "replied: order: the response of attempt 1 arrived again",
        "acted: mail: had its effect, time 2",
        "acted: reserve: called again with the same idempotency key",
        "parked: the run waits for an external decision",
        "ended: the run is compensated",
        "task.started: order: attempt 1 started on agent shop",
    ):
        assert text in every, text
    assert "acted: order" not in every
