"""Simulated hives: the same seed is the same story, nothing is promised and broken, and the seeds
come everywhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from random import Random
from typing import Any, get_args

import pytest

from agenthive.core.engine import active_run as live
from agenthive.core.engine.engine_state import EngineState
from agenthive.core.graph.graph import Graph
from agenthive.core.journal import run_events as ev
from agenthive.core.model.calls import Call, Fault, Reply, Usage
from agenthive.core.model.states import RunStatus
from agenthive.core.model.workflow import AgentSpec, TaskSpec, WorkflowSpec
from agenthive.core.values import SECOND, Micros
from agenthive.simulation import runtime as simulated
from agenthive.simulation.case import SimulationCase
from agenthive.simulation.ports import Faults, SimulatedReply
from agenthive.simulation.runtime import SimulatedRuntime
from agenthive.stores.memory import MemoryStore
from tests.fuzz import campaign
from tests.fuzz.campaign import main, run_campaign, simulate_seed
from tests.fuzz.random_workflows import random_workflow

TRACES = "from tests.fuzz.campaign import run_campaign; import sys; " + (
    "sys.stdout.write(' '.join(o.trace for o in run_campaign(range(40))))"
)


@pytest.mark.slow
def test_the_same_seed_is_the_same_story() -> None:
    first, second = run_campaign(range(40)), run_campaign(range(40))
    assert first == second
    assert len({outcome.trace for outcome in first}) == 40


@pytest.mark.slow
@pytest.mark.parametrize("hash_seed", ["1", "4242"])
def test_in_another_process_too(hash_seed: str) -> None:
    env = dict(os.environ, PYTHONHASHSEED=hash_seed)
    printed = subprocess.run(
        [sys.executable, "-c", TRACES], env=env, capture_output=True, text=True, check=True
    )
    assert printed.stdout.split() == [outcome.trace for outcome in run_campaign(range(40))]


@pytest.mark.slow
@pytest.mark.parametrize("block", range(4))
def test_every_promise_is_kept(block: int) -> None:
    """In processes of their own, where no coverage is measured: that triples the time."""
    seeds = f"{block * 500}:{block * 500 + 500}"
    command = [sys.executable, "-m", "tests.fuzz.campaign", "--seeds", seeds]
    process = subprocess.run(command, capture_output=True, text=True)
    summary, *violations = process.stdout.splitlines() or [process.stderr]
    assert violations == []
    told = json.loads(summary)
    assert told["seeds"] == 500
    assert told["crashes"] > 500


RARE = (424, 630, 920, 1041, 1265)
"""Seeds that come to code which nothing else reaches where coverage is measured."""


def test_seeds_that_come_to_rare_code() -> None:
    assert [f"{o.seed}: {o.violations}" for o in run_campaign(RARE) if o.violations] == []


def _tag(kind: type[ev.RunEvent]) -> str:
    return str(kind.__struct_config__.tag)


@pytest.mark.slow
def test_the_seeds_come_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    cases: list[SimulationCase] = []
    monkeypatch.setattr(campaign, "judge", lambda case: cases.append(case) or [])
    run_campaign(range(300))
    facts = {e["type"] for case in cases for events in case.journal.values() for e in events}
    # Nobody here says how far a call is, or changes a workflow.
    never = {"task.progressed", "run.migrated"}
    assert facts == {_tag(kind) for kind in get_args(ev.RunEvent)} - never
    hive = {event["type"] for case in cases for event in case.hive}
    assert hive == {
        f"hive.{name}"
        for name in (
            "run_opened",
            "run_closed",
            "breaker_opened",
            "breaker_closed",
            "clock_stepped_back",
            "clock_stepped_forward",
            "usage_after_end",
            "answer_after_end",
            "schedule_set",
            "schedule_paused",
            "schedule_resumed",
            "schedule_removed",
            "schedule_triggered",
            "schedule_fired",
            "schedule_queued",
            "schedule_skipped",
            "budget_set",
            "budget_alerted",
            "budget_breached",
        )
    }
    ended = {e["status"] for case in cases for e in case.hive if e["type"] == "hive.run_closed"}
    assert ended == {str(s) for s in RunStatus if s not in ("queued", "running", "waiting")} - {
        "compensating"
    }
    asks = [e for case in cases for es in case.journal.values() for e in es if e.get("asks")]
    assert len(asks) > 60
    assert any(one["problem"] for e in asks for one in e["asks"] if "problem" in one)
    keys = {e.get("task", "") for case in cases for es in case.journal.values() for e in es}
    for pattern in (r"t\d+~3", r"t\d+~1\[1\]", r"t\d+\[\d\]~2", r"t\d+~1\[0\]#reconcile"):
        assert any(re.fullmatch(pattern, key) for key in keys), pattern
    seen = {what for case in cases for _, what, _ in case.observations}
    assert seen == {
        "acknowledged",
        "refused",
        "called",
        "acted",
        "replied",
        "stopped",
        "ended",
        "parked",
        "cancel",
        "crashed",
        "jumped",
        "said",
        "turned_away",
        "refused_answer",
    }


def test_random_workflows_can_be_run() -> None:
    for seed in range(200):
        spec = random_workflow(Random(seed))
        assert len(Graph(spec).nodes) >= len(spec.tasks)


# The command.


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "3:9"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["seeds"], told["violations"], told["first_bad_seed"]) == (6, 0, None)
    assert told["tasks"] > 0
    assert told["seeds_per_second"] > 0


def test_the_command_tells_what_is_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = iter(range(1 << 30))
    monkeypatch.setattr(live, "IdempotencyKeys", lambda run: lambda task: f"key {next(keys)}")
    assert main(["--seeds", "0:500", "--stop-after", "2"]) == 1
    first, *lines = capsys.readouterr().out.splitlines()
    told = json.loads(first)
    assert told["violations"] == len(lines) == 2
    assert told["seeds"] < 500
    assert lines[0].startswith(f"seed {told['first_bad_seed']}: ")
    assert "the idempotency key changed" in lines[0]


def test_a_fault_inside_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EngineState, "find_current_task", lambda self, live, task, attempt: 0)
    found = [outcome for outcome in run_campaign(range(50)) if outcome.violations]
    assert any("InvalidTransition" in line for outcome in found for line in outcome.violations)


# The runtime itself, with a world that does what it is told.


class Script:
    """Answers from a list, the last one again and again; notes what was asked when."""

    def __init__(self, *answers: SimulatedReply) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[Micros, Call]] = []

    def answer(self, call: Call, agent: AgentSpec, now: Micros) -> SimulatedReply:
        self.asked.append((now, call))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Eyes:
    def __init__(self) -> None:
        self.seen: list[tuple[Micros, str, dict[str, Any]]] = []

    def observe(self, now: Micros, kind: str, data: dict[str, Any]) -> None:
        self.seen.append((now, kind, data))

    def of(self, what: str) -> list[dict[str, Any]]:
        return [data for _, kind, data in self.seen if kind == what]


USED = Usage(model="m", input_tokens=1)
FINE = SimulatedReply(reply=Reply(result=1, usage=USED), acts_after=1, replies_after=(SECOND,))
HANGS = SimulatedReply(reply=Reply(result=1, usage=USED), acts_after=1, replies_after=())


def play(
    script: Script, faults: Faults | None = None, seed: int = 1, *names: str
) -> tuple[SimulatedRuntime, Eyes]:
    eyes = Eyes()
    runtime = SimulatedRuntime(seed, MemoryStore(), script, eyes, faults or Faults())
    spec = WorkflowSpec(
        name="w",
        agents=(AgentSpec(name="a", type="custom", endpoint="custom://a", timeout=30.0),),
        tasks=tuple(TaskSpec(name=name, agent="a", action="do") for name in names or ("t",)),
    )
    runtime.submit(0, "r", spec, {})
    return runtime, eyes


def test_time_passes_only_as_it_is_told() -> None:
    runtime, eyes = play(Script(FINE))
    began = runtime.now
    assert runtime.run()
    assert SECOND <= eyes.seen[-1][0] - began < 2 * SECOND
    assert [what for _, what, _ in eyes.seen] == [
        "acknowledged",
        "called",
        "acted",
        "replied",
        "ended",
    ]
    assert eyes.of("ended") == [{"run": "r", "status": "completed"}]
    assert runtime.crashes == 0


def test_what_hangs_times_out_and_is_tried_again() -> None:
    script = Script(HANGS, FINE)
    runtime, eyes = play(script)
    assert runtime.run()
    (first, one), (second, two) = script.asked
    assert second - first >= 30 * SECOND
    assert (one.key, one.attempt + 1) == (two.key, two.attempt)
    assert [data["reply"]["fault"] is None for data in eyes.of("replied")] == [False, True]


def test_a_late_and_a_double_answer_are_given_and_do_not_count() -> None:
    late = SimulatedReply(
        reply=Reply(result="late", usage=USED), acts_after=None, replies_after=(40 * SECOND,)
    )
    twice = SimulatedReply(
        reply=Reply(result="twice", usage=USED), acts_after=1, replies_after=(SECOND, SECOND)
    )
    runtime, eyes = play(Script(late, twice))
    assert runtime.run()
    assert len(eyes.of("replied")) == 4
    facts = [e for r in runtime.disk.records("r") for e in ev.decode_run_events(r.payload)]
    assert [e.result for e in facts if isinstance(e, ev.TaskSucceeded)] == ["twice"]


def test_cancelled() -> None:
    runtime, eyes = play(Script(HANGS))
    runtime.cancel(5 * SECOND, "r")
    runtime.cancel(50 * SECOND, "r")
    runtime.cancel(5 * SECOND, "nobody")
    assert runtime.run()
    assert eyes.of("cancel") == [{"run": "r"}]
    assert eyes.of("stopped") == [{"run": "r", "task": "t", "attempt": 1}]
    assert eyes.of("ended") == [{"run": "r", "status": "cancelled"}]


@pytest.mark.parametrize("seed", range(30))
def test_crashes_lose_nothing_that_was_promised(seed: int) -> None:
    runtime, eyes = play(Script(FINE), Faults(crash=0.3), seed, "t", "u", "v")
    assert runtime.run()
    assert len(eyes.of("crashed")) == runtime.crashes
    for told in eyes.of("acknowledged"):
        assert runtime.disk.records(told["run"])


def test_a_world_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated, "MAX_STEPS", 5)
    runtime, _ = play(Script(FINE))
    assert not runtime.run()
    outcome = simulate_seed(7)
    assert "the simulation does not come to an end" in outcome.violations


def test_the_disk_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated, "MAX_STEPS", 500)
    runtime, eyes = play(Script(FINE), Faults(refuse=1.0))
    assert not runtime.run()
    assert eyes.of("refused") == [{}]
    assert runtime.disk.records("r") == []


def test_a_fault_of_the_world_is_passed_on() -> None:
    no = SimulatedReply(
        reply=Reply(fault=Fault(kind="refused", message="no", retriable=False)),
        acts_after=None,
        replies_after=(1,),
    )
    runtime, eyes = play(Script(no))
    assert runtime.run()
    assert eyes.of("ended") == [{"run": "r", "status": "failed"}]
    assert eyes.of("acted") == []
