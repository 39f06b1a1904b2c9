"""All that is known about one simulation, as plain JSON, and questions about it.

What the judge looks at. Imports nothing of agenthive, as the judge does, so a mistake there cannot
hide here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

Event = dict[str, Any]
Seen = tuple[int, str, dict[str, Any]]

UNDO: Final = "#undo"
RECONCILE: Final = "#reconcile"
MADE: Final = re.compile(r"(?P<of>.+)(?P<mark>\[\d+\]|~\d+|#undo|#reconcile\d*)")
"""The key of a task that was made while the run went: an item, a round, what was done about it."""
WAITS: Final = frozenset({"approval", "wait_for", "workflow"})
AROUND: Final = frozenset({"when", "delay", "until", "wait_for", "approval", "for_each",
                           "repeat_until", "workflow"})  # fmt: skip


def is_call(task: Event) -> bool:
    """Whether the task is a call and nothing else."""
    return not AROUND & task.keys()


class Tasks(dict[str, Event]):
    """Name -> task of a definition. Also finds what was made of one, by its key."""

    def __missing__(self, key: str) -> Event:
        made = MADE.fullmatch(key)
        if made is None:
            raise KeyError(key)
        mark = made["mark"].rstrip("0123456789")
        if mark not in (UNDO, RECONCILE):
            return self[made["of"]]
        found = dict(self[self._author_of(made["of"]) + mark])
        return found | {"undoes": made["of"]} if mark == UNDO else found

    def _author_of(self, key: str) -> str:
        """The task of the author's from whose pattern that one was made."""
        while key not in self:
            made = MADE.fullmatch(key)
            if made is None:
                raise KeyError(key)
            key = made["of"]
        return key

    def may_be_bypassed(self, name: str) -> bool:
        """Whether its own condition, or those of all that it depends on, may leave it out."""
        task = self[name]
        asked = task.get("approval") or {}
        deps = task.get("depends_on", ())
        own = "when" in task or asked.get("on_reject") == "skip"
        return own or (bool(deps) and all(self.may_be_bypassed(dep) for dep in deps))


class Case:
    """All that is known about one simulation.

    ``specs`` maps run ids to definitions as plain JSON; ``journal`` maps run ids to their events;
    ``hive`` is the hive's own stream; ``seen`` is what was observed, in order; ``durable_at`` says
    for each (run, event number) how many observations had been made when it was on disk.
    """

    def __init__(self, specs: dict[str, Event], seen: list[Seen]) -> None:
        self.specs = specs
        self.seen = seen
        self.journal: dict[str, list[Event]] = {}
        self.hive: list[Event] = []
        self.durable: dict[str, list[int]] = {}
        self.crashes = 0
        self._tasks: dict[str, Tasks] = {}
        self.max_calls = 1 << 62
        self.finished = True

    def tasks(self, run: str) -> Tasks:
        """Name -> task of a run, compensations as tasks of their own."""
        if run in self._tasks:
            return self._tasks[run]
        found = self._tasks[run] = Tasks()
        retries = {a["name"]: a.get("retry") for a in self.specs[run].get("agents", ())}
        for task in self.specs[run].get("tasks", ()):
            found[task["name"]] = task
            if "compensate" in task:
                found[task["name"] + UNDO] = task["compensate"] | {"undoes": task["name"]}
            if "reconcile" in task:
                asks = {"asks": task["name"], "effect": "none"}
                found[task["name"] + RECONCILE] = task["reconcile"] | asks
        for name, task in found.items():
            found[name] = {"retry": retries.get(task.get("agent")), **task}
        return found

    def observations(self, what: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """(index, time, data) of every observation of that kind."""
        for i, (now, kind, data) in enumerate(self.seen):
            if kind == what:
                yield i, now, data

    def last(self, run: str) -> dict[str, str]:
        """Task -> the type of the last event that decided about it."""
        found: dict[str, str] = {}
        for event in self.journal.get(run, ()):
            if "task" in event and event["type"] != "task.late_reply":
                found[event["task"]] = event["type"]
        return found

    def may_park(self, run: str) -> bool:
        """Whether some task of the run waits for people, a signal or another run."""
        return any(WAITS & task.keys() for task in self.tasks(run).values())

    def retries_decided(self, run: str, task: str) -> int:
        """How often it was found out that a call of unknown outcome may be made again."""
        return sum(_says_again(event, task) for event in self.journal.get(run, ()))


def _says_again(event: Event, task: str) -> bool:
    """Somebody decided so, or who was asked said that it has not happened."""
    if event.get("outcome") == "retry":
        return bool(event["task"] == task)
    told = event.get("result")
    happened = told.get("happened") if isinstance(told, dict) else told
    asked = event.get("task", "").startswith(task + RECONCILE)
    return event["type"] == "task.succeeded" and asked and happened is False
