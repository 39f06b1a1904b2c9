"""What is gathered while a simulation runs, and what is made of it for the judge.

`Recorder` notes what an outsider sees, `WatchedDisk` when each fact came to be on disk,
`CheckedDriver` looks at itself before it decides. `build_case` is the whole case as plain JSON;
`check_machine_state` says what only the inside can show. Never decides what is right: `oracle`
does.
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


class Recorder:
    """Notes what an outsider sees, in order."""

    def __init__(self) -> None:
        self.observations: list[tuple[int, str, dict[str, Any]]] = []

    def observe(self, now: Micros, kind: str, data: JSONObject) -> None:
        """One more."""
        self.observations.append((now, kind, data))


class WatchedDisk(MemoryStore):
    """Notes, for each event of a run, how much had been seen when it came to be on disk."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder
        self.durable_at: dict[str, list[int]] = {}
        self.batches: list[list[Record]] = []

    def reopen(self) -> None:
        """Another process has the journal now."""

    def write(self, batch: Batch) -> None:
        """Write, and note."""
        super().write(batch)
        self.batches.append(batch.records)
        for record in batch.records:
            marks = self.durable_at.setdefault(record.stream, [])
            marks.extend([len(self._recorder.observations)] * record.count)


MANY_TASKS: Final = 200
"""Tasks in hand from which on a driver does not look at all of them at every step."""


class CheckedDriver(Driver):
    """Looks at itself before it decides: every time, or now and then if it has many tasks."""

    _steps = 0

    def decide(self, now: Micros) -> Batch | None:
        """As the driver decides. Raises InternalError if an invariant does not hold."""
        self._steps += 1
        tasks = sum(len(run.state.state) for run in self.runs.values())
        is_due = self._steps % (1 + tasks // MANY_TASKS) == 0
        problems = find_driver_violations(self) if is_due else []
        if problems:
            raise InternalError("; ".join(problems))
        return super().decide(now)


def build_case(
    specs: dict[str, WorkflowSpec], recorder: Recorder, disk: WatchedDisk
) -> SimulationCase:
    """All that the judge may know; of the runs that others have begun, too."""
    plain_specs = {
        run: msgspec.to_builtins(find_spec(run, specs, disk)) for run in list_runs(specs, disk)
    }
    case = SimulationCase(plain_specs, recorder.observations)
    for run in plain_specs:
        records = disk.records(run)
        if records:
            case.journal[run] = _decode_events(records)
    case.hive = _decode_events(disk.records(ev.HIVE))
    case.durable_at = disk.durable_at
    return case


def list_runs(specs: Iterable[str], disk: WatchedDisk) -> list[str]:
    """The runs that were submitted, and those that these have begun."""
    return list(dict.fromkeys([*specs, *(name for name in disk.durable_at if name != ev.HIVE)]))


def find_spec(run: str, specs: dict[str, WorkflowSpec], disk: WatchedDisk) -> WorkflowSpec:
    """The workflow of a run."""
    if run in specs:
        return specs[run]
    name = find_submission(disk.records(run)).definition
    return definition.decode(disk.get_definition(name))


def _decode_events(records: Iterable[Record]) -> list[dict[str, Any]]:
    return [event for record in records for event in msgspec.json.decode(record.payload)]


def check_machine_state(
    specs: dict[str, WorkflowSpec], disk: WatchedDisk, runtime: SimulatedRuntime
) -> list[str]:
    """What only the inside can show: chains, invariants, and replay against the live state."""
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
            problems.append(f"{run}: replay gives another state than the live one")
    return problems
