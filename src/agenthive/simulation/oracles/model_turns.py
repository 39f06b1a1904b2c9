"""The judge of models that have turns: tools, those who go on, what a model is told.

As `oracle`: sees only what an outsider sees, imports nothing of agenthive but the case, gives one
line for each thing that is wrong. To add a promise: a function `_name` listed in `TURN_CHECKS`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from agenthive.simulation.case import TOOL_KEY, TURN_KEYS, Event, SimulationCase, TaskIndex

TURN_KEY: Final = re.compile(r"(?P<of>.+)~(?P<number>\d+)")
START_EVENTS: Final = ("task.started", "task.faulted", "task.approval_requested")


def _turns_in_order(case: SimulationCase) -> Iterator[str]:
    """A turn follows one whose tools have ended, or one that has failed, while others may go on."""
    for run, events in case.journal.items():
        tasks, end_positions = case.tasks(run), _end_positions(case, run)
        started: set[str] = set()
        for i, event in enumerate(events):
            key = event.get("task", "")
            if event["type"] not in START_EVENTS or key in started or not tasks.is_model_turn(key):
                continue
            started.add(key)
            match = TURN_KEY.fullmatch(key)
            assert match is not None
            number = int(match["number"])
            before = f"{match['of']}~{number - 1}"
            if number == 1:
                continue
            if end_positions.get(before, i) >= i:
                yield f"{run}/{key}: begun before the turn before had ended"
                continue
            requests = _requests_of(events, before)
            if requests is None:
                continue  # it had failed; who goes on is looked at below
            if not requests:
                yield f"{run}/{key}: begun, though the turn before had asked for nothing"
            for at in _callable_positions(tasks, before, requests):
                if end_positions.get(f"{before}[{at}]", i) >= i:
                    yield f"{run}/{key}: begun before {before}[{at}] had ended"


def _end_positions(case: SimulationCase, run: str) -> dict[str, int]:
    """Task -> the number of the last fact that ended it, for good or for now."""
    successes, failures = case.find_successes(run), case.find_failures(run)
    positions: dict[str, int] = {}
    for i, event in enumerate(case.journal.get(run, ())):
        cancelled = event["type"] in ("task.cancelled", "task.lost")
        rejected = event["type"] == "task.approval_given" and not event["approved"]
        if i in successes:
            positions[successes[i]] = i
        elif i in failures or cancelled or rejected or event["type"] == "task.resolved":
            positions[event["task"]] = i
    return positions


def _requests_of(events: list[Event], turn: str) -> list[Event] | None:
    """What a turn has asked for; None if it has not said anything."""
    for event in events:
        if event["type"] == "task.succeeded" and event["task"] == turn:
            requests: list[Event] = event.get("asks", [])
            return requests
    return None


def _callable_positions(tasks: TaskIndex, turn: str, requests: list[Event]) -> list[int]:
    """The places of what can be called."""
    return [at for at in range(len(requests)) if "unasked" not in tasks.find_tool(turn, at)]


def _tool_calls_match_requests(case: SimulationCase) -> Iterator[str]:
    """What is called is what was asked for: that agent, that action, those arguments."""
    for _, _, call in case.observations_of("called"):
        if TOOL_KEY.fullmatch(call["task"]) is None:
            continue
        tool = case.tasks(call["run"])[call["task"]]
        where = f"{call['run']}/{call['task']}"
        if "unasked" in tool:
            yield f"{where}: called, though nobody asked for it"
            continue
        if (call["agent"], call["action"]) != (tool["agent"], tool["action"]):
            yield f"{where}: {call['agent']} was asked to {call['action']}"
        arguments = tool["asked"].get("arguments", {})
        expected = {"n": arguments.get("n")} if "parameters" in tool else arguments
        if call["parameters"] != expected:
            yield f"{where}: was given {call['parameters']}, asked for {expected}"


def _tool_results_passed_on(case: SimulationCase) -> Iterator[str]:
    """A model is told every turn before that has said something, and the results as recorded."""
    for _, _, call in case.observations_of("called"):
        run, tasks = call["run"], case.tasks(call["run"])
        if not tasks.is_model_turn(call["task"]) or not tasks[call["task"]].get("tools"):
            continue
        if tasks[call["task"]].get("effect") == "none" and case.crashes:
            continue  # a pure read may start on results that are lost with the process
        events = case.journal.get(run, [])
        results = {e["task"]: e.get("result") for e in events if e["type"] == "task.succeeded"}
        owner, _, number = call["task"].rpartition("~")
        turn_keys = [f"{owner}~{n}" for n in range(1, int(number)) if f"{owner}~{n}" in results]
        passed_turns = call["turns"]
        if [turn["said"] for turn in passed_turns] != [results[turn_key] for turn_key in turn_keys]:
            yield f"{run}/{call['task']}: was told other turns than there were"
            continue
        for turn_key, turn in zip(turn_keys, passed_turns, strict=True):
            yield from _check_tool_results(case, run, turn_key, turn, results)


def _check_tool_results(
    case: SimulationCase, run: str, turn: str, passed_turn: Event, results: dict[str, Any]
) -> Iterator[str]:
    requests = _requests_of(case.journal[run], turn) or []
    if [entry["asked"]["id"] for entry in passed_turn["outcomes"]] != [
        entry["id"] for entry in requests
    ]:
        yield f"{run}/{turn}: was told of other tools than it asked for"
        return
    resolved = {e["task"] for e in case.journal[run] if e["type"] == "task.resolved"}
    for at, entry in enumerate(passed_turn["outcomes"]):
        key = f"{turn}[{at}]"
        if key in resolved or f"{key}#reconcile" in str(list(results)):
            continue  # somebody else has said what came of it
        if key in results and entry["content"] != json.dumps(results[key], separators=(",", ":")):
            yield f"{run}/{key}: the model was told {entry['content']}, not {results[key]}"
        if entry["failed"] is (key in results):
            yield (
                f"{run}/{key}: the model was told that it {'failed' if entry['failed'] else 'did'}"
            )


def _fallbacks_in_order(case: SimulationCase) -> Iterator[str]:
    """Others go on in their order, each after one that could not, and speak from then on."""
    for run, events in case.journal.items():
        tasks = case.tasks(run)
        for event in events:
            key = event.get("task", "")
            if event["type"] != "task.started" or not tasks.is_model_turn(key):
                continue
            owner, _, number = key.rpartition("~")
            task = tasks[key]
            order = [task["agent"], *(fallback["agent"] for fallback in task.get("fallback", ()))]
            failed_turns = [
                k for k in range(1, int(number)) if _requests_of(events, f"{owner}~{k}") is None
            ]
            if len(failed_turns) >= len(order):
                yield f"{run}/{key}: begun, though nobody was left to go on"
            elif event["agent"] != order[len(failed_turns)]:
                yield f"{run}/{key}: {event['agent']} has the turn of {order[len(failed_turns)]}"


def _fallback_needs_open_breaker(case: SimulationCase) -> Iterator[str]:
    """A turn is left to the next model only if there is one, and its own breaker is open."""
    for run, events in case.journal.items():
        tasks = case.tasks(run)
        agents = {entry["name"]: entry for entry in case.specs[run].get("agents", ())}
        for event in events:
            if event["type"] != "task.faulted" or event["fault"]["kind"] != "breaker_open":
                continue
            key = event["task"]
            owner, _, number = key.rpartition("~")
            if not tasks.is_model_turn(key):
                yield f"{run}/{key}: left to others, and is no turn"
                continue
            order = [
                tasks[key]["agent"],
                *(entry["agent"] for entry in tasks[key].get("fallback", ())),
            ]
            failed_turns = [
                k for k in range(1, int(number)) if _requests_of(events, f"{owner}~{k}") is None
            ]
            if len(failed_turns) + 1 >= len(order):
                yield f"{run}/{key}: left to others, and there is nobody"
            elif not _is_breaker_open(case, agents[order[len(failed_turns)]], event["at"]):
                yield f"{run}/{key}: left to others, and its breaker was not open"


def _is_breaker_open(case: SimulationCase, agent: Event, at: int) -> bool:
    """Whether an agent's breaker was open then, or at some moment of that very time."""
    endpoint = f"{agent['type']} {agent['endpoint']}"
    changes = [e for e in case.hive if e.get("endpoint") == endpoint]
    current = [e for e in changes if e["at"] < at][-1:] + [e for e in changes if e["at"] == at]
    return any(e["type"] == "hive.breaker_opened" for e in current)


