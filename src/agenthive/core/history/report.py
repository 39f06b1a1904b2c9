"""The report of a run, folded from its records: the same for the library, the CLI and the API.

Open runs have a report as well as ended ones. Never reads a store or changes a run. To add a
figure: a field of `RunReport` or `TaskReport`, computed in `build_report` or `_build_task_report`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from agenthive.core.budget.holds import BUDGET_REASONS
from agenthive.core.graph.graph import Graph
from agenthive.core.history.blobs import Contents
from agenthive.core.history.fault_texts import failure_message
from agenthive.core.history.replay import decode_history, new_state
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Record
from agenthive.core.machine.machine import step
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Usage
from agenthive.core.model.states import CLOSED, RunStatus, TaskState
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.values import SECOND, JSONValue, Micros
from agenthive.errors import BudgetExceeded, RunCancelled, RunError, RunFailed, RunTimedOut

NANO: Final = 1_000_000_000
"""Nano-dollars in a US dollar."""

EXIT_CODES: Final = {
    RunStatus.COMPLETED: 0,
    RunStatus.PARTIALLY_COMPLETED: 7,
    RunStatus.CANCELLED: 130,
    RunStatus.FAILED: 1,
    RunStatus.COMPENSATED: 1,
    RunStatus.COMPENSATION_FAILED: 1,
}
"""Exit code by final status; an open run has 8."""


_FAULTY: Final = (TaskState.FAILED, TaskState.UNKNOWN_OUTCOME, TaskState.BACKING_OFF)
"""States of a task whose report shows the fault of its last attempt."""


class TaskReport(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One task of a report."""

    status: str
    attempts: int
    #: US dollars of all attempts, without calls of unknown price.
    cost_usd: float
    #: Empty if the task calls no agent; so is ``action``.
    agent: str = ""
    action: str = ""
    result: JSONValue | msgspec.UnsetType = msgspec.UNSET
    error: str | msgspec.UnsetType = msgspec.UNSET
    #: With an ``error`` of a call: what is certain about the call, a `FaultClass`.
    fault_class: FaultClass | msgspec.UnsetType = msgspec.UNSET
    #: Input and output tokens of all attempts.
    tokens: int = 0
    #: Which part of a reported usage could not be read, and what was booked for it.
    usage_problem: str = ""
    #: Start of the first attempt, microseconds UTC.
    started: Micros | None = None
    #: Last event of an attempt so far, microseconds UTC.
    ended: Micros | None = None


RUN_ERRORS: Final[Mapping[int, type[RunError]]] = {
    1: RunFailed,
    6: BudgetExceeded,
    9: RunTimedOut,
    130: RunCancelled,
}
"""The error that `RunReport.raise_for_status` raises, by exit code."""


class RunReport(msgspec.Struct, kw_only=True):
    """The outcome of a run, or its progress while it is open."""

    run_id: str
    #: Name of the workflow.
    name: str
    status: str
    #: All tasks by key, with mapped items, iterations and model turns.
    tasks: dict[str, TaskReport]
    #: Results by task name; those of mapped items and iterations are in the result of their task.
    results: dict[str, JSONValue]
    #: Error messages by task key.
    errors: dict[str, str]
    completed_tasks: int
    total_tasks: int
    #: Seconds from the start of the run to its end, or to its last record.
    execution_time: float
    #: US dollars, without the ``unpriced`` calls.
    cost_usd: float
    #: Input and output tokens of all calls.
    tokens: int
    #: Calls of unknown price: no list has it, or their usage could not be read.
    unpriced: int = 0
    timed_out: bool = False
    over_budget: bool = False

    @property
    def exit_code(self) -> int:
        """The exit code of a command that waited for this run: `EXIT_CODES`, 6 if over budget, 9 if
        timed out, 8 if the run is still open.
        """
        if self.timed_out:
            return 9
        code = EXIT_CODES.get(RunStatus(self.status), 8)
        return 6 if self.over_budget and code in (1, 7) else code

    def raise_for_status(self) -> None:
        """Raise if the run has ended without reaching its goal.

        Raises RunTimedOut, BudgetExceeded, RunCancelled, or RunFailed with the first error of a
        task. Does not raise for a partially completed run, because its failure strategy allows
        that, nor for a run that is still open.
        """
        error = RUN_ERRORS.get(self.exit_code)
        if error is None:
            return
        task, message = next(iter(self.errors.items()), ("", ""))
        detail = f": task '{task}': {message}" if task else ""
        raise error(
            f"run {self.run_id} ended {self.status}{detail}",
            hint=f"See what happened: agenthive show {self.run_id}",
        )


