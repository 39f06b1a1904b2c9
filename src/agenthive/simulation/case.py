"""All that is known about one simulation, as plain JSON, and questions about it.

What the judge looks at. Imports nothing of agenthive, as the judge does, so a mistake there cannot
hide here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

Event = dict[str, Any]
Seen = tuple[int, str, dict[str, Any]]

UNDO: Final = "#undo"
RECONCILE: Final = "#reconcile"
MADE: Final = re.compile(r"(?P<of>.+)(?P<mark>\[\d+\]|~\d+|#undo|#reconcile\d*)")
"""The key of a task that was made while the run went: an item, a round, what was done about it."""
MOST_LOSSES: Final = 100
"""Whose process ended during the call more often than that is given up."""
WAITS: Final = frozenset({"approval", "wait_for", "workflow", "delay", "until"})
NO_DECISION: Final = frozenset({"task.late_reply", "task.approval_refused", "task.hold_settled"})
AROUND: Final = frozenset({"when", "delay", "until", "wait_for", "approval", "for_each",
                           "repeat_until", "workflow", "tools", "fallback"})  # fmt: skip
TURNS: Final = frozenset({"tools", "fallback"})
TOOL: Final = re.compile(r"(?P<turn>.+~\d+)\[(?P<at>\d+)\]")
"""The key of a tool that a model has asked for in a turn."""


def is_call(task: Event) -> bool:
    """Whether the task is a call and nothing else."""
    return not AROUND & task.keys()


class Tasks(dict[str, Event]):
    """Name -> task of a definition. Also finds what was made of one, by its key.

    ``events`` are the facts of the run, which say what models have asked for.
    """

    def __init__(self, events: Callable[[], list[Event]]) -> None:
        super().__init__()
        self._events = events

    def __missing__(self, key: str) -> Event:
        tool = TOOL.fullmatch(key)
        if tool is not None:
            return self.tool(tool["turn"], int(tool["at"]))
        made = MADE.fullmatch(key)
        if made is None:
            raise KeyError(key)
        mark = made["mark"].rstrip("0123456789")
        tool = TOOL.fullmatch(made["of"])
        if tool is not None and mark == RECONCILE:
            question = self.tool(tool["turn"], int(tool["at"]))["reconcile"]
            return {**question, "asks": made["of"], "effect": "none"}
        if mark not in (UNDO, RECONCILE):
            return self[made["of"]]
        found = dict(self[self._author_of(made["of"]) + mark])
        return found | {"undoes": made["of"]} if mark == UNDO else found

    def tool(self, turn: str, at: int) -> Event:
        """The call that the tool is which a turn has asked for at that place.

        ``unasked`` if by what is recorded it has asked for nothing there that could be called.
        """
        said = [e for e in self._events() if e["type"] == "task.succeeded" and e["task"] == turn]
        asks = said[0].get("asks", []) if said else []
        asked = asks[at] if at < len(asks) else {"problem": "none"}
        known = {one["name"]: one for one in self[self._author_of(turn)].get("tools", ())}
        if asked.get("problem") or asked["name"] not in known:
            return {"continue_on_failure": True, "effect": "none", "unasked": True}
        return {"continue_on_failure": True, "asked": asked, **known[asked["name"]]}

    def is_turn(self, key: str) -> bool:
        """Whether this is a turn of a model; a round of such a task is none."""
        made = MADE.fullmatch(key)
        if made is None or not made["mark"].startswith("~"):
            return False
        task = self[self._author_of(key)]
        rounds = "repeat_until" in task
        return bool(TURNS & task.keys()) and key.count("~") > rounds

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
    ``rates`` are the calls a minute, an hour and at once that an address takes.
    Where money is at stake: ``batches`` is everything in the order in which it came to be on disk,
    ``limits`` bound all runs, ``accounts`` is how they stand in the end, ``billed`` what calls were
    charged. ``answered``: people have answered in the end whatever was still asked.
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
        self.batches: list[list[tuple[str, Event]]] = []
        self.limits: dict[str, int] = {}
        self.accounts: list[Event] = []
        self.billed: dict[tuple[str, str, int], int] = {}
        self.rates: dict[str, tuple[int | None, int | None, int | None]] = {}
        self.finished = True
        self.answered = False

    def tasks(self, run: str) -> Tasks:
        """Name -> task of a run, compensations as tasks of their own."""
        if run in self._tasks:
            return self._tasks[run]
        found = self._tasks[run] = Tasks(lambda: self.journal.get(run, []))
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

    def succeeded(self, run: str) -> dict[int, str]:
        """Number of a fact -> the task that it made succeed: its call, or what was found out."""
        return {i: task for i, task, how in self._found_out(run) if how == "succeeded"}

    def _found_out(self, run: str) -> Iterator[tuple[int, str, str]]:
        """(number of a fact, task, what it says came of it: succeeded, failed, retry).

        An answer counts for the question that is open: one after each decision to try again.
        """
        again: Counter[str] = Counter()
        decided: set[str] = set()
        for i, event in enumerate(self.journal.get(run, ())):
            kind, task = event["type"], event.get("task", "")
            about, verdict = asked_about(task), verdict_of(event)
            if kind == "task.started":
                decided.discard(task)
            elif kind == "task.resolved":
                decided.add(task)
                again[task] += event["outcome"] == "retry"
                yield i, task, event["outcome"]
            elif kind == "task.succeeded" and not about:
                yield i, task, "succeeded"
            elif (
                verdict is not None
                and about not in decided
                and int(task.removeprefix(about + RECONCILE) or 1) == again[about] + 1
            ):
                again[about] += not verdict
                yield i, about, "succeeded" if verdict else "retry"

    def is_paid_otherwise(self, run: str, task: str, attempt: int) -> bool:
        """Whether a later attempt is the same call to whoever charges for it, or a bill was."""
        return any(
            attempt in event.get("over", ())
            or (event["type"] == "task.hold_settled" and event["attempt"] == attempt)
            for event in self.journal.get(run, ())
            if event.get("task") == task
        )

    def failed(self, run: str) -> set[int]:
        """Numbers of the facts after which a task's call has failed, for now or for good."""
        losses: Counter[str] = Counter()
        found = set()
        for i, event in enumerate(self.journal.get(run, ())):
            losses[event.get("task", "")] += event["type"] == "task.lost"
            lost = event["type"] == "task.lost" and losses[event["task"]] > MOST_LOSSES
            failed = event["type"] in ("task.failed", "task.faulted")
            if lost or failed or event.get("outcome") == "failed":
                found.add(i)
        return found

    def last(self, run: str) -> dict[str, str]:
        """Task -> the type of the last event that decided about it.

        What was found out about a call of unknown outcome counts as if the call had said so.
        """
        found: dict[str, str] = {}
        well, failed = self.succeeded(run), self.failed(run)
        for i, event in enumerate(self.journal.get(run, ())):
            if "task" in event and event["type"] not in NO_DECISION:
                found[event["task"]] = "task.failed" if i in failed else event["type"]
            if i in well:
                found[well[i]] = "task.succeeded"
        return found

    def may_park(self, run: str) -> bool:
        """Whether the run may wait for people, a time, a signal or another run for a while."""
        tasks = self.tasks(run).values()
        once = [one for task in tasks for one in (task, *task.get("tools", ()))]
        unknown = self.answered and any(one.get("effect") == "once" for one in once)
        asks = any("approval" in tool for task in tasks for tool in task.get("tools", ()))
        return unknown or asks or any(WAITS & task.keys() for task in tasks)

    def parent(self, run: str) -> tuple[str, str] | None:
        """The run and the task that this run was begun for."""
        given = self.journal[run][0].get("parent") if self.journal.get(run) else None
        return None if given is None else (given["run"], given["task"])

    def family(self, run: str) -> list[str]:
        """This run and all that it has begun, directly or not."""
        own = [one for one in self.journal if (self.parent(one) or ("",))[0] == run]
        return [run, *(one for child in own for one in self.family(child))]

    def retries_decided(self, run: str, task: str) -> int:
        """How often it was found out that a call of unknown outcome may be made again."""
        return sum((of, how) == (task, "retry") for _, of, how in self._found_out(run))


def asked_about(key: str) -> str:
    """The task that a question is about; empty if it is none."""
    return key.rpartition(RECONCILE)[0]


def verdict_of(event: Event) -> bool | None:
    """What the outside world said about a call of unknown outcome; None if nothing."""
    if event["type"] != "task.succeeded" or not asked_about(event["task"]):
        return None
    told = event.get("result")
    happened = told.get("happened") if isinstance(told, dict) else told
    return happened if isinstance(happened, bool) else None
