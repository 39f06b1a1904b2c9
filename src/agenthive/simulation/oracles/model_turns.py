"""Oracle of model turns: tools, fallback agents, and what a model receives.

As `judge`: reads only what an outside observer sees, imports nothing of agenthive but the case, and
returns one line for each violation. To add a promise: a function `_name` listed in `TURN_CHECKS`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from agenthive.simulation.case import (
    TOOL_KEY,
    TURN_KEYS,
    Event,
    SimulationCase,
    TaskIndex,
    true_time,
)

TURN_KEY: Final = re.compile(r"(?P<of>.+)~(?P<number>\d+)")
START_EVENTS: Final = ("task.started", "task.faulted", "task.approval_requested")
#: Failure strategies under which a run continues until every task has ended.
UNSTOPPED_STRATEGIES: Final = ("continue_on_failure", "partial_completion_allowed")
#: Every call of a cycle that ends the turns was requested at least so often.
REPEATS_OF_CYCLE: Final = 4
#: So many turns in a row may be stale at the earliest.
STALE_TURNS: Final = 6
#: The key of a turn that succeeded, and what it requested.
Turn = tuple[str, list[Event]]


def _turns_in_order(case: SimulationCase) -> Iterator[str]:
    """A turn starts after the tools of the previous one, or after a failure with a fallback."""
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
                yield f"{run}/{key}: started before the previous turn had ended"
                continue
            requests = _requests_of(events, before)
            if requests is None:
                continue  # it failed; `_fallbacks_in_order` checks which agent continues
            if not requests:
                yield f"{run}/{key}: started, though the previous turn requested nothing"
            for at in _callable_positions(tasks, before, requests):
                if end_positions.get(f"{before}[{at}]", i) >= i:
                    yield f"{run}/{key}: started before {before}[{at}] had ended"


def _end_positions(case: SimulationCase, run: str) -> dict[str, int]:
    """Task -> the number of the last event that ended it, for good or for now."""
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
    """The tool requests of a turn; None if it has not succeeded."""
    for event in events:
        if event["type"] == "task.succeeded" and event["task"] == turn:
            requests: list[Event] = event.get("asks", [])
            return requests
    return None


def _callable_positions(tasks: TaskIndex, turn: str, requests: list[Event]) -> list[int]:
    """The positions of the requests that can be called."""
    return [at for at in range(len(requests)) if "unasked" not in tasks.find_tool(turn, at)]


def _tool_calls_match_requests(case: SimulationCase) -> Iterator[str]:
    """A tool call has the agent, the action and the arguments that the model requested."""
    for _, _, call in case.observations_of("called"):
        if TOOL_KEY.fullmatch(call["task"]) is None:
            continue
        tool = case.tasks(call["run"])[call["task"]]
        where = f"{call['run']}/{call['task']}"
        if "unasked" in tool:
            yield f"{where}: called without a request"
            continue
        if (call["agent"], call["action"]) != (tool["agent"], tool["action"]):
            yield f"{where}: {call['agent']} was called for {call['action']}"
        arguments = tool["asked"].get("arguments", {})
        expected = {"n": arguments.get("n")} if "parameters" in tool else arguments
        if call["parameters"] != expected:
            yield f"{where}: received {call['parameters']}, requested was {expected}"


def _tool_results_passed_on(case: SimulationCase) -> Iterator[str]:
    """A model receives every previous successful turn, and the results as recorded."""
    for _, _, call in case.observations_of("called"):
        run, tasks = call["run"], case.tasks(call["run"])
        if not tasks.is_model_turn(call["task"]) or not tasks[call["task"]].get("tools"):
            continue
        if tasks[call["task"]].get("effect") == "none" and case.crashes:
            continue  # a pure read may start on results that a crash then loses
        events = case.journal.get(run, [])
        results = {e["task"]: e.get("result") for e in events if e["type"] == "task.succeeded"}
        owner, _, number = call["task"].rpartition("~")
        turn_keys = [f"{owner}~{n}" for n in range(1, int(number)) if f"{owner}~{n}" in results]
        passed_turns = call["turns"]
        if [turn["said"] for turn in passed_turns] != [results[turn_key] for turn_key in turn_keys]:
            yield f"{run}/{call['task']}: received other turns than there were"
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
        yield f"{run}/{turn}: received results of other tools than it requested"
        return
    resolved = {e["task"] for e in case.journal[run] if e["type"] == "task.resolved"}
    for at, entry in enumerate(passed_turn["outcomes"]):
        key = f"{turn}[{at}]"
        if key in resolved or f"{key}#reconcile" in str(list(results)):
            continue  # a resolution has stated its outcome
        if key in results and entry["content"] != json.dumps(results[key], separators=(",", ":")):
            yield f"{run}/{key}: the model received {entry['content']}, not {results[key]}"
        if entry["failed"] is (key in results):
            yield (
                f"{run}/{key}: the model received a {'failure' if entry['failed'] else 'success'}"
            )


def _fallbacks_in_order(case: SimulationCase) -> Iterator[str]:
    """Fallback agents are used in order, each after a failure, and keep the following turns."""
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
                yield f"{run}/{key}: started, though no fallback agent was left"
            elif event["agent"] != order[len(failed_turns)]:
                yield f"{run}/{key}: {event['agent']} has the turn of {order[len(failed_turns)]}"


def _fallback_needs_open_breaker(case: SimulationCase) -> Iterator[str]:
    """A turn moves to a fallback only if there is one, and its own breaker is open."""
    for run, events in case.journal.items():
        tasks = case.tasks(run)
        agents = {entry["name"]: entry for entry in case.specs[run].get("agents", ())}
        for event in events:
            if event["type"] != "task.faulted" or event["fault"]["kind"] != "breaker_open":
                continue
            key = event["task"]
            owner, _, number = key.rpartition("~")
            if not tasks.is_model_turn(key):
                yield f"{run}/{key}: moved to a fallback, but is not a turn"
                continue
            order = [
                tasks[key]["agent"],
                *(entry["agent"] for entry in tasks[key].get("fallback", ())),
            ]
            failed_turns = [
                k for k in range(1, int(number)) if _requests_of(events, f"{owner}~{k}") is None
            ]
            if len(failed_turns) + 1 >= len(order):
                yield f"{run}/{key}: moved to a fallback, but there is none"
            elif not _is_breaker_open(case, agents[order[len(failed_turns)]], true_time(event)):
                yield f"{run}/{key}: moved to a fallback, but its breaker was not open"


def _is_breaker_open(case: SimulationCase, agent: Event, at: int) -> bool:
    """Whether an agent's breaker was open at that time, or at some moment with the same time."""
    endpoint = f"{agent['type']} {agent['endpoint']}"
    changes = [e for e in case.hive if e.get("endpoint") == endpoint]
    current = [e for e in changes if true_time(e) < at][-1:]
    current += [e for e in changes if true_time(e) == at]
    return any(e["type"] == "hive.breaker_opened" for e in current)


