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
Observation = tuple[int, str, dict[str, Any]]

COMPENSATION: Final = "#undo"
RECONCILE: Final = "#reconcile"
DERIVED_KEY: Final = re.compile(r"(?P<of>.+)(?P<mark>\[\d+\]|~\d+|#undo|#reconcile\d*)")
"""The key of a task that was made while the run went: an item, a round, what was done about it."""
MAX_LOSSES: Final = 100
"""Whose process ended during the call more often than that is given up."""
WAIT_KEYS: Final = frozenset({"approval", "wait_for", "workflow", "delay", "until"})
NO_DECISION: Final = frozenset({"task.late_reply", "task.approval_refused", "task.hold_settled"})
CONTROL_KEYS: Final = frozenset(
    {
        "when",
        "delay",
        "until",
        "wait_for",
        "approval",
        "for_each",
        "repeat_until",
        "workflow",
        "tools",
        "fallback",
    }
)
TURN_KEYS: Final = frozenset({"tools", "fallback"})
TOOL_KEY: Final = re.compile(r"(?P<turn>.+~\d+)\[(?P<at>\d+)\]")
"""The key of a tool that a model has asked for in a turn."""


def is_call(task: Event) -> bool:
    """Whether the task is a call and nothing else."""
    return not CONTROL_KEYS & task.keys()


class TaskIndex(dict[str, Event]):
    """Name -> task of a definition. Also finds what was made of one, by its key.

    ``events`` are the facts of the run, which say what models have asked for.
    """

    def __init__(self, events: Callable[[], list[Event]]) -> None:
        super().__init__()
        self._list_events = events

    def __missing__(self, key: str) -> Event:
        tool = TOOL_KEY.fullmatch(key)
        if tool is not None:
            return self.find_tool(tool["turn"], int(tool["at"]))
        match = DERIVED_KEY.fullmatch(key)
        if match is None:
            raise KeyError(key)
        mark = match["mark"].rstrip("0123456789")
        tool = TOOL_KEY.fullmatch(match["of"])
        if tool is not None and mark == RECONCILE:
            question = self.find_tool(tool["turn"], int(tool["at"]))["reconcile"]
            return {**question, "asks": match["of"], "effect": "none"}
        if mark not in (COMPENSATION, RECONCILE):
            return self[match["of"]]
        pattern = dict(self[self._authored_task(match["of"]) + mark])
        return pattern | {"undoes": match["of"]} if mark == COMPENSATION else pattern

    def find_tool(self, turn: str, position: int) -> Event:
        """The call that the tool is which a turn has asked for at that place.

        ``unasked`` if by what is recorded it has asked for nothing there that could be called.
        """
        replies = [
            e for e in self._list_events() if e["type"] == "task.succeeded" and e["task"] == turn
        ]
        requests = replies[0].get("asks", []) if replies else []
        request = requests[position] if position < len(requests) else {"problem": "none"}
        tools = {tool["name"]: tool for tool in self[self._authored_task(turn)].get("tools", ())}
        if request.get("problem") or request["name"] not in tools:
            return {"continue_on_failure": True, "effect": "none", "unasked": True}
        return {"continue_on_failure": True, "asked": request, **tools[request["name"]]}

    def is_model_turn(self, key: str) -> bool:
        """Whether this is a turn of a model; a round of such a task is none."""
        match = DERIVED_KEY.fullmatch(key)
        if match is None or not match["mark"].startswith("~"):
            return False
        task = self[self._authored_task(key)]
        rounds = "repeat_until" in task
        return bool(TURN_KEYS & task.keys()) and key.count("~") > rounds

    def _authored_task(self, key: str) -> str:
        """The task of the author's from whose pattern that one was made."""
        while key not in self:
            match = DERIVED_KEY.fullmatch(key)
            if match is None:
                raise KeyError(key)
            key = match["of"]
        return key

    def may_be_bypassed(self, name: str) -> bool:
        """Whether its own condition, or those of all that it depends on, may leave it out."""
        task = self[name]
        approval = task.get("approval") or {}
        deps = task.get("depends_on", ())
        conditional = "when" in task or approval.get("on_reject") == "skip"
        return conditional or (bool(deps) and all(self.may_be_bypassed(dep) for dep in deps))


