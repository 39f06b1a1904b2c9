"""One seed of a rehearsal: plays it on virtual time, judges it, and says what it came to.

Times are virtual and true: those of the world, not of a process whose clock may be wrong. Draws
nothing but from the seed, so that a seed is always the same run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any, Final

import msgspec

from agenthive.core.history.replay import replay
from agenthive.core.history.waiting_reasons import why
from agenthive.core.journal.records import Batch
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Fault
from agenthive.core.model.states import CLOSED, TaskState
from agenthive.core.values import SECOND, JSONValue, Micros
from agenthive.errors import AgentHiveError
from agenthive.insights.critical_path import critical_path
from agenthive.simulation.case import Case
from agenthive.simulation.options import Plan
from agenthive.simulation.oracles.judge import CHECKS
from agenthive.simulation.people import People
from agenthive.simulation.recording import Recorder, WatchedDisk, case_of, machine_faults
from agenthive.simulation.runtime import SimulatedRuntime
from agenthive.simulation.world import RehearsedWorld

SUBMISSIONS: Final = 100
"""How often somebody whose run was not accepted submits it again."""
STEPS_A_TASK: Final = 1000
"""A simulation that takes more steps than this, and than any may, does not end."""


THE_RUN: Final = "the run"
TIMED_OUT: Final = "timed out"
HELPLESS: Final = frozenset({"outcome", "agent"})
"""Reasons for waiting that nobody in a simulation takes away."""
FOR_OTHERS: Final = frozenset({"dependency", "parts", "child", "slot"})
"""Reasons for waiting behind which there is another one."""
TOLD: Final = frozenset({"expression", "not_a_list", "not_a_time", "too_many_items"})
"""Kinds of fault whose message says what is wrong with a workflow."""
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

    def __init__(self, recorder: Recorder, clock: Callable[[], Micros]) -> None:
        super().__init__(recorder)
        self._clock = clock
        self.times: dict[str, list[Micros]] = {}
        self.look: Callable[[], None] = lambda: None

    def write(self, batch: Batch) -> None:
        """Write, note, and let people look."""
        super().write(batch)
        self.look()
        for record in batch.records:
            times = self.times.setdefault(record.stream, [])
            times.extend([self._clock()] * record.count)


class Played:
    """A seed that has been played: the run's id, the runtime, the disk, what was seen.

    ``runs`` are the run and those that its tasks began; ``states`` what each of them came to.
    """

    def __init__(self, plan: Plan, seed: int) -> None:
        rng = Random(seed)
        self.plan, self.seed = plan, seed
        self.run = f"run-{seed}"
        self.recorder = Recorder()
        self.disk = TimedDisk(self.recorder, lambda: self.runtime.now)
        world = RehearsedWorld(
            Random(rng.getrandbits(62)), plan.parts, plan.trouble, self._key_at_work
        )
        self.runtime = SimulatedRuntime(
            rng.getrandbits(62), self.disk, world, self.recorder, plan.trouble.faults,
            plan.make_driver, plan.graphs,
        )  # fmt: skip
        people = People(Random(rng.getrandbits(62)), plan.people, self._data_at_work)
        self.disk.look = lambda: people.look(self.runtime)
        self.broke = ""
        self.finished = self._play()
        self.case = self._case()
        self.runs = list(self.case.journal)
        self.states = {run: state for run in self.runs if (state := self._state(run)) is not None}
        self.times = self.disk.times.get(self.run, [])
        self._keys: dict[tuple[str, str], str] = {}

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

    def _state(self, run: str) -> RunState | None:
        try:
            return replay(self.runtime.graph_of(run), self.disk.records(run))
        except AgentHiveError:  # told as a violation
            return None

    # What tasks are called over all runs: as their parts.

    def _key_at_work(self, run: str, task: str) -> str:
        lives = self.runtime.driver.runs
        return _part_key({name: live.state for name, live in lives.items()}, run, task)

    def _data_at_work(self, run: str, task: str) -> JSONValue:
        return self.plan.parts[self._key_at_work(run, task)].result

    def key(self, run: str, task: str) -> str:
        """The name of the part that a task of a run has played."""
        if (run, task) not in self._keys:
            known = run in self.states and task in self.states[run].graph.index
            self._keys[run, task] = _part_key(self.states, run, task) if known else task
        return self._keys[run, task]

    def events(self) -> Iterator[tuple[str, dict[str, Any], Micros]]:
        """(run, fact, true time) of all runs."""
        for run in self.runs:
            times = self.disk.times[run]
            for event, at in zip(self.case.journal[run], times, strict=True):
                yield run, event, at

    # What it came to.

    def outcome(self) -> Outcome:
        """What it came to."""
        keys: dict[str, set[str]] = {}
        calls: Counter[str] = Counter()
        for _, _, call in self.case.observations("called"):
            part = self.key(call["run"], call["task"])
            calls[part] += 1
            keys.setdefault(part, set()).add(call["key"])
        used = self._usage()
        spans = self._spans()
        return Outcome(
            seed=self.seed,
            status=self._status(),
            duration=(self.times[-1] - self.times[0]) / SECOND if self.times else 0.0,
            cost=sum(one.get("cost") or 0 for one in used),
            tokens=sum(one.get("input_tokens", 0) for one in used),
            trace=self.runtime.trace,
            calls=dict(calls),
            repeated={task: count - len(keys[task]) for task, count in calls.items()},
            acted=self._acted(),
            times={task: (end - began) / SECOND for task, (began, end) in spans.items()},
            path=self._path(spans),
            failures=sorted(set(self._failures())),
            violations=self._violations(),
        )

    def _usage(self) -> list[dict[str, Any]]:
        facts = [event for events in self.case.journal.values() for event in events]
        return [e["usage"] for e in (*facts, *self.case.hive) if e.get("usage")]

    def _status(self) -> str:
        for event in self.case.hive:
            if event["type"] == "hive.run_closed" and event["run"] == self.run:
                return str(event["status"])
        return self._waits() or "never accepted"

    def _waits(self) -> str:
        """What the run waits for; empty if it does not."""
        kinds = self._reasons()
        return f"waiting ({', '.join(sorted(kinds))})" if kinds else ""

    def _reasons(self) -> set[str]:
        """The kinds of reason why the run has not ended; empty if it has."""
        kinds: set[str] = set()
        lives = self.runtime.driver.runs
        for live in lives.values() if self.run in lives else ():
            if live.state.status not in CLOSED:
                kinds |= {str(reason.kind) for reason in why(live.state)}
        return kinds - FOR_OTHERS or kinds

    def _acted(self) -> dict[str, int]:
        keys: Counter[tuple[str, str]] = Counter()
        for _, _, data in self.case.observations("acted"):
            keys[self.key(data["run"], data["task"]), data["key"]] += 1
        found: dict[str, int] = {}
        for (task, _), count in keys.items():
            found[task] = max(count, found.get(task, 0))
        return found

    def _spans(self) -> dict[str, tuple[Micros, Micros]]:
        """Task -> when the first fact about it came, and the last one."""
        found: dict[str, tuple[Micros, Micros]] = {}
        for run, event, at in self.events():
            if "task" in event and event["type"] != "task.late_reply":
                key = self.key(run, event["task"])
                began, ended = found.get(key, (at, at))
                found[key] = (min(began, at), max(ended, at))
        return found

    def _path(self, spans: dict[str, tuple[Micros, Micros]]) -> list[str]:
        """The author's own tasks on the critical path; of a task without facts its state tells."""
        graph, state = self.plan.graph, self.states.get(self.run)
        if state is None:
            return []
        ended: dict[int, Micros] = {}
        for task, key in enumerate(graph.keys[: graph.tasks]):
            if key in spans:
                ended[task] = spans[key][1]
            elif state.state[task] is TaskState.SUCCEEDED:
                ended[task] = state.since[task]
        return [graph.keys[task] for task in critical_path(graph.deps, ended)]

    def _failures(self) -> Iterator[tuple[str, str]]:
        """What was the end of a task, or may have been."""
        for run, event, _ in self.events():
            if event["type"] == "run.timed_out":
                yield self._name_of(run), TIMED_OUT
        for run, state in self.states.items():
            for index, kind in enumerate(state.state):
                fault = state.faults.get(index)
                key = self.key(run, state.graph.keys[index])
                if kind is TaskState.FAILED and fault is not None:
                    yield key, _kind(fault)
                elif kind is TaskState.UNKNOWN_OUTCOME:
                    yield key, UNKNOWN + ("the process died" if fault is None else _kind(fault))

    def _name_of(self, run: str) -> str:
        parent = self.states[run].parent if run in self.states else None
        return THE_RUN if parent is None else self.key(parent.run, parent.task)

    def _violations(self) -> list[Violation]:
        found = [("broke", self.broke)] if self.broke else []
        found += [
            (check.__name__.strip("_"), line) for check in CHECKS for line in check(self.case)
        ]
        specs = {self.run: self.plan.spec}
        if self.plan.people is not None and (kinds := self._reasons()) and not kinds & HELPLESS:
            found.append(("everything_ends", f"{self.run}: waits though nobody is missing"))
        found += [("state", line) for line in machine_faults(specs, self.disk, self.runtime)]
        return [Violation(self.seed, name, detail) for name, detail in found]


def _part_key(states: Mapping[str, RunState], run: str, task: str) -> str:
    """The name of a task's part: of its pattern, below the tasks that began its run."""
    state = states[run]
    own = state.graph.nodes[state.graph.index[task]].key
    parent = state.parent
    if parent is None or parent.run not in states:
        return own
    return f"{_part_key(states, parent.run, parent.task)}/{own}"


def _kind(fault: Fault) -> str:
    """What kind of fault it is; where the kind says little, what is wrong."""
    return f"{fault.kind}: {fault.message}" if fault.kind in TOLD else fault.kind
