"""`simulate(seeds)`: random workflows through the real core, with everything going wrong.

Each seed makes its own workflows, its own world and its own mix of faults (some kinds switched off,
so that rare combinations come up too), runs them on virtual time and lets the oracle judge. A seed
that fails can be run again and gives the same trace. ``python -m agenthive.testing.simulation`` is
the same for the command line. Never waits, never reads a clock but to print a rate.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from random import Random

import msgspec

from agenthive.core.policies.breaker import BreakerPolicy
from agenthive.core.policies.retry import RetryPolicy, RetryStrategy
from agenthive.core.ports import Call, Fault, Reply, Usage
from agenthive.core.spec import (
    AgentSpec,
    CompensationSpec,
    Effect,
    FailureStrategy,
    TaskSpec,
    WorkflowSpec,
)
from agenthive.core.values import SECOND, JSONObject, Micros
from agenthive.runtimes.simulated import SimulatedRuntime
from agenthive.runtimes.surroundings import Answer, Faults
from agenthive.testing.evidence import (
    CheckedDriver,
    Recorder,
    WatchedDisk,
    case_of,
    machine_faults,
)
from agenthive.testing.oracle import judge


class Outcome(msgspec.Struct, kw_only=True):
    """What one seed came to. ``violations`` is empty when every promise held."""

    seed: int
    violations: list[str]
    trace: str
    tasks: int
    crashes: int
    events: int


class Mood(msgspec.Struct, frozen=True, kw_only=True):
    """How the world behaves in one simulation: chances from 0 to 1."""

    fail: float
    hang: float
    lose: float
    repeat: float
    limit: float
    garble: float


class RandomWorld:
    """Answers calls as its mood says. Each reply is unique, so results can be traced."""

    def __init__(self, rng: Random, mood: Mood) -> None:
        self._rng = rng
        self._mood = mood
        self._number = 0

    def answer(self, call: Call, agent: AgentSpec, now: Micros) -> Answer:
        """Success, or one of the faults."""
        rng, mood = self._rng, self._mood
        self._number += 1
        took = rng.randrange(1000, 8 * SECOND)
        usage = Usage(model="m", input_tokens=self._number)
        if rng.random() < mood.limit:
            after = rng.choice((None, 0.5, 7.0))
            limited = Fault(
                kind="rate_limited", message="slow down", retry_after=after, counts=False
            )
            return Answer(reply=Reply(fault=limited), acts=None, replies=(took,))
        if rng.random() < mood.fail:
            return self._failure(took)
        if rng.random() < mood.garble:
            garbled = Reply(fault=Fault(kind="invalid_reply", message="not JSON"), usage=usage)
            return Answer(reply=garbled, acts=took // 2, replies=(took,))
        reply = Reply(result={"n": self._number}, usage=usage)
        return Answer(reply=reply, acts=took // 2, replies=self._replies(took))

    def _failure(self, took: Micros) -> Answer:
        kind = self._rng.choice(("connection", "refused", "agent_error", "agent_error"))
        fault = Fault(kind=kind, message="no", retriable=self._rng.random() < 0.7)
        acts = None if kind == "refused" else took // 2
        return Answer(reply=Reply(fault=fault), acts=acts, replies=(took,))

    def _replies(self, took: Micros) -> tuple[Micros, ...]:
        rng, mood = self._rng, self._mood
        if rng.random() < mood.hang:
            return ()
        if rng.random() < mood.lose:
            return (took + rng.randrange(5, 90) * SECOND,)
        if rng.random() < mood.repeat:
            return (took, took + rng.randrange(0, 20 * SECOND))
        return (took,)


def simulate_seed(seed: int) -> Outcome:
    """Run one seed and judge it."""
    rng = Random(seed)
    recorder = Recorder()
    disk = WatchedDisk(recorder)
    max_calls = rng.choice((1, 3, 8, 1000))
    max_runs = rng.choice((1, 2, 100))
    runtime = SimulatedRuntime(
        rng.randrange(1 << 62),
        disk,
        RandomWorld(Random(rng.randrange(1 << 62)), random_mood(rng)),
        recorder,
        random_faults(rng),
        lambda: CheckedDriver(max_runs=max_runs, max_calls=max_calls),
    )
    specs: dict[str, WorkflowSpec] = {}
    runs = rng.choice((1, 1, 2, 2, 3, 8))
    for number in range(runs):
        run = f"run-{seed}-{number}"
        specs[run] = random_workflow(rng, most=12 if runs < 8 else 4)
        runtime.submit(rng.randrange(0, rng.choice((2, 20, 90)) * SECOND), run, specs[run], {})
        if rng.random() < 0.15:
            runtime.cancel(rng.randrange(0, 60 * SECOND), run)
    found: list[str] = []
    finished = True
    try:
        finished = runtime.run()
    except Exception as error:  # whatever it is, this seed has failed
        found.append(f"{type(error).__name__}: {error}")
    case = case_of(specs, recorder, disk)
    case.finished, case.crashes, case.max_calls = finished, runtime.crashes, max_calls
    found += judge(case)
    found += machine_faults(specs, disk, runtime)
    return Outcome(
        seed=seed,
        violations=found,
        trace=runtime.trace,
        tasks=sum(len(spec.tasks) for spec in specs.values()),
        crashes=runtime.crashes,
        events=sum(len(events) for events in case.journal.values()),
    )


def random_faults(rng: Random) -> Faults:
    """A mix of faults; each kind is off in half of the simulations."""
    return Faults(
        crash=rng.choice((0.0, 0.0, 0.01, 0.05, 0.15)),
        refuse=rng.choice((0.0, 0.0, 0.0, 0.1, 0.4)),
        jump=rng.choice((0.0, 0.0, 0.05)),
        stale=rng.choice((0.0, 0.5)),
        absent=rng.choice((0.0, 0.0, 0.2)),
        slow=rng.choice((0.0, 0.0, 0.5)),
    )


def random_mood(rng: Random) -> Mood:
    """A world with its own habits; each kind of trouble is off in half of them."""

    def some(most: float) -> float:
        return rng.choice((0.0, rng.random() * most))

    return Mood(
        fail=some(0.4), hang=some(0.2), lose=some(0.2), repeat=some(0.4), limit=some(0.3),
        garble=some(0.2),
    )  # fmt: skip


def random_workflow(rng: Random, most: int = 12) -> WorkflowSpec:
    """A graph of up to ``most`` tasks with random edges, effects, retries and compensations."""
    agents = tuple(
        AgentSpec(
            name=f"agent{i}",
            type="custom",
            endpoint=f"custom://{rng.choice('ab')}",
            max_concurrency=rng.choice((None, 1, 2)),
            circuit_breaker=BreakerPolicy(failure_threshold=rng.choice((2, 5)), recovery_timeout=9),
        )
        for i in range(rng.randint(1, 3))
    )
    size = rng.randint(0, most)
    density = rng.choice((0.1, 0.3, 0.6))
    saga = rng.random() < 0.3
    tasks = tuple(_random_task(rng, i, agents, density, saga) for i in range(size))
    return WorkflowSpec(
        name="simulated",
        agents=agents,
        tasks=tasks,
        max_parallel=rng.choice((1, 2, 10)),
        failure_strategy=rng.choice(list(FailureStrategy)),
        timeout=rng.choice((None, None, 30.0, 600.0)),
    )


def _random_task(
    rng: Random, i: int, agents: tuple[AgentSpec, ...], density: float, saga: bool
) -> TaskSpec:
    undo = CompensationSpec(
        agent=rng.choice(agents).name,
        action="undo",
        retry=_random_retry(rng),
        timeout=20.0,
        effect=rng.choice(list(Effect)),
    )
    depends_on = tuple(f"t{j}" for j in range(i) if rng.random() < density)
    return TaskSpec(
        name=f"t{i}",
        agent=rng.choice(agents).name,
        action="do",
        parameters=_random_parameters(rng, depends_on),
        depends_on=depends_on,
        effect=rng.choice(list(Effect)),
        retry=_random_retry(rng),
        timeout=rng.choice((5.0, 20.0)),
        priority=rng.choice((5, 5, 1, 10)),
        continue_on_failure=rng.random() < 0.15,
        estimated_duration=rng.choice((None, None, 1.0, 8.0)),
        compensate=undo if saga and rng.random() < 0.6 else None,
    )


def _random_parameters(rng: Random, depends_on: tuple[str, ...]) -> JSONObject:
    """Sometimes a result of another task; now and then one that is not there."""
    if not depends_on or rng.random() < 0.6:
        return {}
    field = "n" if rng.random() < 0.9 else "missing"
    return {field: f"{{{{ tasks.{rng.choice(depends_on)}.result.{field} }}}}"}


def _random_retry(rng: Random) -> RetryPolicy:
    return RetryPolicy(
        max_attempts=rng.randint(1, 4),
        strategy=rng.choice(list(RetryStrategy)),
        initial_delay=0.5,
        max_delay=rng.choice((2.0, 30.0)),
        jitter=rng.random() < 0.5,
    )


def simulate(seeds: Iterable[int], *, stop_after: int = 10) -> list[Outcome]:
    """Run seeds in order; the outcomes, ending early after ``stop_after`` bad ones."""
    outcomes: list[Outcome] = []
    bad = 0
    for seed in seeds:
        outcome = simulate_seed(seed)
        outcomes.append(outcome)
        bad += bool(outcome.violations)
        if bad >= stop_after:
            break
    return outcomes


def main(arguments: list[str] | None = None) -> int:
    """Command line: prints a summary, and the violations of the first bad seeds."""
    parser = argparse.ArgumentParser(prog="simulation", description=main.__doc__)
    parser.add_argument("--seeds", default="0:1000", help="A:B, from A to before B")
    parser.add_argument("--stop-after", type=int, default=10, help="bad seeds to stop after")
    options = parser.parse_args(arguments)
    first, _, last = options.seeds.partition(":")
    began = time.perf_counter()
    outcomes = simulate(range(int(first), int(last)), stop_after=options.stop_after)
    seconds = time.perf_counter() - began
    bad = [outcome for outcome in outcomes if outcome.violations]
    summary = {
        "seeds": len(outcomes),
        "violations": len(bad),
        "first_bad_seed": bad[0].seed if bad else None,
        "tasks": sum(outcome.tasks for outcome in outcomes),
        "crashes": sum(outcome.crashes for outcome in outcomes),
        "events": sum(outcome.events for outcome in outcomes),
        "seeds_per_second": round(len(outcomes) / seconds, 1),
    }
    sys.stdout.write(msgspec.json.encode(summary).decode() + "\n")
    for outcome in bad:
        sys.stdout.write(f"seed {outcome.seed}: {'; '.join(outcome.violations[:3])}\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
