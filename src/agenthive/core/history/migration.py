"""Whether an open run can go on under a changed workflow: adopt, map or stay pinned.

Two proofs, both needed. Task by task: what has begun must mean the same in the new workflow. Then
the whole: the run's facts are replayed under the new graph, as if it had been so always, and must
lead every task that has begun to where it is. Never changes a run; `Driver.migrate` does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, TypeAlias

import msgspec

from agenthive.core.graph.graph import Graph
from agenthive.core.history.replay import decode_history, rename_event, replay, split_key
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
"""Fields of a task that count for what it does from here on; all others are what it means."""

_ENDED_STATES: Final = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED})
_START_EVENTS: Final = (ev.TaskStarted, ev.TaskExpanded, ev.ChildOpened)
_PlainTask: TypeAlias = "dict[str, object]"


class MigrationCheck(StrEnum):
    """What can be done with an open run."""

    ADOPT = "adopt"
    """It can go on under the new workflow as it is."""
    MAP = "map"
    """It can, with tasks it has begun under new names."""
    STAY = "stay"
    """It cannot: it stays pinned to the workflow it was started with."""


class TaskChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is different about one task, and what that means for the run."""

    task: str
    what: str
    verdict: MigrationCheck
    reason: str


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """``renamed`` is old name -> new name, of tasks that the run's facts speak of."""

    verdict: MigrationCheck
    changes: list[TaskChange]
    renamed: dict[str, str]


def examine_run(
    old: Graph, new: Graph, records: Sequence[Record], declared: Mapping[str, str] | None = None
) -> Migration:
    """What becomes of a run with these records. ``declared`` are renamings somebody declares."""
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


_ADOPT: Final = MigrationCheck.ADOPT


class _TaskComparison:
    """Compares two workflows, knowing what a run has done so far."""

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
        self.recorded: set[str] = set()
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
        """Tasks that are gone, each with the new one that means the same."""
        renames = {
            old_name: new_name
            for old_name, new_name in declared.items()
            if old_name in self._old and new_name in self._new
        }
        free = [
            name for name in self._new if name not in self._old and name not in renames.values()
        ]
        gone = [name for name in self._old if name not in self._new and name not in renames]
        # Again and again: what reads a renamed task is the same only once that is known.
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
        """Of each task, in the order of the old workflow; then what is new."""
        changes = [
            change for name in self._old if (change := self._describe_change(name)) is not None
        ]
        current_names = {self.renamed.get(name, name) for name in self._old}
        changes += [
            _build_change(new_name, "added", _ADOPT, "it has not begun")
            for new_name in self._new
            if new_name not in current_names
        ]
        orders = [
            [new_name for new_name in order if new_name in self._old and new_name in self._new]
            for order in self._orders
        ]
        if orders[0] != orders[1]:
            changes.append(
                _build_change("", "reordered", _ADOPT, "the order in a file means nothing")
            )
        return changes

    def _describe_change(self, name: str) -> TaskChange | None:
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
        """A task that has begun."""
        task_state = self._task_state(name)
        ended = task_state in _ENDED_STATES or task_state is TaskState.BYPASSED
        if ended and fields == ["effect"]:
            fields = []
        if not fields:
            return _build_change(name, summary, _ADOPT, "it counts for what is done from here on")
        reason = f"it is {task_state} under the old one"
        if "output_schema" in fields and len(fields) == 1:
            reason += ", and its result was not checked against the new one"
        return _build_change(
            name,
            summary,
            MigrationCheck.STAY,
            f"{reason}; to do it anew: agenthive fork --from {name}",
        )

    def _describe_pending(self, name: str, fields: list[str]) -> str:
        has_approval = self._state.flow is not None and any(
            split_key(self._state.graph.keys[index])[0] == name
            for index in (*self._state.flow.approvals, *self._state.flow.approved)
        )
        remark = (
            "; what was approved is asked again, if what it does changes" if has_approval else ""
        )
        return f"it has not begun{remark}"

    def _describe_rename(self, name: str, new: TaskSpec, fields: list[str]) -> TaskChange:
        summary = f"renamed to {new.name}"
        if name not in self.recorded:
            return _build_change(name, summary, _ADOPT, "it has not begun")
        if [field for field in fields if field not in POLICY_FIELDS]:
            reason = f"{', '.join(fields)} changed too"
            return _build_change(name, summary, MigrationCheck.STAY, reason)
        if (
            self._task_state(name) not in _ENDED_STATES
            and self._old[name].effect is not Effect.NONE
        ):
            reason = (
                f"it is {self._task_state(name)}, and the key of its call follows from its name"
            )
            return _build_change(name, summary, MigrationCheck.STAY, reason)
        return _build_change(
            name, summary, MigrationCheck.MAP, "what it has done is read under its new name"
        )

    def _describe_removal(self, name: str) -> TaskChange:
        if name in self.started:
            task_state = self._task_state(name)
            return _build_change(
                name,
                "removed",
                MigrationCheck.STAY,
                f"it is {task_state}: what it did would be lost",
            )
        if name in self.recorded:
            reason = f"it is {self._task_state(name)}, and the journal speaks of it"
            return _build_change(name, "removed", MigrationCheck.STAY, reason)
        return _build_change(name, "removed", _ADOPT, "it has not begun")


def _build_change(task: str, summary: str, verdict: MigrationCheck, reason: str) -> TaskChange:
    return TaskChange(task=task, what=summary, verdict=verdict, reason=reason)


def list_differences(
    old: TaskSpec, new: TaskSpec, renamed: Mapping[str, str], *, policies: bool = False
) -> list[str]:
    """The fields in which two tasks differ, once names are the same."""
    old_fields, new_fields = _plain_task(old, renamed), _plain_task(new, {})
    return [
        name
        for name in TaskSpec.__struct_fields__
        if name != "name"
        and old_fields.get(name) != new_fields.get(name)
        and (policies or name not in POLICY_FIELDS)
    ]


def _plain_task(task: TaskSpec, renamed: Mapping[str, str]) -> _PlainTask:
    """A task as plain data, with what it says of others under their new names."""
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
    """What the run's own facts say against the new workflow."""
    try:
        after = replay_under_graph(new, records, renamed)
    except InvalidTransition as error:
        return [
            _build_change("", "replayed", MigrationCheck.STAY, f"its facts do not fit: {error}")
        ]
    if after.status in CLOSED:
        reason = "nothing would be left to do; to end the run: agenthive cancel"
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
                reason = (
                    f"it is {old_position[0]}, and would be "
                    f"{new_position[0] if new_position else 'nowhere'}"
                )
                changes.append(_build_change(key, "replayed", MigrationCheck.STAY, reason))
    return changes


def replay_under_graph(
    new: Graph, records: Sequence[Record], renamed: Mapping[str, str]
) -> RunState:
    """The state of a run under another graph. Raises InvalidTransition."""
    state = RunState(new)
    for _, event in decode_history(records):
        step(state, rename_event(event, renamed))
    return state
