"""One seed of a rehearsal: plays it on virtual time, judges it, and says what it came to.

Times are virtual and true: those of the world, not of a process whose clock may be wrong. Draws
nothing but from the seed, so that a seed is always the same run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

import msgspec

from agenthive.core.ports import Batch
from agenthive.core.replay import replay
from agenthive.core.states import CLOSED, TaskState
from agenthive.core.values import SECOND, Micros
from agenthive.core.why import why
from agenthive.errors import AgentHiveError
from agenthive.insights.critical import critical_path
from agenthive.runtimes.simulated import SimulatedRuntime
from agenthive.testing.evidence import Recorder, WatchedDisk, case_of, machine_faults
from agenthive.testing.oracle import CHECKS, Case
from agenthive.testing.plan import Plan
from agenthive.testing.world import RehearsedWorld

SUBMISSIONS: Final = 100
"""How often somebody whose run was not accepted submits it again."""
STEPS_A_TASK: Final = 1000
"""A simulation that takes more steps than this, and than any may, does not end."""


THE_RUN: Final = "the run"
UNKNOWN: Final = "outcome unknown: "
"""What a failure begins with that may be none."""


class Violation(msgspec.Struct, frozen=True):
    """A promise that was broken at a seed."""

    seed: int
    invariant: str
    detail: str


class Outcome(msgspec.Struct, kw_only=True):
    """What one seed came to. Times are seconds, ``cost`` is nano-dollars.

    ``calls`` counts by task, ``repeated`` those under a key that was called before; ``acted`` is
    how often a task acted outside under one key, at most. ``path`` is the critical one;
    ``failures`` say which task failed for good, and of what.
    """

    seed: int
    status: str
    duration: float
    cost: int
    tokens: int
    trace: str
    calls: dict[str, int]
    repeated: dict[str, int]
    acted: dict[str, int]
    times: dict[str, float]
    path: list[str]
    failures: list[tuple[str, str]]
    violations: list[Violation]


class TimedDisk(WatchedDisk):
    """Notes when each fact came to be on disk, too."""

    clock: Callable[[], Micros]

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder)
        self.times: dict[str, list[Micros]] = {}

    def write(self, batch: Batch) -> None:
        """Write, and note."""
        super().write(batch)
        for record in batch.records:
            times = self.times.setdefault(record.stream, [])
            times.extend([self.clock()] * record.count)


class Played:
    """A seed that has been played: the run's id, the runtime, the disk, what was seen."""

    def __init__(self, plan: Plan, seed: int) -> None:
        rng = Random(seed)
        self.plan, self.seed = plan, seed
        self.run = f"run-{seed}"
        self.recorder = Recorder()
        self.disk = TimedDisk(self.recorder)
        world = RehearsedWorld(Random(rng.getrandbits(62)), plan.parts, plan.trouble)
        self.runtime = SimulatedRuntime(
            rng.getrandbits(62), self.disk, world, self.recorder, plan.trouble.faults,
            plan.make_driver, plan.graphs,
        )  # fmt: skip
        self.disk.clock = lambda: self.runtime.now
        self.broke = ""
        self.finished = self._play()
        self.case = self._case()
        self.events: list[dict[str, Any]] = self.case.journal.get(self.run, [])
        self.times = self.disk.times.get(self.run, [])

    def _play(self) -> bool:
        most = STEPS_A_TASK * len(self.plan.graph.nodes)
        ended = True
        try:
            for _ in range(SUBMISSIONS):
                self.runtime.submit(SECOND, self.run, self.plan.spec, self.plan.inputs)
                ended = self.runtime.run(most)
                if self.disk.records(self.run):
                    break
        except Exception as error:  # whatever it is, this seed has failed
            self.broke = f"{type(error).__name__}: {error}"
        return ended

    def _case(self) -> Case:
        case = case_of({self.run: self.plan.spec}, self.recorder, self.disk)
        case.finished, case.crashes = self.finished, self.runtime.crashes
        return case

    def outcome(self) -> Outcome:
        """What it came to."""
        calls = Counter(call["task"] for _, _, call in self.case.observations("called"))
        keys = {(call["task"], call["key"]) for _, _, call in self.case.observations("called")}
        logical = Counter(task for task, _ in keys)
        used = self._usage()
        return Outcome(
            seed=self.seed,
            status=self._status(),
            duration=(self.times[-1] - self.times[0]) / SECOND if self.times else 0.0,
            cost=sum(one.get("cost") or 0 for one in used),
            tokens=sum(one.get("input_tokens", 0) for one in used),
            trace=self.runtime.trace,
            calls=dict(calls),
            repeated={task: count - logical[task] for task, count in calls.items()},
            acted=self._acted(),
            times=self._task_times(),
            path=self._path(),
            failures=self._failures(),
            violations=self._violations(),
        )

    def _usage(self) -> list[dict[str, Any]]:
        return [e["usage"] for e in (*self.events, *self.case.hive) if e.get("usage")]

    def _status(self) -> str:
        closed = [e["status"] for e in self.case.hive if e["type"] == "hive.run_closed"]
        if closed:
            return str(closed[-1])
        live = self.runtime.driver.runs.get(self.run)
        if live is None or live.state.status in CLOSED:
            return "never accepted"
        kinds = {str(reason.kind) for reason in why(live.state)} - {"dependency"}
        return f"{live.state.status} ({', '.join(sorted(kinds))})"

    def _acted(self) -> dict[str, int]:
        keys = Counter(
            (data["task"], data["key"]) for _, _, data in self.case.observations("acted")
        )
        found: dict[str, int] = {}
        for (task, _), count in keys.items():
            found[task] = max(count, found.get(task, 0))
        return found

    def _spans(self) -> dict[str, tuple[Micros, Micros]]:
        """Task -> when its first attempt began and when its last one ended."""
        found: dict[str, tuple[Micros, Micros]] = {}
        for event, at in zip(self.events, self.times, strict=True):
            if event["type"] in ("task.started", "task.succeeded", "task.failed"):
                found[event["task"]] = (found.get(event["task"], (at, at))[0], at)
        return found

    def _task_times(self) -> dict[str, float]:
        return {task: (end - began) / SECOND for task, (began, end) in self._spans().items()}

    def _path(self) -> list[str]:
        graph = self.plan.graph
        ended = {
            graph.index[task]: end
            for task, (_, end) in self._spans().items()
            if graph.index.get(task, graph.tasks) < graph.tasks
        }
        return [graph.keys[task] for task in critical_path(graph.deps, ended)]

    def _failures(self) -> list[tuple[str, str]]:
        faults: dict[str, str] = {}
        for event in self.events:
            if event["type"] == "run.timed_out":
                faults[THE_RUN] = "timed out"
            elif event["type"] == "task.failed":
                faults[event["task"]] = _kind(event["fault"])
            elif event["type"] == "task.lost":
                faults[event["task"]] = "the process died"
            elif event["type"] == "task.succeeded":
                faults.pop(event["task"], None)
        return sorted(self._final(faults)) if faults else []

    def _final(self, faults: dict[str, str]) -> Iterator[tuple[str, str]]:
        """Those that were the end of their tasks."""
        if THE_RUN in faults:
            yield THE_RUN, faults[THE_RUN]
        try:
            state = replay(self.plan.graph, self.disk.records(self.run))
        except AgentHiveError:  # told as a violation
            return
        for key, kind in zip(self.plan.graph.keys, state.state, strict=True):
            if kind is TaskState.FAILED and key in faults:
                yield key, faults[key]
            elif kind is TaskState.UNKNOWN_OUTCOME:
                yield key, f"{UNKNOWN}{faults.get(key, '')}"

    def _violations(self) -> list[Violation]:
        found = [("broke", self.broke)] if self.broke else []
        found += [
            (check.__name__.strip("_"), line) for check in CHECKS for line in check(self.case)
        ]
        specs = {self.run: self.plan.spec}
        found += [("state", line) for line in machine_faults(specs, self.disk, self.runtime)]
        return [Violation(self.seed, name, detail) for name, detail in found]


def _kind(fault: dict[str, Any]) -> str:
    """What kind of fault it is; of an expression, what is wrong with it."""
    kind = str(fault["kind"])
    return f"{kind}: {fault['message']}" if kind == "expression" else kind
