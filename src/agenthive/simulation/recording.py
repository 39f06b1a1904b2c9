"""What is gathered while a simulation runs, and what is made of it for the judge.

`Recorder` notes what an outsider sees, `WatchedDisk` when each fact came to be on disk,
`CheckedDriver` looks at itself before it decides. `case_of` is the whole case as plain JSON;
`machine_faults` says what only the inside can show. Never decides what is right: `oracle` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from agenthive.core.engine.driver import Driver
from agenthive.core.engine.invariants import driver_violations, violations
from agenthive.core.history.replay import replay, submission
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.hash_chain import check
from agenthive.core.journal.records import Batch, Record
from agenthive.core.model import definition
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.values import JSONObject, Micros
from agenthive.errors import AgentHiveError, InternalError
from agenthive.simulation.case import Case
from agenthive.simulation.runtime import SimulatedRuntime
from agenthive.stores.memory import MemoryStore


class Recorder:
    """Notes what an outsider sees, in order."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, str, dict[str, Any]]] = []

    def saw(self, now: Micros, what: str, data: JSONObject) -> None:
        """One more."""
        self.seen.append((now, what, data))


class WatchedDisk(MemoryStore):
    """Notes, for each event of a run, how much had been seen when it came to be on disk."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder
        self.durable: dict[str, list[int]] = {}
        self.batches: list[list[Record]] = []

    def begin_again(self) -> None:
        """Another process has the journal now."""

    def write(self, batch: Batch) -> None:
        """Write, and note."""
        super().write(batch)
        self.batches.append(batch.records)
        for record in batch.records:
            marks = self.durable.setdefault(record.stream, [])
            marks.extend([len(self._recorder.seen)] * record.count)


LARGE: Final = 200
"""Tasks in hand from which on a driver does not look at all of them at every step."""


class CheckedDriver(Driver):
    """Looks at itself before it decides: every time, or now and then if it has many tasks."""

    _steps = 0

    def decide(self, now: Micros) -> Batch | None:
        """As the driver decides. Raises InternalError if an invariant does not hold."""
        self._steps += 1
        tasks = sum(len(live.state.state) for live in self.runs.values())
        look = self._steps % (1 + tasks // LARGE) == 0
        wrong = driver_violations(self) if look else []
        if wrong:
            raise InternalError("; ".join(wrong))
        return super().decide(now)


def case_of(specs: dict[str, WorkflowSpec], recorder: Recorder, disk: WatchedDisk) -> Case:
    """All that the judge may know; of the runs that others have begun, too."""
    found = {run: msgspec.to_builtins(specs_of(run, specs, disk)) for run in runs_of(specs, disk)}
    case = Case(found, recorder.seen)
    for run in found:
        records = disk.records(run)
        if records:
            case.journal[run] = _plain(records)
    case.hive = _plain(disk.records(ev.HIVE))
    case.durable = disk.durable
    return case


def runs_of(specs: Iterable[str], disk: WatchedDisk) -> list[str]:
    """The runs that were submitted, and those that these have begun."""
    return list(dict.fromkeys([*specs, *(name for name in disk.durable if name != ev.HIVE)]))


def specs_of(run: str, specs: dict[str, WorkflowSpec], disk: WatchedDisk) -> WorkflowSpec:
    """The workflow of a run."""
    if run in specs:
        return specs[run]
    name = submission(disk.records(run)).definition
    return definition.decode(disk.definition_of(name))


def _plain(records: Iterable[Record]) -> list[dict[str, Any]]:
    return [event for record in records for event in msgspec.json.decode(record.payload)]


def machine_faults(
    specs: dict[str, WorkflowSpec], disk: WatchedDisk, runtime: SimulatedRuntime
) -> list[str]:
    """What only the inside can show: chains, invariants, and replay against the live state."""
    found: list[str] = []
    for run in runs_of(specs, disk):
        records = disk.records(run)
        if not records:
            continue
        try:
            list(check(records))
            state = replay(runtime.graph_of(run), records)
        except AgentHiveError as error:
            found.append(f"{run}: {error}")
            continue
        found += [f"{run}: {line}" for line in violations(state)]
        live = runtime.driver.runs.get(run)
        if live is not None and (live.state.state, live.state.status) != (
            state.state,
            state.status,
        ):
            found.append(f"{run}: replay gives another state than the live one")
    return found