def _turn_limit_respected(case: SimulationCase) -> Iterator[str]:
    """No task has too many turns, and no run completes while a model still requests a tool."""
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
                yield f"{run}: completed, though {owner} still requests a tool"


def _is_completed(event: Event) -> bool:
    return bool(event["type"] == "hive.run_closed" and event["status"] == "completed")


def _tasks_called_by_turn(case: SimulationCase) -> Iterator[str]:
    """A task with tools or fallback agents is never called as a whole."""
    for run, events in case.journal.items():
        tasks = case.tasks(run)
        for event in events:
            key = event.get("task", "")
            if event["type"] == "task.started" and key in tasks and TURN_KEYS & tasks[key].keys():
                yield f"{run}/{key}: called as a whole"


def _loops_counted_per_task(case: SimulationCase) -> Iterator[str]:
    """A model is stopped as in a loop for what its own task requested, never for other tasks.

    And it is stopped once a request was repeated more often than its tool allows.
    """
    for run, events in case.journal.items():
        tasks = case.tasks(run)
        turns_by_owner: dict[str, list[Turn]] = {}
        for event in events:
            if event["type"] == "task.succeeded" and tasks.is_model_turn(event["task"]):
                owner = event["task"].rpartition("~")[0]
                turns_by_owner.setdefault(owner, []).append((event["task"], event.get("asks", [])))
        started = {event["task"] for event in events if event["type"] in START_EVENTS}
        runs_to_its_end = _runs_to_its_end(case, run)
        for owner, turns in turns_by_owner.items():
            if _exceeds_repeats(tasks[owner], turns[:-1]):
                yield f"{run}/{owner}: continued, though a request was repeated too often"
            last_turn, requests = turns[-1]
            next_turn = f"{owner}~{int(last_turn.rpartition('~')[2]) + 1}"
            if (
                requests
                and runs_to_its_end
                and len(turns) < tasks[owner].get("max_turns", 10)
                and not _may_be_loop(tasks[owner], turns)
                and not any(key.startswith((f"{last_turn}[", next_turn)) for key in started)
            ):
                yield f"{run}/{owner}: stopped after {last_turn}, though it was in no loop"


def _runs_to_its_end(case: SimulationCase, run: str) -> bool:
    """Whether the run has ended, and nothing made it stop before its tasks had ended."""
    event_types = {event["type"] for event in case.journal[run]}
    return (
        case.specs[run].get("failure_strategy") in UNSTOPPED_STRATEGIES
        and not {"run.cancel_requested", "run.timed_out"} & event_types
        and any(e["type"] == "hive.run_closed" and e["run"] == run for e in case.hive)
    )


def _exceeds_repeats(task: Event, turns: list[Turn]) -> bool:
    """Whether these turns requested a tool with equal arguments more often than it allows."""
    repeats = {tool["name"]: tool.get("repeats", 5) for tool in task.get("tools", ())}
    return any(times > repeats.get(tool, 1) for (tool, _), times in _count_requests(turns).items())


def _may_be_loop(task: Event, turns: list[Turn]) -> bool:
    """Whether these turns may be a loop: too many repeats, a cycle, or too many stale turns."""
    return (
        _exceeds_repeats(task, turns)
        or max(_count_requests(turns).values(), default=0) >= REPEATS_OF_CYCLE
        or len(turns) >= STALE_TURNS
    )


def _count_requests(turns: list[Turn]) -> Counter[tuple[str, str]]:
    return Counter(
        (request["name"], json.dumps(request.get("arguments", {}), sort_keys=True))
        for _, requests in turns
        for request in requests
    )


TURN_CHECKS: Final[tuple[Callable[[SimulationCase], Iterator[str]], ...]] = (
    _turns_in_order,
    _tool_calls_match_requests,
    _tool_results_passed_on,
    _fallbacks_in_order,
    _fallback_needs_open_breaker,
    _turn_limit_respected,
    _tasks_called_by_turn,
    _loops_counted_per_task,
)
