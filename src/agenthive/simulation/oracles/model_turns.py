"""The judge of models that have turns: tools, those who go on, what a model is told.

As `oracle`: sees only what an outsider sees, imports nothing of agenthive but the case, gives one
line for each thing that is wrong. To add a promise: a function `_name` listed in `TURN_CHECKS`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from agenthive.simulation.case import TOOL, TURNS, Case, Event, Tasks

TURN: Final = re.compile(r"(?P<of>.+)~(?P<number>\d+)")
BEGINS: Final = ("task.started", "task.faulted", "task.approval_requested")


def _turns_in_order(case: Case) -> Iterator[str]:
    """A turn follows one whose tools have ended, or one that has failed, while others may go on."""
    for run, events in case.journal.items():
        tasks, ends = case.tasks(run), _ends(case, run)
        seen: set[str] = set()
        for i, event in enumerate(events):
            key = event.get("task", "")
            if event["type"] not in BEGINS or key in seen or not tasks.is_turn(key):
                continue
            seen.add(key)
            made = TURN.fullmatch(key)
            assert made is not None
            number = int(made["number"])
            before = f"{made['of']}~{number - 1}"
            if number == 1:
                continue
            if ends.get(before, i) >= i:
                yield f"{run}/{key}: begun before the turn before had ended"
                continue
            asks = _asks(events, before)
            if asks is None:
                continue  # it had failed; who goes on is looked at below
            if not asks:
                yield f"{run}/{key}: begun, though the turn before had asked for nothing"
            for at in _called(tasks, before, asks):
                if ends.get(f"{before}[{at}]", i) >= i:
                    yield f"{run}/{key}: begun before {before}[{at}] had ended"


def _ends(case: Case, run: str) -> dict[str, int]:
    """Task -> the number of the last fact that ended it, for good or for now."""
    well, failed = case.succeeded(run), case.failed(run)
    found: dict[str, int] = {}
    for i, event in enumerate(case.journal.get(run, ())):
        cancelled = event["type"] in ("task.cancelled", "task.lost")
        rejected = event["type"] == "task.approval_given" and not event["approved"]
        if i in well:
            found[well[i]] = i
        elif i in failed or cancelled or rejected or event["type"] == "task.resolved":
            found[event["task"]] = i
    return found


def _asks(events: list[Event], turn: str) -> list[Event] | None:
    """What a turn has asked for; None if it has not said anything."""
    for event in events:
        if event["type"] == "task.succeeded" and event["task"] == turn:
            asks: list[Event] = event.get("asks", [])
            return asks
    return None


def _called(tasks: Tasks, turn: str, asks: list[Event]) -> list[int]:
    """The places of what can be called."""
    return [at for at in range(len(asks)) if "unasked" not in tasks.tool(turn, at)]


def _tools_as_asked(case: Case) -> Iterator[str]:
    """What is called is what was asked for: that agent, that action, those arguments."""
    for _, _, call in case.observations("called"):
        if TOOL.fullmatch(call["task"]) is None:
            continue
        tool = case.tasks(call["run"])[call["task"]]
        where = f"{call['run']}/{call['task']}"
        if "unasked" in tool:
            yield f"{where}: called, though nobody asked for it"
            continue
        if (call["agent"], call["action"]) != (tool["agent"], tool["action"]):
            yield f"{where}: {call['agent']} was asked to {call['action']}"
        asked = tool["asked"].get("arguments", {})
        wanted = {"n": asked.get("n")} if "parameters" in tool else asked
        if call["parameters"] != wanted:
            yield f"{where}: was given {call['parameters']}, asked for {wanted}"


def _told_what_came_of_it(case: Case) -> Iterator[str]:
    """A model is told every turn before that has said something, and the results as recorded."""
    for _, _, call in case.observations("called"):
        run, tasks = call["run"], case.tasks(call["run"])
        if not tasks.is_turn(call["task"]) or not tasks[call["task"]].get("tools"):
            continue
        if tasks[call["task"]].get("effect") == "none" and case.crashes:
            continue  # a pure read may start on results that are lost with the process
        events = case.journal.get(run, [])
        results = {e["task"]: e.get("result") for e in events if e["type"] == "task.succeeded"}
        of, _, number = call["task"].rpartition("~")
        said = [f"{of}~{k}" for k in range(1, int(number)) if f"{of}~{k}" in results]
        told = call["turns"]
        if [turn["said"] for turn in told] != [results[one] for one in said]:
            yield f"{run}/{call['task']}: was told other turns than there were"
            continue
        for one, turn in zip(said, told, strict=True):
            yield from _told(case, run, one, turn, results)


def _told(case: Case, run: str, turn: str, told: Event, results: dict[str, Any]) -> Iterator[str]:
    asks = _asks(case.journal[run], turn) or []
    if [one["asked"]["id"] for one in told["outcomes"]] != [one["id"] for one in asks]:
        yield f"{run}/{turn}: was told of other tools than it asked for"
        return
    resolved = {e["task"] for e in case.journal[run] if e["type"] == "task.resolved"}
    for at, one in enumerate(told["outcomes"]):
        key = f"{turn}[{at}]"
        if key in resolved or f"{key}#reconcile" in str(list(results)):
            continue  # somebody else has said what came of it
        if key in results and one["content"] != json.dumps(results[key], separators=(",", ":")):
            yield f"{run}/{key}: the model was told {one['content']}, not {results[key]}"
        if one["failed"] is (key in results):
            yield f"{run}/{key}: the model was told that it {'failed' if one['failed'] else 'did'}"


def _who_goes_on(case: Case) -> Iterator[str]:
    """Others go on in their order, each after one that could not, and speak from then on."""
    for run, events in case.journal.items():
        tasks = case.tasks(run)
        for event in events:
            key = event.get("task", "")
            if event["type"] != "task.started" or not tasks.is_turn(key):
                continue
            of, _, number = key.rpartition("~")
            task = tasks[key]
            order = [task["agent"], *(one["agent"] for one in task.get("fallback", ()))]
            could_not = [k for k in range(1, int(number)) if _asks(events, f"{of}~{k}") is None]
            if len(could_not) >= len(order):
                yield f"{run}/{key}: begun, though nobody was left to go on"
            elif event["agent"] != order[len(could_not)]:
                yield f"{run}/{key}: {event['agent']} has the turn of {order[len(could_not)]}"


def _leaves_it_to_others(case: Case) -> Iterator[str]:
    """A turn is left to the next model only if there is one, and its own breaker is open."""
    for run, events in case.journal.items():
        tasks = case.tasks(run)
        agents = {one["name"]: one for one in case.specs[run].get("agents", ())}
        for event in events:
            if event["type"] != "task.faulted" or event["fault"]["kind"] != "breaker_open":
                continue
            key = event["task"]
            of, _, number = key.rpartition("~")
            if not tasks.is_turn(key):
                yield f"{run}/{key}: left to others, and is no turn"
                continue
            order = [tasks[key]["agent"], *(one["agent"] for one in tasks[key].get("fallback", ()))]
            gone = [k for k in range(1, int(number)) if _asks(events, f"{of}~{k}") is None]
            if len(gone) + 1 >= len(order):
                yield f"{run}/{key}: left to others, and there is nobody"
            elif not _is_open(case, agents[order[len(gone)]], event["at"]):
                yield f"{run}/{key}: left to others, and its breaker was not open"


def _is_open(case: Case, agent: Event, at: int) -> bool:
    """Whether an agent's breaker was open then, or at some moment of that very time."""
    endpoint = f"{agent['type']} {agent['endpoint']}"
    said = [e for e in case.hive if e.get("endpoint") == endpoint]
    then = [e for e in said if e["at"] < at][-1:] + [e for e in said if e["at"] == at]
    return any(e["type"] == "hive.breaker_opened" for e in then)


