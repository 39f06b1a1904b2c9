"""Decides whether an open run may continue under a changed workflow: adopt, map or stay pinned.

Two checks, and a run must pass both:

1. Task by task: a task that has started must mean the same in the new workflow. Fields in
   `POLICY_FIELDS`, such as a retry policy, may differ, because they apply only to what comes next.
2. As a whole: the recorded events are replayed under the new graph, as if it had been the graph
   from the start. The replay must not refuse an event, and must lead every task that has started to
   the state and the number of attempts that it has now.

Never changes a run; `Driver.migrate` does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, TypeAlias

import msgspec

from agenthive.core.graph.graph import Graph
from agenthive.core.history.replay import (
    decode_history,
    new_state,
    rename_event,
    replay,
    split_key,
)
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Record
from agenthive.core.machine.machine import step
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import CLOSED, TaskState
from agenthive.core.model.workflow import Effect, TaskSpec
from agenthive.errors import InvalidTransition

POLICY_FIELDS: Final = frozenset(
    {
        "description",
        "priority",
        "timeout",
        "retry",
        "estimated_duration",
        "heartbeat_timeout",
        "compensate",
        "cache",
        "continue_on_failure",
    }
)
"""Fields of a task that only affect its future; all others are part of its meaning."""

_ENDED_STATES: Final = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED})
_START_EVENTS: Final = (ev.TaskStarted, ev.TaskExpanded, ev.ChildOpened)
_PlainTask: TypeAlias = "dict[str, object]"


class MigrationCheck(StrEnum):
    """Whether an open run can continue under a changed workflow; later members are worse."""

    ADOPT = "adopt"
    """The run can continue under the new workflow as it is."""
    MAP = "map"
    """The run can continue; tasks that have records get new names."""
    STAY = "stay"
    """The run cannot continue: it stays pinned to its present workflow."""


_ADOPT: Final = MigrationCheck.ADOPT


class TaskChange(msgspec.Struct, frozen=True, kw_only=True):
    """A difference between the workflows, and what it means for the run."""

    #: Name in the old workflow, or in the new one if the task was added; empty for the whole.
    task: str
    #: The difference, such as ``parameters changed`` or ``removed``.
    what: str
    verdict: MigrationCheck
    reason: str


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """The result of both checks."""

    #: The worst verdict of the changes.
    verdict: MigrationCheck
    changes: list[TaskChange]
    #: Old name -> new name of renamed tasks that the run has records of.
    renamed: dict[str, str]


def examine_run(
    old: Graph, new: Graph, records: Sequence[Record], declared: Mapping[str, str] | None = None
) -> Migration:
    """Check a run with these records. ``declared`` are renamings (old -> new) given by the user."""
    before = replay(old, records)
    comparison = _TaskComparison(old, new, before, records, dict(declared or {}))
    changes = comparison.list_changes()
    renamed = {
        old_name: new_name
        for old_name, new_name in comparison.renamed.items()
        if old_name in comparison.recorded
    }
    if all(change.verdict is not MigrationCheck.STAY for change in changes):
        changes += _check_replay(before, new, records, renamed, comparison.started)
    verdict = max(
        (change.verdict for change in changes), key=[*MigrationCheck].index, default=_ADOPT
    )
    return Migration(verdict=verdict, changes=changes, renamed=renamed)


class _TaskComparison:
    """Compares two workflows task by task, in view of what a run has done so far."""

    def __init__(
        self,
        old: Graph,
        new: Graph,
        state: RunState,
        records: Sequence[Record],
        declared: dict[str, str],
    ) -> None:
        self._state = state
        self._old = {task.name: task for task in old.spec.tasks}
        self._new = {task.name: task for task in new.spec.tasks}
        self._orders = [list(self._old), list(self._new)]
        #: Names of tasks that the run has records of.
        self.recorded: set[str] = set()
        #: Names of tasks that have started or ended.
        self.started = {
            key
            for key in self._old
            if self._task_state(key) in _ENDED_STATES | {TaskState.UNKNOWN_OUTCOME}
        }
        for _, event in decode_history(records):
            if isinstance(event, ev.RunSubmitted) and event.fork is not None:
                self.recorded |= {kept_result.task for kept_result in event.fork.taken}
            elif isinstance(event, ev.TaskEvent):
                name, _ = split_key(event.task)
                self.recorded.add(name)
                if isinstance(event, _START_EVENTS):
                    self.started.add(name)
        self.renamed = self._match_renamed(declared)

    def _task_state(self, name: str) -> TaskState:
        return self._state.state[self._state.graph.index[name]]

    def _match_renamed(self, declared: dict[str, str]) -> dict[str, str]:
        """Removed tasks, each with an added task that means the same: old name -> new name."""
        renames = {
            old_name: new_name
            for old_name, new_name in declared.items()
            if old_name in self._old and new_name in self._new
        }
        free = [
            name for name in self._new if name not in self._old and name not in renames.values()
        ]
        gone = [name for name in self._old if name not in self._new and name not in renames]
        # One at a time: a task that refers to a renamed task is the same only once that renaming is
        # known.
        while gone:
            pairs = [
                (old_name, new_name)
                for old_name in gone
                for new_name in free
                if self._is_same_task(old_name, new_name, renames)
            ]
            if not pairs:
                break
            old_name, new_name = pairs[0]
            renames[old_name] = new_name
            gone.remove(old_name)
            free.remove(new_name)
        return renames

    def _is_same_task(self, old_name: str, new_name: str, renamed: dict[str, str]) -> bool:
        return not list_differences(
            self._old[old_name], self._new[new_name], renamed | {old_name: new_name}
        )

    def list_changes(self) -> list[TaskChange]:
        """The changes of each task, in the order of the old workflow; then the added tasks."""
        changes = [
            change for name in self._old if (change := self._describe_change(name)) is not None
        ]
        current_names = {self.renamed.get(name, name) for name in self._old}
        changes += [
            _build_change(new_name, "added", _ADOPT, "it has not started")
            for new_name in self._new
            if new_name not in current_names
        ]
        orders = [
            [new_name for new_name in order if new_name in self._old and new_name in self._new]
            for order in self._orders
        ]
        if orders[0] != orders[1]:
            changes.append(
                _build_change("", "reordered", _ADOPT, "the order in a file has no effect")
            )
        return changes

    def _describe_change(self, name: str) -> TaskChange | None:
        """The change of a task of the old workflow; None if it is unchanged."""
        new = self._new.get(self.renamed.get(name, name))
        if new is None:
            return self._describe_removal(name)
        fields = list_differences(self._old[name], new, self.renamed, policies=True)
        if name in self.renamed:
            return self._describe_rename(name, new, fields)
        if not fields:
            return None
        summary = f"{', '.join(fields)} changed"
        if name not in self.started:
            return _build_change(name, summary, _ADOPT, self._describe_pending(name, fields))
        return self._describe_started_change(
            name, summary, [field for field in fields if field not in POLICY_FIELDS]
        )

    def _describe_started_change(self, name: str, summary: str, fields: list[str]) -> TaskChange:
        """The change of a task that has started; ``fields`` are those that change its meaning."""
        task_state = self._task_state(name)
        ended = task_state in _ENDED_STATES or task_state is TaskState.BYPASSED
        # The effect matters only for the next attempt, and there is none.
        if ended and fields == ["effect"]:
            fields = []
        if not fields:
            return _build_change(name, summary, _ADOPT, "it applies from now on")
        reason = f"it is {task_state} under the old definition"
        if "output_schema" in fields and len(fields) == 1:
            reason += ", and its result was not validated against the new schema"
        return _build_change(
            name,
            summary,
            MigrationCheck.STAY,
            f"{reason}; to run it again: agenthive fork --from {name}",
        )

    def _describe_pending(self, name: str, fields: list[str]) -> str:
        has_approval = self._state.flow is not None and any(
            split_key(self._state.graph.keys[index])[0] == name
            for index in (*self._state.flow.approvals, *self._state.flow.approved)
        )
        remark = "; its approval is requested again if its payload changes" if has_approval else ""
        return f"it has not started{remark}"

    def _describe_rename(self, name: str, new: TaskSpec, fields: list[str]) -> TaskChange:
        summary = f"renamed to {new.name}"
        if name not in self.recorded:
            return _build_change(name, summary, _ADOPT, "it has not started")
        if [field for field in fields if field not in POLICY_FIELDS]:
            reason = f"{', '.join(fields)} changed as well"
            return _build_change(name, summary, MigrationCheck.STAY, reason)
        if (
            self._task_state(name) not in _ENDED_STATES
            and self._old[name].effect is not Effect.NONE
        ):
            task_state = self._task_state(name)
            reason = f"it is {task_state}, and its idempotency key is derived from its name"
            return _build_change(name, summary, MigrationCheck.STAY, reason)
        return _build_change(
            name, summary, MigrationCheck.MAP, "its records are read under the new name"
        )

    def _describe_removal(self, name: str) -> TaskChange:
        if name in self.started:
            task_state = self._task_state(name)
            return _build_change(
                name,
                "removed",
                MigrationCheck.STAY,
                f"it is {task_state}: its outcome would be lost",
            )
        if name in self.recorded:
            reason = f"it is {self._task_state(name)}, and the journal has records of it"
            return _build_change(name, "removed", MigrationCheck.STAY, reason)
        return _build_change(name, "removed", _ADOPT, "it has not started")


def _build_change(task: str, summary: str, verdict: MigrationCheck, reason: str) -> TaskChange:
    return TaskChange(task=task, what=summary, verdict=verdict, reason=reason)


def list_differences(
    old: TaskSpec, new: TaskSpec, renamed: Mapping[str, str], *, policies: bool = False
) -> list[str]:
    """The fields in which two tasks differ, after renaming; with ``policies`` all of them."""
    old_fields, new_fields = _plain_task(old, renamed), _plain_task(new, {})
    return [
        name
        for name in TaskSpec.__struct_fields__
        if name != "name"
        and old_fields.get(name) != new_fields.get(name)
        and (policies or name not in POLICY_FIELDS)
    ]


def _plain_task(task: TaskSpec, renamed: Mapping[str, str]) -> _PlainTask:
    """A task as JSON values, with its references to other tasks under their new names."""
    fields: _PlainTask = msgspec.json.decode(msgspec.json.encode(task))
    fields["depends_on"] = sorted(renamed.get(name, name) for name in task.depends_on)
    if not renamed:
        return fields
    texts = {key: value for key, value in fields.items() if key != "depends_on"}
    text = msgspec.json.encode(texts).decode()
    for old_name, new_name in renamed.items():
        text = re.sub(rf"\btasks\.{re.escape(old_name)}(?![\w-])", f"tasks.{new_name}", text)
        text = re.sub(
            rf"""\btasks\[(\\?["']){re.escape(old_name)}\1\]""", rf"tasks[\1{new_name}\1]", text
        )
    return {"depends_on": fields["depends_on"], **msgspec.json.decode(text)}


def _check_replay(
    before: RunState,
    new: Graph,
    records: Sequence[Record],
    renamed: dict[str, str],
    started: set[str],
) -> list[TaskChange]:
    """The second check: replay the records under the new graph and compare the states."""
    try:
        after = replay_under_graph(new, records, renamed)
    except InvalidTransition as error:
        return [
            _build_change("", "replayed", MigrationCheck.STAY, f"its events do not fit: {error}")
        ]
    if after.status in CLOSED:
        reason = "no task would be left to run; to end the run: agenthive cancel"
        return [_build_change("", "replayed", MigrationCheck.STAY, reason)]
    changes = []
    for key, index in before.graph.index.items():
        name, mark = split_key(key)
        if name in started:
            new_index = after.graph.index.get(renamed.get(name, name) + mark)
            old_position = (before.state[index], before.attempts[index])
            new_position = (
                None if new_index is None else (after.state[new_index], after.attempts[new_index])
            )
            if old_position != new_position:
                consequence = f"be {new_position[0]}" if new_position else "not exist"
                reason = f"it is {old_position[0]}, and would {consequence}"
                changes.append(_build_change(key, "replayed", MigrationCheck.STAY, reason))
    return changes


def replay_under_graph(
    new: Graph, records: Sequence[Record], renamed: Mapping[str, str]
) -> RunState:
    """The state of a run under another graph. Raises InvalidTransition if an event does not fit."""
    state = new_state(new, records)
    for _, event in decode_history(records):
        step(state, rename_event(event, renamed))
    return state
