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
from agenthive.core.history.replay import history, replay, split_key, under_new_name
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Record
from agenthive.core.machine.machine import step
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import CLOSED, TaskState
from agenthive.core.model.workflow import Effect, TaskSpec
from agenthive.errors import InvalidTransition

ANY_TIME: Final = frozenset(
    {
        "description", "priority", "timeout", "retry", "estimated_duration",
        "heartbeat_timeout", "compensate", "cache", "continue_on_failure",
    }
)  # fmt: skip
"""Fields of a task that count for what it does from here on; all others are what it means."""

_ENDED: Final = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED})
_BEGUN: Final = (ev.TaskStarted, ev.TaskExpanded, ev.ChildOpened)
_Plain: TypeAlias = "dict[str, object]"


class Verdict(StrEnum):
    """What can be done with an open run."""

    ADOPT = "adopt"
    """It can go on under the new workflow as it is."""
    MAP = "map"
    """It can, with tasks it has begun under new names."""
    STAY = "stay"
    """It cannot: it stays pinned to the workflow it was started with."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is different about one task, and what that means for the run."""

    task: str
    what: str
    verdict: Verdict
    reason: str


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """``renamed`` is old name -> new name, of tasks that the run's facts speak of."""

    verdict: Verdict
    changes: list[Change]
    renamed: dict[str, str]


def examine(
    old: Graph, new: Graph, records: Sequence[Record], given: Mapping[str, str] | None = None
) -> Migration:
    """What becomes of a run with these records. ``given`` are renamings somebody declares."""
    before = replay(old, records)
    look = _Look(old, new, before, records, dict(given or {}))
    changes = look.changes()
    renamed = {a: b for a, b in look.renamed.items() if a in look.mentioned}
    if all(change.verdict is not Verdict.STAY for change in changes):
        changes += _replayed(before, new, records, renamed, look.begun)
    verdict = max((change.verdict for change in changes), key=[*Verdict].index, default=_ADOPT)
    return Migration(verdict=verdict, changes=changes, renamed=renamed)


_ADOPT: Final = Verdict.ADOPT


class _Look:
    """Compares two workflows, knowing what a run has done so far."""

    def __init__(
        self, old: Graph, new: Graph, state: RunState, records: Sequence[Record],
        given: dict[str, str],
    ) -> None:  # fmt: skip
        self._state = state
        self._old = {task.name: task for task in old.spec.tasks}
        self._new = {task.name: task for task in new.spec.tasks}
        self._places = [list(self._old), list(self._new)]
        self.mentioned: set[str] = set()
        self.begun = {
            key for key in self._old if self._kind(key) in _ENDED | {TaskState.UNKNOWN_OUTCOME}
        }
        for _, event in history(records):
            if isinstance(event, ev.RunSubmitted) and event.fork is not None:
                self.mentioned |= {one.task for one in event.fork.taken}
            elif isinstance(event, ev.TaskEvent):
                name, _ = split_key(event.task)
                self.mentioned.add(name)
                if isinstance(event, _BEGUN):
                    self.begun.add(name)
        self.renamed = self._renamings(given)

    def _kind(self, name: str) -> TaskState:
        return self._state.state[self._state.graph.index[name]]

    def _renamings(self, given: dict[str, str]) -> dict[str, str]:
        """Tasks that are gone, each with the new one that means the same."""
        found = {a: b for a, b in given.items() if a in self._old and b in self._new}
        free = [name for name in self._new if name not in self._old and name not in found.values()]
        gone = [name for name in self._old if name not in self._new and name not in found]
        # Again and again: what reads a renamed task is the same only once that is known.
        while gone:
            pairs = [(a, b) for a in gone for b in free if self._same(a, b, found)]
            if not pairs:
                break
            a, b = pairs[0]
            found[a] = b
            gone.remove(a)
            free.remove(b)
        return found

    def _same(self, a: str, b: str, renamed: dict[str, str]) -> bool:
        return not differences(self._old[a], self._new[b], renamed | {a: b})

    def changes(self) -> list[Change]:
        """Of each task, in the order of the old workflow; then what is new."""
        found = [change for name in self._old if (change := self._change(name)) is not None]
        known = {self.renamed.get(name, name) for name in self._old}
        found += [
            _change(n, "added", _ADOPT, "it has not begun") for n in self._new if n not in known
        ]
        kept = [[n for n in place if n in self._old and n in self._new] for place in self._places]
        if kept[0] != kept[1]:
            found.append(_change("", "reordered", _ADOPT, "the order in a file means nothing"))
        return found

    def _change(self, name: str) -> Change | None:
        new = self._new.get(self.renamed.get(name, name))
        if new is None:
            return self._removed(name)
        differing = differences(self._old[name], new, self.renamed, policies=True)
        if name in self.renamed:
            return self._moved(name, new, differing)
        if not differing:
            return None
        what = f"{', '.join(differing)} changed"
        if name not in self.begun:
            return _change(name, what, _ADOPT, self._pending(name, differing))
        return self._changed(name, what, [one for one in differing if one not in ANY_TIME])

    def _changed(self, name: str, what: str, differing: list[str]) -> Change:
        """A task that has begun."""
        kind = self._kind(name)
        over = kind in _ENDED or kind is TaskState.BYPASSED
        if over and differing == ["effect"]:
            differing = []
        if not differing:
            return _change(name, what, _ADOPT, "it counts for what is done from here on")
        how = f"it is {kind} under the old one"
        if "output_schema" in differing and len(differing) == 1:
            how += ", and its result was not checked against the new one"
        return _change(
            name, what, Verdict.STAY, f"{how}; to do it anew: agenthive fork --from {name}"
        )

    def _pending(self, name: str, differing: list[str]) -> str:
        asked = self._state.flow is not None and any(
            split_key(self._state.graph.keys[index])[0] == name
            for index in (*self._state.flow.approvals, *self._state.flow.approved)
        )
        again = "; what was approved is asked again, if what it does changes" if asked else ""
        return f"it has not begun{again}"

    def _moved(self, name: str, new: TaskSpec, differing: list[str]) -> Change:
        what = f"renamed to {new.name}"
        if name not in self.mentioned:
            return _change(name, what, _ADOPT, "it has not begun")
        if [one for one in differing if one not in ANY_TIME]:
            reason = f"{', '.join(differing)} changed too"
            return _change(name, what, Verdict.STAY, reason)
        if self._kind(name) not in _ENDED and self._old[name].effect is not Effect.NONE:
            reason = f"it is {self._kind(name)}, and the key of its call follows from its name"
            return _change(name, what, Verdict.STAY, reason)
        return _change(name, what, Verdict.MAP, "what it has done is read under its new name")

    def _removed(self, name: str) -> Change:
        if name in self.begun:
            kind = self._kind(name)
            return _change(
                name, "removed", Verdict.STAY, f"it is {kind}: what it did would be lost"
            )
        if name in self.mentioned:
            reason = f"it is {self._kind(name)}, and the journal speaks of it"
            return _change(name, "removed", Verdict.STAY, reason)
        return _change(name, "removed", _ADOPT, "it has not begun")