class _UsageTotals:
    """Usage and times of tasks, which the run state does not keep."""

    def __init__(self) -> None:
        self.usage: dict[str, list[Usage]] = {}
        #: Start of the first attempt and last event of an attempt, by task.
        self.times: dict[str, tuple[Micros, Micros]] = {}

    def add_event(self, event: ev.RunEvent) -> None:
        if isinstance(event, ev.TaskStarted):
            first, _ = self.times.get(event.task, (event.time, event.time))
            self.times[event.task] = (first, event.time)
        elif isinstance(event, ev.TaskSucceeded | ev.TaskFailed | ev.LateReply):
            first, _ = self.times.get(event.task, (event.time, event.time))
            self.times[event.task] = (first, event.time)
            if event.usage is not None:
                self.usage.setdefault(event.task, []).append(event.usage)

    def cost_of(self, task: str) -> int:
        return sum(usage.cost or 0 for usage in self.usage.get(task, ()))

    def tokens_of(self, task: str) -> int:
        return sum(usage.input_tokens + usage.output_tokens for usage in self.usage.get(task, ()))

    def problem_of(self, task: str) -> str:
        """The last problem with a reported usage of a task; empty if all could be read."""
        problems = [usage.problem for usage in self.usage.get(task, ()) if usage.problem]
        return problems[-1] if problems else ""

    def count_unpriced(self) -> int:
        return sum(usage.cost is None for usages in self.usage.values() for usage in usages)


def build_report(
    graph: Graph,
    records: Sequence[Record],
    contents: Contents | None = None,
    until: int | None = None,
) -> RunReport:
    """Fold the records of one run into a report.

    ``contents`` are the bodies of blobs by digest, for large results. With ``until`` the report is
    as of the event with that number.
    """
    state, totals = new_state(graph, records), _UsageTotals()
    state.keep = True
    for seq, event in decode_history(records, contents):
        if until is not None and seq > until:
            break
        step(state, event)
        totals.add_event(event)
    graph = state.graph
    tasks = {
        key: _build_task_report(state, totals, i)
        for i, key in enumerate(graph.keys)
        if state.state[i] is not TaskState.DORMANT
    }
    end = state.finished if state.status in CLOSED else state.last_at
    return RunReport(
        run_id=state.run,
        name=state.name,
        status=state.status,
        tasks=tasks,
        results=_collect_results(state, tasks),
        errors={key: str(task.error) for key, task in tasks.items() if task.error},
        completed_tasks=state.succeeded_count,
        total_tasks=graph.tasks,
        execution_time=max(0, (end or 0) - (state.started or state.created)) / SECOND,
        cost_usd=sum(totals.cost_of(key) for key in totals.usage) / NANO,
        tokens=sum(totals.tokens_of(key) for key in totals.usage),
        unpriced=totals.count_unpriced(),
        timed_out=state.timed_out,
        over_budget=state.over_budget,
    )


def _build_task_report(state: RunState, totals: _UsageTotals, index: int) -> TaskReport:
    key = state.graph.keys[index]
    node, times = state.graph.nodes[index], totals.times.get(key)
    return TaskReport(
        status=state.state[index],
        attempts=state.attempts[index],
        cost_usd=totals.cost_of(key) / NANO,
        agent=node.agent.name,
        action=node.action if node.agent.name else "",
        result=state.results.get(index, msgspec.UNSET),
        error=_error_text(state, index),
        fault_class=_fault_class(state, index),
        tokens=totals.tokens_of(key),
        usage_problem=totals.problem_of(key),
        started=times[0] if times else None,
        ended=times[1] if times else None,
    )


def _collect_results(state: RunState, tasks: dict[str, TaskReport]) -> dict[str, JSONValue]:
    """Results by task name, of the tasks of the workflow itself."""
    results = {key: state.results.get(state.graph.index[key], msgspec.UNSET) for key in tasks}
    return {
        key: result
        for key, result in results.items()
        if result is not msgspec.UNSET and state.graph.index[key] < state.graph.static
    }


def _fault_class(state: RunState, index: int) -> FaultClass | msgspec.UnsetType:
    fault = state.faults.get(index)
    if state.state[index] not in _FAULTY or fault is None or fault.class_ is None:
        return msgspec.UNSET
    return fault.class_


def _error_text(state: RunState, index: int) -> str | msgspec.UnsetType:
    kind = state.state[index]
    fault = state.faults.get(index)
    if kind in _FAULTY:
        if fault is None:
            return "the process ended during the call; outcome unknown"
        return failure_message(state, index, fault)
    if kind is TaskState.BLOCKED and state.blocked[index][0] in ("agent", *BUDGET_REASONS):
        return state.blocked[index][1]
    if kind is TaskState.SKIPPED:
        return _skip_reason(state, index)
    return msgspec.UNSET


def _skip_reason(state: RunState, index: int) -> str:
    causes = (TaskState.FAILED, TaskState.SKIPPED, TaskState.CANCELLED)
    for dep in state.graph.deps[index]:
        tolerated = state.state[dep] is TaskState.FAILED and state.graph.nodes[dep].tolerated
        if state.state[dep] in causes and not tolerated:
            ending = "failed" if state.state[dep] is TaskState.FAILED else f"was {state.state[dep]}"
            return f"skipped: task '{state.graph.keys[dep]}' {ending}"
    return "skipped: the run stopped"
