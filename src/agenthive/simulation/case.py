"""Everything the oracles may read about one simulation, as plain JSON, and queries over it.

Imports nothing of agenthive, as the oracles do, so that a mistake in the engine cannot hide a
violation here. To add a query that several oracles need: a method of `SimulationCase`.
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
#: The key of a task that the run itself created: a mapped item or model tool (``[n]``), an
#: iteration or model turn (``~n``), a compensation, a reconciliation.
DERIVED_KEY: Final = re.compile(r"(?P<of>.+)(?P<mark>\[\d+\]|~\d+|#undo|#reconcile\d*)")
#: A call whose process ends more often than this counts as failed.
MAX_LOSSES: Final = 100
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
#: The key of a tool call that a model requested in a turn.
TOOL_KEY: Final = re.compile(r"(?P<turn>.+~\d+)\[(?P<at>\d+)\]")


def true_time(event: Event) -> int:
    """When an event happened (us), whatever the clock of the process showed.

    What a workflow gives as a length of time is a length of this time.
    """
    return int(event["true"] if "true" in event else event["at"])


def shown_time(event: Event) -> int:
    """What the clock of the process showed at an event (us): dates and days go by it."""
    return int(event.get("wall") or event["at"])


def is_call(task: Event) -> bool:
    """Whether the task is a single call, without any control flow."""
    return not CONTROL_KEYS & task.keys()


class TaskIndex(dict[str, Event]):
    """Task name -> task of a definition; also resolves the keys of derived tasks.

    ``events`` returns the events of the run, which record the tools that models have requested.
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
        """The tool call that a turn requested at that position.

        The result is named ``unasked`` if the recorded requests have nothing callable at that
        position.
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
        """Whether the key belongs to a model turn; an iteration of a task with tools does not."""
        match = DERIVED_KEY.fullmatch(key)
        if match is None or not match["mark"].startswith("~"):
            return False
        task = self[self._authored_task(key)]
        rounds = "repeat_until" in task
        return bool(TURN_KEYS & task.keys()) and key.count("~") > rounds

    def _authored_task(self, key: str) -> str:
        """The task of the definition from which a derived task was created."""
        while key not in self:
            match = DERIVED_KEY.fullmatch(key)
            if match is None:
                raise KeyError(key)
            key = match["of"]
        return key

    def may_be_bypassed(self, name: str) -> bool:
        """Whether its condition, or those of all its dependencies, may skip the task."""
        task = self[name]
        approval = task.get("approval") or {}
        deps = task.get("depends_on", ())
        conditional = "when" in task or approval.get("on_reject") == "skip"
        return conditional or (bool(deps) and all(self.may_be_bypassed(dep) for dep in deps))


class SimulationCase:
    """Everything that is known about one simulation.

    ``specs`` maps run ids to definitions as plain JSON; ``journal`` maps run ids to their events;
    ``hive`` is the stream of the hive itself; ``observations`` is what was observed, in order;
    ``durable_at`` gives, for each (run, event number), how many observations had been made when the
    event was on disk. ``rates`` maps an endpoint to its limits: calls a minute, an hour, and at
    once. For budgets: ``batches`` are all batches in commit order, ``limits`` apply to all runs
    together, ``accounts`` are the final balances, ``charges`` is what the world charged for calls.
    ``people_answered``: whether every open request was answered in the end.
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
        """Task name -> task of a run; compensations are tasks of their own."""
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
        """Event number -> the task that succeeded with it, by its call or by a reconciliation."""
        return {i: task for i, task, outcome in self._iter_outcomes(run) if outcome == "succeeded"}

    def _iter_outcomes(self, run: str) -> Iterator[tuple[int, str, str]]:
        """(event number, task, outcome: succeeded, failed or retry).

        A reconciliation counts only while the outcome is open: once after each decision to retry.
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
        """Whether another attempt is billed as the same call, or a late bill was recorded."""
        return any(
            attempt in event.get("over", ())
            or (event["type"] == "task.hold_settled" and event["attempt"] == attempt)
            for event in self.journal.get(run, ())
            if event.get("task") == task
        )

    def find_failures(self, run: str) -> set[int]:
        """Numbers of the events after which a task's call had failed, for now or for good."""
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
        """Task -> the type of the last event that decided its state.

        The reconciled outcome of a call counts as if the call itself had returned it.
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
        """Whether the run may wait for people, a time, a signal or a child run."""
        tasks = self.tasks(run).values()
        calls = [call for task in tasks for call in (task, *task.get("tools", ()))]
        unknown = self.people_answered and any(call.get("effect") == "once" for call in calls)
        asks = any("approval" in tool for task in tasks for tool in task.get("tools", ()))
        return unknown or asks or any(WAIT_KEYS & task.keys() for task in tasks)

    def find_parent(self, run: str) -> tuple[str, str] | None:
        """The run and the task that started this run."""
        parent = self.journal[run][0].get("parent") if self.journal.get(run) else None
        return None if parent is None else (parent["run"], parent["task"])

    def list_family(self, run: str) -> list[str]:
        """This run and all of its descendants."""
        children = [
            member for member in self.journal if (self.find_parent(member) or ("",))[0] == run
        ]
        return [run, *(member for child in children for member in self.list_family(child))]

    def count_retry_decisions(self, run: str, task: str) -> int:
        """How often a reconciliation decided that a call may be made again."""
        return sum(
            (owner, outcome) == (task, "retry") for _, owner, outcome in self._iter_outcomes(run)
        )


def reconciled_task(key: str) -> str:
    """The task that a reconciliation key is about; empty if the key is not one."""
    return key.rpartition(RECONCILE)[0]


def reconcile_verdict(event: Event) -> bool | None:
    """The outcome that a reconciliation found for a call of unknown outcome; None if none."""
    if event["type"] != "task.succeeded" or not reconciled_task(event["task"]):
        return None
    result = event.get("result")
    happened = result.get("happened") if isinstance(result, dict) else result
    return happened if isinstance(happened, bool) else None