def _turn_limit_respected(case: SimulationCase) -> Iterator[str]:
    """No turn is one too many, and no run is complete while a model still wants something."""
    completed_runs = {e["run"] for e in case.hive if _is_completed(e)}
    for run, events in case.journal.items():
        tasks = case.tasks(run)
        last: dict[str, int] = {}
        for key in case.find_successes(run).values():
            if tasks.is_model_turn(key):
                owner, _, number = key.rpartition("~")
                last[owner] = max(last.get(owner, 0), int(number))
                requesting_turns = [
                    k for k in range(1, int(number) + 1) if _requests_of(events, f"{owner}~{k}")
                ]
                if tasks[key].get("tools") and len(requesting_turns) > tasks[key].get(
                    "max_turns", 10
                ):
                    yield f"{run}/{key}: one turn too many"
        for owner, latest in last.items() if run in completed_runs else ():
            tolerated = tasks[owner].get("continue_on_failure")
            if _requests_of(events, f"{owner}~{latest}") and not tolerated:
                yield f"{run}: completed, though {owner} still asks for something"


def _is_completed(event: Event) -> bool:
    return bool(event["type"] == "hive.run_closed" and event["status"] == "completed")


def _tasks_called_by_turn(case: SimulationCase) -> Iterator[str]:
    """A task with tools or others who go on is never a call itself."""
    for run, events in case.journal.items():
        tasks = case.tasks(run)
        for event in events:
            key = event.get("task", "")
            if event["type"] == "task.started" and key in tasks and TURN_KEYS & tasks[key].keys():
                yield f"{run}/{key}: called as a whole"


TURN_CHECKS: Final[tuple[Callable[[SimulationCase], Iterator[str]], ...]] = (
    _turns_in_order,
    _tool_calls_match_requests,
    _tool_results_passed_on,
    _fallbacks_in_order,
    _fallback_needs_open_breaker,
    _turn_limit_respected,
    _tasks_called_by_turn,
)
