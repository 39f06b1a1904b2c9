"""Records what happens during a simulation, and builds the case for the oracles.

`Recorder` keeps what an outside observer sees, `WatchedDisk` when each event was on disk,
`CheckedDriver` checks its invariants before it decides. `build_case` returns the whole case as
plain JSON; `check_machine_state` checks what only the internal state shows. Never decides what is
right: the oracles do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from agenthive.core.engine.driver import Driver
from agenthive.core.engine.invariants import find_driver_violations, find_violations
from agenthive.core.history.replay import find_submission, replay
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.hash_chain import verify_chain
from agenthive.core.journal.records import Batch, Record
from agenthive.core.model import definition
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.values import JSONObject, Micros
from agenthive.errors import AgentHiveError, InternalError
from agenthive.simulation.case import SimulationCase
from agenthive.simulation.runtime import SimulatedRuntime
from agenthive.stores.memory import MemoryStore

CLOCK_EVENTS: Final = ("run.clock_stepped", "hive.clock_stepped_back", "hive.clock_stepped_forward")
"""Types of the events with which a stream records that the clock was set."""


class Recorder:
    """Records what an outside observer sees, in order."""

    def __init__(self) -> None:
        self.observations: list[tuple[int, str, dict[str, Any]]] = []

    def observe(self, now: Micros, kind: str, data: JSONObject) -> None:
        """Append one observation."""
        self.observations.append((now, kind, data))


class WatchedDisk(MemoryStore):
    """Records, for each event of a run, how many observations preceded it on disk."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder
        self.durable_at: dict[str, list[int]] = {}
        self.batches: list[list[Record]] = []

    def reopen(self) -> None:
        """Continue with the journal in another process."""

    def write(self, batch: Batch) -> None:
        """Write the batch and record its events."""
        super().write(batch)
        self.batches.append(batch.records)
        for record in batch.records:
            marks = self.durable_at.setdefault(record.stream, [])
            marks.extend([len(self._recorder.observations)] * record.count)


#: With more unfinished tasks than this, a driver checks its invariants only at some steps.
MANY_TASKS: Final = 200


class CheckedDriver(Driver):
    """A driver that checks its invariants before each decision, or at some if it has many tasks.

    After each decision it checks that no task waits for money that is free.
    """

    _steps = 0

    def decide(self, now: Micros) -> Batch | None:
        """Decide as `Driver` does. Raises InternalError if an invariant does not hold."""
        self._steps += 1
        tasks = sum(len(run.state.state) for run in self.runs.values())
        is_due = self._steps % (1 + tasks // MANY_TASKS) == 0
        problems = find_driver_violations(self) if is_due else []
        if problems:
            raise InternalError("; ".join(problems))
        batch = super().decide(now)
        # After the decision: before it, whatever was reported may still wake them.
        forgotten_waiters = self.budgets.list_forgotten_waiters()
        if forgotten_waiters:
            raise InternalError("; ".join(forgotten_waiters))
        return batch


def build_case(
    specs: dict[str, WorkflowSpec], recorder: Recorder, disk: WatchedDisk
) -> SimulationCase:
    """Everything that the oracles may read, including the child runs."""
    plain_specs = {
        run: msgspec.to_builtins(find_spec(run, specs, disk)) for run in list_runs(specs, disk)
    }
    case = SimulationCase(plain_specs, recorder.observations)
    for run in plain_specs:
        records = disk.records(run)
        if records:
            case.journal[run] = _decode_events(records)
    case.hive = _decode_events(disk.records(ev.HIVE))
    for stream, events in (*case.journal.items(), (ev.HIVE, case.hive)):
        _add_true_times(events, disk.durable_at.get(stream, []), recorder.observations)
    case.durable_at = disk.durable_at
    return case


def list_runs(specs: Iterable[str], disk: WatchedDisk) -> list[str]:
    """The submitted runs and all their descendants."""
    return list(dict.fromkeys([*specs, *(name for name in disk.durable_at if name != ev.HIVE)]))


def find_spec(run: str, specs: dict[str, WorkflowSpec], disk: WatchedDisk) -> WorkflowSpec:
    """The workflow of a run."""
    if run in specs:
        return specs[run]
    name = find_submission(disk.records(run)).definition
    return definition.decode(disk.get_definition(name))


def _decode_events(records: Iterable[Record]) -> list[dict[str, Any]]:
    return [event for record in records for event in msgspec.json.decode(record.payload)]


def _add_true_times(
    events: list[dict[str, Any]],
    durable_at: list[int],
    observations: list[tuple[int, str, dict[str, Any]]],
) -> None:
    """Add to each event when it really happened, as the clock of the process may have been set."""
    #: Since when (us) the clock has been ahead by how much.
    skews: list[tuple[Micros, Micros]] = [(0, 0)]
    for now, kind, data in observations:
        if kind == "jumped":
            skews.append((now, skews[-1][1] + data["by"]))
    if len(skews) == 1:
        return
    following = step_at = 1 << 62
    for event, mark in reversed(list(zip(events, durable_at, strict=True))):
        shown = event.get("wall") or event["at"]
        # It happened before the next observation after it was written.
        written = observations[mark][0] if mark < len(observations) else observations[-1][0]
        latest = min(written, following)
        # What comes before the record of a step happened by the clock of before, even in the same
        # microsecond; except that the step of a child run is noted in its parent.
        follows_step = event["type"] == "task.child_waiting"
        ends = [start for start, _ in skews[1:]] + [1 << 62]
        candidates = [
            shown - skew
            for (start, skew), end in zip(skews, ends, strict=True)
            if start <= shown - skew <= min(end, latest) and (start < step_at or follows_step)
        ]
        event["true"] = following = max(candidates, default=latest)
        if event["type"] in CLOCK_EVENTS:
            step_at = following


def check_machine_state(
    specs: dict[str, WorkflowSpec], disk: WatchedDisk, runtime: SimulatedRuntime
) -> list[str]:
    """Check hash chains, invariants, and that replay gives the live state."""
    problems: list[str] = []
    for run in list_runs(specs, disk):
        records = disk.records(run)
        if not records:
            continue
        try:
            list(verify_chain(records))
            state = replay(runtime.find_graph(run), records)
        except AgentHiveError as error:
            problems.append(f"{run}: {error}")
            continue
        problems += [f"{run}: {line}" for line in find_violations(state)]
        active_run = runtime.driver.runs.get(run)
        if active_run is not None and (active_run.state.state, active_run.state.status) != (
            state.state,
            state.status,
        ):
            problems.append(f"{run}: replay gives a different state than the live one")
    return problems