class SimulationCase:
    """All that is known about one simulation.

    ``specs`` maps run ids to definitions as plain JSON; ``journal`` maps run ids to their events;
    ``hive`` is the hive's own stream; ``observations`` is what was observed, in order;
    ``durable_at`` says for each (run, event number) how many observations had been made when it was
    on disk. ``rates`` are the calls a minute, an hour and at once that an address takes. Where
    money is at stake: ``batches`` is everything in the order in which it came to be on disk,
    ``limits`` bound all runs, ``accounts`` is how they stand in the end, ``charges`` what calls
    were charged. ``people_answered``: people have answered in the end whatever was still asked.
    """

    def __init__(self, specs: dict[str, Event], observations: list[Observation]) -> None:
        self.specs = specs
        self.observations = observations
        self.journal: dict[str, list[Event]] = {}
        self.hive: list[Event] = []
        self.durable_at: dict[str, list[int]] = {}
        self.crashes = 0
        self._tasks: dict[str, TaskIndex] = {}
        self.max_calls = 1 << 62
        self.batches: list[list[tuple[str, Event]]] = []
        self.limits: dict[str, int] = {}
        self.accounts: list[Event] = []
        self.charges: dict[tuple[str, str, int], int] = {}
        self.rates: dict[str, tuple[int | None, int | None, int | None]] = {}
        self.finished = True
        self.people_answered = False

    def tasks(self, run: str) -> TaskIndex:
        """Name -> task of a run, compensations as tasks of their own."""
        if run in self._tasks:
            return self._tasks[run]
        tasks = self._tasks[run] = TaskIndex(lambda: self.journal.get(run, []))
        retries = {a["name"]: a.get("retry") for a in self.specs[run].get("agents", ())}
        for task in self.specs[run].get("tasks", ()):
            tasks[task["name"]] = task
            if "compensate" in task:
                tasks[task["name"] + COMPENSATION] = task["compensate"] | {"undoes": task["name"]}
            if "reconcile" in task:
                question = {"asks": task["name"], "effect": "none"}
                tasks[task["name"] + RECONCILE] = task["reconcile"] | question
        for name, task in tasks.items():
            tasks[name] = {"retry": retries.get(task.get("agent")), **task}
        return tasks

    def observations_of(self, verb: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """(index, time, data) of every observation of that kind."""
        for i, (now, kind, data) in enumerate(self.observations):
            if kind == verb:
                yield i, now, data

    def find_successes(self, run: str) -> dict[int, str]:
        """Number of a fact -> the task that it made succeed: its call, or what was found out."""
        return {i: task for i, task, outcome in self._iter_outcomes(run) if outcome == "succeeded"}

    def _iter_outcomes(self, run: str) -> Iterator[tuple[int, str, str]]:
        """(number of a fact, task, what it says came of it: succeeded, failed, retry).

        An answer counts for the question that is open: one after each decision to try again.
        """
        retries: Counter[str] = Counter()
        decided: set[str] = set()
        for i, event in enumerate(self.journal.get(run, ())):
            kind, task = event["type"], event.get("task", "")
            about, verdict = reconciled_task(task), reconcile_verdict(event)
            if kind == "task.started":
                decided.discard(task)
            elif kind == "task.resolved":
                decided.add(task)
                retries[task] += event["outcome"] == "retry"
                yield i, task, event["outcome"]
            elif kind == "task.succeeded" and not about:
                yield i, task, "succeeded"
            elif (
                verdict is not None
                and about not in decided
                and int(task.removeprefix(about + RECONCILE) or 1) == retries[about] + 1
            ):
                retries[about] += not verdict
                yield i, about, "succeeded" if verdict else "retry"

    def is_billed_elsewhere(self, run: str, task: str, attempt: int) -> bool:
        """Whether a later attempt is the same call to whoever charges for it, or a bill was."""
        return any(
            attempt in event.get("over", ())
            or (event["type"] == "task.hold_settled" and event["attempt"] == attempt)
            for event in self.journal.get(run, ())
            if event.get("task") == task
        )

    def find_failures(self, run: str) -> set[int]:
        """Numbers of the facts after which a task's call has failed, for now or for good."""
        losses: Counter[str] = Counter()
        numbers = set()
        for i, event in enumerate(self.journal.get(run, ())):
            losses[event.get("task", "")] += event["type"] == "task.lost"
            lost = event["type"] == "task.lost" and losses[event["task"]] > MAX_LOSSES
            failed = event["type"] in ("task.failed", "task.faulted")
            if lost or failed or event.get("outcome") == "failed":
                numbers.add(i)
        return numbers

    def find_last_events(self, run: str) -> dict[str, str]:
        """Task -> the type of the last event that decided about it.

        What was found out about a call of unknown outcome counts as if the call had said so.
        """
        event_types: dict[str, str] = {}
        successes, failures = self.find_successes(run), self.find_failures(run)
        for i, event in enumerate(self.journal.get(run, ())):
            if "task" in event and event["type"] not in NO_DECISION:
                event_types[event["task"]] = "task.failed" if i in failures else event["type"]
            if i in successes:
                event_types[successes[i]] = "task.succeeded"
        return event_types

    def may_wait(self, run: str) -> bool:
        """Whether the run may wait for people, a time, a signal or another run for a while."""
        tasks = self.tasks(run).values()
        calls = [call for task in tasks for call in (task, *task.get("tools", ()))]
        unknown = self.people_answered and any(call.get("effect") == "once" for call in calls)
        asks = any("approval" in tool for task in tasks for tool in task.get("tools", ()))
        return unknown or asks or any(WAIT_KEYS & task.keys() for task in tasks)

    def find_parent(self, run: str) -> tuple[str, str] | None:
        """The run and the task that this run was begun for."""
        parent = self.journal[run][0].get("parent") if self.journal.get(run) else None
        return None if parent is None else (parent["run"], parent["task"])

    def list_family(self, run: str) -> list[str]:
        """This run and all that it has begun, directly or not."""
        children = [
            member for member in self.journal if (self.find_parent(member) or ("",))[0] == run
        ]
        return [run, *(member for child in children for member in self.list_family(child))]

    def count_retry_decisions(self, run: str, task: str) -> int:
        """How often it was found out that a call of unknown outcome may be made again."""
        return sum(
            (owner, outcome) == (task, "retry") for _, owner, outcome in self._iter_outcomes(run)
        )


def reconciled_task(key: str) -> str:
    """The task that a question is about; empty if it is none."""
    return key.rpartition(RECONCILE)[0]


def reconcile_verdict(event: Event) -> bool | None:
    """What the outside world said about a call of unknown outcome; None if nothing."""
    if event["type"] != "task.succeeded" or not reconciled_task(event["task"]):
        return None
    result = event.get("result")
    happened = result.get("happened") if isinstance(result, dict) else result
    return happened if isinstance(happened, bool) else None