def _ends_when_it_may(case: Case) -> Iterator[str]:
    """No turn is one too many, and no run is complete while a model still wants something."""
    done = {e["run"] for e in case.hive if _complete(e)}
    for run, events in case.journal.items():
        tasks = case.tasks(run)
        last: dict[str, int] = {}
        for key in case.succeeded(run).values():
            if tasks.is_turn(key):
                of, _, number = key.rpartition("~")
                last[of] = max(last.get(of, 0), int(number))
                said = [k for k in range(1, int(number) + 1) if _asks(events, f"{of}~{k}")]
                if tasks[key].get("tools") and len(said) > tasks[key].get("max_turns", 10):
                    yield f"{run}/{key}: one turn too many"
        for of, latest in last.items() if run in done else ():
            tolerated = tasks[of].get("continue_on_failure")
            if _asks(events, f"{of}~{latest}") and not tolerated:
                yield f"{run}: completed, though {of} still asks for something"


def _complete(event: Event) -> bool:
    return bool(event["type"] == "hive.run_closed" and event["status"] == "completed")


def _every_task_has_turns(case: Case) -> Iterator[str]:
    """A task with tools or others who go on is never a call itself."""
    for run, events in case.journal.items():
        tasks = case.tasks(run)
        for event in events:
            key = event.get("task", "")
            if event["type"] == "task.started" and key in tasks and TURNS & tasks[key].keys():
                yield f"{run}/{key}: called as a whole"


TURN_CHECKS: Final[tuple[Callable[[Case], Iterator[str]], ...]] = (
    _turns_in_order,
    _tools_as_asked,
    _told_what_came_of_it,
    _who_goes_on,
    _leaves_it_to_others,
    _ends_when_it_may,
    _every_task_has_turns,
)