def _change(task: str, what: str, verdict: Verdict, reason: str) -> Change:
    return Change(task=task, what=what, verdict=verdict, reason=reason)


def differences(
    old: TaskSpec, new: TaskSpec, renamed: Mapping[str, str], *, policies: bool = False
) -> list[str]:
    """The fields in which two tasks differ, once names are the same."""
    was, now = _plain(old, renamed), _plain(new, {})
    return [
        name
        for name in TaskSpec.__struct_fields__
        if name != "name" and was.get(name) != now.get(name) and (policies or name not in ANY_TIME)
    ]


def _plain(task: TaskSpec, renamed: Mapping[str, str]) -> _Plain:
    """A task as plain data, with what it says of others under their new names."""
    found: _Plain = msgspec.json.decode(msgspec.json.encode(task))
    found["depends_on"] = sorted(renamed.get(name, name) for name in task.depends_on)
    if not renamed:
        return found
    texts = {key: value for key, value in found.items() if key != "depends_on"}
    text = msgspec.json.encode(texts).decode()
    for a, b in renamed.items():
        text = re.sub(rf"\btasks\.{re.escape(a)}(?![\w-])", f"tasks.{b}", text)
        text = re.sub(rf"""\btasks\[(\\?["']){re.escape(a)}\1\]""", rf"tasks[\1{b}\1]", text)
    return {"depends_on": found["depends_on"], **msgspec.json.decode(text)}


def _replayed(
    before: RunState, new: Graph, records: Sequence[Record], renamed: dict[str, str],
    begun: set[str],
) -> list[Change]:  # fmt: skip
    """What the run's own facts say against the new workflow."""
    try:
        after = moved(new, records, renamed)
    except InvalidTransition as error:
        return [_change("", "replayed", Verdict.STAY, f"its facts do not fit: {error}")]
    if after.status in CLOSED:
        reason = "nothing would be left to do; to end the run: agenthive cancel"
        return [_change("", "replayed", Verdict.STAY, reason)]
    found = []
    for key, index in before.graph.index.items():
        name, mark = split_key(key)
        if name in begun:
            there = after.graph.index.get(renamed.get(name, name) + mark)
            was = (before.state[index], before.attempts[index])
            now = None if there is None else (after.state[there], after.attempts[there])
            if was != now:
                reason = f"it is {was[0]}, and would be {now[0] if now else 'nowhere'}"
                found.append(_change(key, "replayed", Verdict.STAY, reason))
    return found


def moved(new: Graph, records: Sequence[Record], renamed: Mapping[str, str]) -> RunState:
    """The state of a run under another graph. Raises InvalidTransition."""
    state = RunState(new)
    for _, event in history(records):
        step(state, under_new_name(event, renamed))
    return state
