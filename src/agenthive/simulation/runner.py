"""One seed of a simulation: runs it on virtual time, judges it, and returns its outcome.

Times are virtual and true: those of the world, not of a process with a wrong clock. All random
draws come from the seed, so a seed always gives the same run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any, Final

import msgspec

from agenthive.core.budget.holds import BUDGET_REASONS
from agenthive.core.history.replay import replay
from agenthive.core.history.waiting_reasons import list_reasons
from agenthive.core.journal.records import Batch
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Fault
from agenthive.core.model.states import CLOSED, TaskState
from agenthive.core.values import SECOND, JSONValue, Micros
from agenthive.errors import AgentHiveError
from agenthive.insights.critical_path import critical_path
from agenthive.simulation.case import SimulationCase
from agenthive.simulation.options import SimulationOptions
from agenthive.simulation.oracles.judge import CHECKS
from agenthive.simulation.people import SimulatedPeople
from agenthive.simulation.recording import Recorder, WatchedDisk, build_case, check_machine_state
from agenthive.simulation.runtime import SimulatedRuntime
from agenthive.simulation.world import ScriptedWorld

#: How often a run that was not accepted is submitted again.
MAX_SUBMISSIONS: Final = 100
#: The step limit of a simulation grows with its tasks; above both limits it does not end.
STEPS_PER_TASK: Final = 1000


THE_RUN: Final = "the run"
TIMED_OUT: Final = "timed out"
#: Reasons for waiting that nothing in a simulation resolves.
EXTERNAL_REASONS: Final = frozenset({"outcome", "agent"})
#: Reasons for waiting that are caused by another reason.
DERIVED_REASONS: Final = frozenset({"dependency", "parts", "child", "slot"})
#: Fault kinds with a message that says what is wrong with a workflow.
DESCRIBED_FAULTS: Final = frozenset({"expression", "not_a_list", "not_a_time", "too_many_items"})
#: Prefix of a failure of unknown outcome, which may be none.
UNKNOWN_PREFIX: Final = "outcome unknown: "


class Violation(msgspec.Struct, frozen=True):
    """A promise that did not hold at a seed."""

    seed: int
    invariant: str
    detail: str


class SeedOutcome(msgspec.Struct, kw_only=True):
    """The outcome of one seed."""

    seed: int
    status: str
    #: Virtual seconds.
    duration: float
    #: Nano-dollars.
    cost: int
    tokens: int
    trace: str
    #: Task -> calls made.
    calls: dict[str, int]
    #: Task -> calls that reused the idempotency key of an earlier call.
    repeated: dict[str, int]
    #: Task -> the most effects that one idempotency key had.
    acted: dict[str, int]
    #: Task -> seconds from its first event to its last.
    times: dict[str, float]
    #: The tasks on the critical path.
    path: list[str]
    #: (task, fault) of each final failure.
    failures: list[tuple[str, str]]
    violations: list[Violation]


class TimedDisk(WatchedDisk):
    """A disk that also records the true time at which each event was written."""

    def __init__(self, recorder: Recorder, clock: Callable[[], Micros]) -> None:
        super().__init__(recorder)
        self._clock = clock
        self.times: dict[str, list[Micros]] = {}
        self.on_write: Callable[[], None] = lambda: None

    def write(self, batch: Batch) -> None:
        """Write and record the batch, then let the simulated people review the runs."""
        super().write(batch)
        self.on_write()
        for record in batch.records:
            times = self.times.setdefault(record.stream, [])
            times.extend([self._clock()] * record.count)


class SimulatedRun:
    """A seed that was simulated: the run's id, the runtime, the disk, the observations.

    ``runs`` are the run and its descendants; ``states`` are their final states.
    """

    def __init__(self, options: SimulationOptions, seed: int) -> None:
        rng = Random(seed)
        self.options, self.seed = options, seed
        self.run = f"run-{seed}"
        self.recorder = Recorder()
        self.disk = TimedDisk(self.recorder, lambda: self.runtime.now)
        world = ScriptedWorld(
            Random(rng.getrandbits(62)),
            options.scripts,
            options.fault_plan,
            self._active_script_key,
        )
        self.runtime = SimulatedRuntime(
            rng.getrandbits(62),
            self.disk,
            world,
            self.recorder,
            options.fault_plan.faults,
            options.make_driver,
            options.graphs,
        )
        people = SimulatedPeople(
            Random(rng.getrandbits(62)), options.people_delay, self._signal_data
        )
        self.disk.on_write = lambda: people.review_runs(self.runtime)
        self.error = ""
        self.finished = self._run_to_end()
        self.case = self._build_case()
        self.runs = list(self.case.journal)
        self.states = {
            run: state for run in self.runs if (state := self._replay_state(run)) is not None
        }
        self.times = self.disk.times.get(self.run, [])
        self._keys: dict[tuple[str, str], str] = {}

    def _run_to_end(self) -> bool:
        max_steps = STEPS_PER_TASK * len(self.options.graph.nodes)
        finished = True
        try:
            for _ in range(MAX_SUBMISSIONS):
                self.runtime.submit(SECOND, self.run, self.options.spec, self.options.inputs)
                finished = self.runtime.run(max_steps)
                if self.disk.records(self.run):
                    break
        except Exception as error:  # any exception is a failure of this seed
            self.error = f"{type(error).__name__}: {error}"
        return finished

    def _build_case(self) -> SimulationCase:
        case = build_case({self.run: self.options.spec}, self.recorder, self.disk)
        case.finished, case.crashes = self.finished, self.runtime.crashes
        return case

    def _replay_state(self, run: str) -> RunState | None:
        try:
            return replay(self.runtime.find_graph(run), self.disk.records(run))
        except AgentHiveError:  # check_machine_state reports it as a violation
            return None

    # Task names over all runs: those of their scripts.

    def _active_script_key(self, run: str, task: str) -> str:
        active_runs = self.runtime.driver.runs
        return _script_key(
            {name: active_run.state for name, active_run in active_runs.items()}, run, task
        )

    def _signal_data(self, run: str, task: str) -> JSONValue:
        return self.options.scripts[self._active_script_key(run, task)].result

    def script_key(self, run: str, task: str) -> str:
        """The name of the script that a task of a run used."""
        if (run, task) not in self._keys:
            is_known = run in self.states and task in self.states[run].graph.index
            self._keys[run, task] = _script_key(self.states, run, task) if is_known else task
        return self._keys[run, task]

    def events(self) -> Iterator[tuple[str, dict[str, Any], Micros]]:
        """(run, event, true time) of all runs."""
        for run in self.runs:
            times = self.disk.times[run]
            for event, at in zip(self.case.journal[run], times, strict=True):
                yield run, event, at

    # The outcome.

    def build_outcome(self) -> SeedOutcome:
        """The outcome of the seed."""
        keys: dict[str, set[str]] = {}
        calls: Counter[str] = Counter()
        for _, _, call in self.case.observations_of("called"):
            script_key = self.script_key(call["run"], call["task"])
            calls[script_key] += 1
            keys.setdefault(script_key, set()).add(call["key"])
        usages = self._list_usage()
        spans = self._measure_spans()
        return SeedOutcome(
            seed=self.seed,
            status=self._final_status(),
            duration=(self.times[-1] - self.times[0]) / SECOND if self.times else 0.0,
            cost=sum(usage.get("cost") or 0 for usage in usages),
            tokens=sum(usage.get("input_tokens", 0) for usage in usages),
            trace=self.runtime.trace,
            calls=dict(calls),
            repeated={task: count - len(keys[task]) for task, count in calls.items()},
            acted=self._count_acts(),
            times={task: (end - start) / SECOND for task, (start, end) in spans.items()},
            path=self._find_critical_path(spans),
            failures=sorted(set(self._list_failures())),
            violations=self._find_violations(),
        )

    def _list_usage(self) -> list[dict[str, Any]]:
        run_events = [event for events in self.case.journal.values() for event in events]
        return [e["usage"] for e in (*run_events, *self.case.hive) if e.get("usage")]

    def _final_status(self) -> str:
        for event in self.case.hive:
            if event["type"] == "hive.run_closed" and event["run"] == self.run:
                return str(event["status"])
        return self._describe_wait() or "never accepted"

    def _describe_wait(self) -> str:
        """What the run waits for; empty if it does not wait."""
        kinds = self._waiting_reasons()
        return f"waiting ({', '.join(sorted(kinds))})" if kinds else ""

    def _waiting_reasons(self) -> set[str]:
        """The kinds of reason why the run has not ended; empty if it has."""
        kinds: set[str] = set()
        active_runs = self.runtime.driver.runs
        for active_run in active_runs.values() if self.run in active_runs else ():
            if active_run.state.status not in CLOSED:
                kinds |= {str(reason.kind) for reason in list_reasons(active_run.state)}
        return kinds - DERIVED_REASONS or kinds

    def _awaits_higher_limit(self) -> bool:
        """Whether a task waits until its limit is raised, which never happens in a simulation."""
        return any(
            reason == BUDGET_REASONS[0]
            for active_run in self.runtime.driver.runs.values()
            for reason, _ in active_run.state.blocked.values()
        )

    def _count_acts(self) -> dict[str, int]:
        keys: Counter[tuple[str, str]] = Counter()
        for _, _, data in self.case.observations_of("acted"):
            keys[self.script_key(data["run"], data["task"]), data["key"]] += 1
        maxima: dict[str, int] = {}
        for (task, _), count in keys.items():
            maxima[task] = max(count, maxima.get(task, 0))
        return maxima

    def _measure_spans(self) -> dict[str, tuple[Micros, Micros]]:
        """Task -> the times of its first and its last event."""
        spans: dict[str, tuple[Micros, Micros]] = {}
        for run, event, at in self.events():
            if "task" in event and event["type"] != "task.late_reply":
                key = self.script_key(run, event["task"])
                start, end = spans.get(key, (at, at))
                spans[key] = (min(start, at), max(end, at))
        return spans

    def _find_critical_path(self, spans: dict[str, tuple[Micros, Micros]]) -> list[str]:
        """The authored tasks on the critical path, timed by events or else by the state."""
        graph, state = self.options.graph, self.states.get(self.run)
        if state is None:
            return []
        end_times: dict[int, Micros] = {}
        for task, key in enumerate(graph.keys[: graph.tasks]):
            if key in spans:
                end_times[task] = spans[key][1]
            elif state.state[task] is TaskState.SUCCEEDED:
                end_times[task] = state.since[task]
        return [graph.keys[task] for task in critical_path(graph.deps, end_times)]

    def _list_failures(self) -> Iterator[tuple[str, str]]:
        """The faults of tasks that failed, or whose outcome is unknown."""
        for run, event, _ in self.events():
            if event["type"] == "run.timed_out":
                yield self._run_name(run), TIMED_OUT
        for run, state in self.states.items():
            for index, kind in enumerate(state.state):
                fault = state.faults.get(index)
                key = self.script_key(run, state.graph.keys[index])
                if kind is TaskState.FAILED and fault is not None:
                    yield key, _describe_fault(fault)
                elif kind is TaskState.UNKNOWN_OUTCOME:
                    yield (
                        key,
                        UNKNOWN_PREFIX
                        + ("the process died" if fault is None else _describe_fault(fault)),
                    )

    def _run_name(self, run: str) -> str:
        parent = self.states[run].parent if run in self.states else None
        return THE_RUN if parent is None else self.script_key(parent.run, parent.task)

    def _find_violations(self) -> list[Violation]:
        problems = [("broke", self.error)] if self.error else []
        problems += [
            (check.__name__.strip("_"), line) for check in CHECKS for line in check(self.case)
        ]
        specs = {self.run: self.options.spec}
        if (
            self.options.people_delay is not None
            and (kinds := self._waiting_reasons())
            and not kinds & EXTERNAL_REASONS
            and not self._awaits_higher_limit()
        ):
            problems.append(
                ("everything_ends", f"{self.run}: waits, but no person or agent is missing")
            )
        problems += [
            ("state", line) for line in check_machine_state(specs, self.disk, self.runtime)
        ]
        return [Violation(self.seed, name, detail) for name, detail in problems]


def _script_key(states: Mapping[str, RunState], run: str, task: str) -> str:
    """The name of a task's script: its authored task, below the tasks that started its run."""
    state = states[run]
    node_key = state.graph.nodes[state.graph.index[task]].key
    parent = state.parent
    if parent is None or parent.run not in states:
        return node_key
    return f"{_script_key(states, parent.run, parent.task)}/{node_key}"


def _describe_fault(fault: Fault) -> str:
    """The kind of a fault; with its message where the kind says too little."""
    return f"{fault.kind}: {fault.message}" if fault.kind in DESCRIBED_FAULTS else fault.kind
