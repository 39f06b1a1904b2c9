"""Oracle of control flow: conditions, times, mapped items, iterations, child runs.

As `judge`: reads only what an outside observer sees, imports nothing of agenthive but the case, and
returns one line for each violation. To add a promise: a function `_name` listed in `FLOW_CHECKS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final

from agenthive.simulation.case import (
    COMPENSATION,
    DERIVED_KEY,
    TOOL_KEY,
    Event,
    SimulationCase,
    is_call,
    reconciled_task,
    shown_time,
    true_time,
)

#: Events with which a task starts once its conditions, times and signals are satisfied.
START_EVENTS: Final = frozenset({"task.started", "task.expanded", "task.child_opened"})
LITERALS: Final = {"true": True, "false": False}
#: The one form of condition that this oracle can evaluate.
PARITY_CONDITION: Final = re.compile(r"tasks\.(\w+)\.result\.n % 2 == 0")
SUCCESS_STATUSES: Final = frozenset({"completed", "partially_completed"})
#: Microseconds.
SECOND: Final = 1_000_000


def authored_task(key: str) -> str:
    """The task of the definition that a key belongs to."""
    while (match := DERIVED_KEY.fullmatch(key)) is not None:
        key = match["of"]
    return key


def _conditions_respected(case: SimulationCase) -> Iterator[str]:
    """A task that is excluded never starts, and neither do tasks that only follow from it."""
    for run, events in case.journal.items():
        tasks, excluded = case.tasks(run), _excluded_tasks(case, run)
        decided = {e["task"]: e["go"] for e in events if e["type"] == "task.decided"}
        results = _task_results(events)
        for event in events:
            name = authored_task(event.get("task", ""))
            if event["type"] not in START_EVENTS or event["task"].endswith(COMPENSATION):
                continue
            if name in excluded:
                yield f"{run}/{event['task']}: started, though it was to be skipped"
            elif "when" in tasks[name] and name not in decided:
                yield f"{run}/{event['task']}: started before its condition was evaluated"
        for name, verdict in decided.items():
            condition = tasks[name]["when"]
            if condition in LITERALS and verdict is not LITERALS[condition]:
                yield f"{run}/{name}: its condition '{condition}' gave {verdict}"
            even = PARITY_CONDITION.fullmatch(condition)
            number = results.get(even[1], {}).get("n") if even is not None else None
            if number is not None and verdict is not (number % 2 == 0):
                yield f"{run}/{name}: its condition gave {verdict} for {number}"


def _excluded_tasks(case: SimulationCase, run: str) -> set[str]:
    """The authored tasks that must not run, on their own or because of all their dependencies."""
    excluded: set[str] = set()
    for event in case.journal[run]:
        if event.get("go") is False or _is_rejected(case, run, event):
            excluded.add(event["task"])
    grown = True
    while grown:
        grown = False
        for task in case.specs[run].get("tasks", ()):
            deps = task.get("depends_on", ())
            if deps and task["name"] not in excluded and excluded.issuperset(deps):
                excluded.add(task["name"])
                grown = True
    return excluded


def _is_rejected(case: SimulationCase, run: str, event: Event) -> bool:
    """Whether an approver rejected one of the authored tasks, which is then skipped."""
    if event["type"] != "task.approval_given" or event["approved"]:
        return False
    tasks = case.tasks(run)
    task = tasks.get(event["task"], {})
    calls = task.get("agent") or "workflow" in task
    parts = task.keys() & {"for_each", "repeat_until"}
    approval = task.get("approval", {})
    return bool(calls and not parts and approval.get("on_reject") == "skip")


def _task_results(events: list[Event]) -> dict[str, Any]:
    """Task -> the result of its call."""
    return {e["task"]: e.get("result") for e in events if e["type"] == "task.succeeded"}


def _delays_respected(case: SimulationCase) -> Iterator[str]:
    """A task waits as long as it declares, and does not wake early."""
    for run, events in case.journal.items():
        tasks = case.tasks(run)
        until: dict[str, int] = {}
        woke: set[str] = set()
        for event in events:
            task = event.get("task", "")
            if event["type"] == "task.delayed":
                due_time = _due_time(tasks[task], shown_time(event))
                until[task] = _true_due_time(tasks[task], event)
                if due_time is not None and event["until"] != due_time:
                    yield f"{run}/{task}: waits until {event['until']}, not {due_time}"
            elif event["type"] == "task.woke" and task in until:
                if _time_for(tasks[task], event) < until[task] and task not in woke:
                    yield f"{run}/{task}: woken before its time"
                woke.add(task)
            elif event["type"] in START_EVENTS and not task.endswith(COMPENSATION):
                name = authored_task(task)
                timed = tasks[name].keys() & {"delay", "until"}
                if name in woke and tasks[name].get("until"):
                    continue  # the date had come; the clock may have been set back since
                if timed and _time_for(tasks[name], event) < until.get(name, 1 << 62):
                    yield f"{run}/{task}: started before its time"


def _time_for(task: Event, event: Event) -> int:
    """The time of an event that a task's wait goes by: dates by the clock, delays by the truth."""
    return shown_time(event) if task.get("until") else true_time(event)


def _true_due_time(task: Event, event: Event) -> int:
    """When the wait that begins with an event is over, in the time of `_time_for`."""
    until: int = event["until"]
    return until if task.get("until") else until - shown_time(event) + true_time(event)


def _due_time(task: Event, now: int) -> int | None:
    """Until when a task has to wait, in microseconds; None if the oracle cannot know."""
    delay, until = task.get("delay"), task.get("until", "")
    if isinstance(delay, int | float):
        return now + round(delay * SECOND)
    if until and "{{" not in until:
        try:
            at = datetime.fromisoformat(until.replace("Z", "+00:00"))
        except ValueError:
            return None
        return max(now, round(at.timestamp() * SECOND))
    return None


def _items_match_expansion(case: SimulationCase) -> Iterator[str]:
    """Every mapped item is one task that receives that item, and there are no other items."""
    for run, events in case.journal.items():
        items: dict[str, list[Any]] = {}
        for event in events:
            if event["type"] == "task.expanded":
                if event["task"] in items:
                    yield f"{run}/{event['task']}: mapped twice"
                items[event["task"]] = event["items"]
            number = _item_number(event.get("task", ""))
            if event["type"] in START_EVENTS and number is not None:
                name = authored_task(event["task"])
                if number >= len(items.get(name, ())):
                    yield f"{run}/{event['task']}: there is no such item"
        for _, _, call in case.observations_of("called"):
            number = _item_number(call["task"]) if call["run"] == run else None
            task = case.tasks(run)[call["task"]] if number is not None else {}
            reads = task.get("parameters", {}).get("item") == "{{ item }}"
            if number is None or not reads or task.get("effect") == "none":
                continue  # a pure read may start on items that a crash then loses
            if call["parameters"]["item"] != items[authored_task(call["task"])][number]:
                yield f"{run}/{call['task']}: received {call['parameters']['item']}"


def _item_number(key: str) -> int | None:
    """The index of the mapped item that a key belongs to."""
    match = re.fullmatch(r"[^\[~#]+\[(\d+)\](~\d+)?", key)
    return None if match is None else int(match[1])


def _item_results_passed_on(case: SimulationCase) -> Iterator[str]:
    """A task that depends on a mapped task receives the results of all items, in order."""
    for _, _, call in case.observations_of("called"):
        run = call["run"]
        tasks = case.tasks(run)
        if tasks[call["task"]].get("effect") == "none" and case.crashes:
            continue  # a pure read may start on results that a crash then loses
        for dep, value in (call.get("dependencies") or {}).items():
            expected = _item_results(case, run, dep) if _is_plain_for_each(tasks[dep]) else None
            if expected is not None and value is not None and value != expected:
                yield f"{run}/{call['task']}: got {value} as results of '{dep}', not {expected}"


def _is_plain_for_each(task: Event) -> bool:
    """Whether each of its mapped items is a single call."""
    wrappers = {"repeat_until", "approval", "workflow", "tools", "fallback"}
    return "for_each" in task and not task.keys() & wrappers


def _item_results(case: SimulationCase, run: str, name: str) -> list[Any] | None:
    """The results of a task's items in their order; None if one of them has no result."""
    expansion = next(
        (e for e in case.journal[run] if e["type"] == "task.expanded" and e["task"] == name), None
    )
    results = _task_results(case.journal[run])
    keys = [f"{name}[{number}]" for number in range(len(expansion["items"]) if expansion else 0)]
    return [results[key] for key in keys] if all(key in results for key in keys) else None


def _item_parallelism_respected(case: SimulationCase) -> Iterator[str]:
    """At most as many items of a task are called at once as it allows."""
    under_way: dict[tuple[str, str], set[str]] = {}
    for _, kind, data in case.observations:
        if kind == "crashed":
            under_way.clear()
        elif kind in ("called", "replied", "stopped") and _item_number(data["task"]) is not None:
            owner = (data["run"], authored_task(data["task"]))
            running = under_way.setdefault(owner, set())
            limit = case.tasks(owner[0])[owner[1]].get("for_each", {}).get("max_parallel")
            if kind != "called":
                running.discard(data["task"])
                continue
            running.add(data["task"])
            if limit is not None and len(running) > limit:
                yield f"{owner}: {len(running)} items at once, {limit} allowed"


def _no_items_after_failure(case: SimulationCase) -> Iterator[str]:
    """After the final failure of an item that is not tolerated, no waiting item starts."""
    for run, events in case.journal.items():
        tasks = case.tasks(run)
        successes: dict[str, int] = {}
        limit: dict[str, int] = {}
        for event in events:
            number, name = _item_number(event.get("task", "")), authored_task(event.get("task", ""))
            if number is None or not _is_plain_for_each(tasks[name]):
                continue
            max_parallel = tasks[name]["for_each"].get("max_parallel")
            once = tasks[name].get("effect") == "once"  # the outcome may only be unknown
            counts = not once and not tasks[name].get("continue_on_failure")
            if event["type"] == "task.succeeded":
                successes[name] = successes.get(name, 0) + 1
            elif event["type"] == "task.failed" and max_parallel is not None and counts:
                if not event["fault"].get("retriable", True):
                    limit.setdefault(name, max_parallel + successes.get(name, 0))
            elif event["type"] == "task.started" and number >= limit.get(name, 1 << 62):
                yield f"{run}/{event['task']}: started after another item had failed"


def _iterations_in_order(case: SimulationCase) -> Iterator[str]:
    """Iterations run one after the other, at most as many as allowed, and none after the last."""
    for run, events in case.journal.items():
        tasks = case.tasks(run)
        endings: dict[str, list[bool]] = {}
        results = _task_results(events)
        for event in events:
            owner, number = _iteration_of(event.get("task", ""))
            if event["type"] == "task.round_ended":
                owner = event["task"]
                endings.setdefault(owner, []).append(event["done"])
                if event["round"] != len(endings[owner]):
                    yield f"{run}/{owner}: iteration {event['round']} ended out of order"
                result = results.get(f"{owner}~{event['round']}")
                stop = tasks[authored_task(owner)]["repeat_until"]["until"] == "result.stop"
                reported = result.get("stop") if isinstance(result, dict) else None
                if stop and reported is not None and reported is not event["done"]:
                    yield f"{run}/{owner}: iteration {event['round']} gave {reported}"
            elif tasks.is_model_turn(event.get("task", "")):
                continue
            elif number and event["type"] in ("task.started", "task.child_opened"):
                before = endings.get(owner, [])
                if number > tasks[authored_task(owner)]["repeat_until"].get("max_rounds", 10):
                    yield f"{run}/{event['task']}: one iteration too many"
                if len(before) < number - 1 or any(before[: number - 1]):
                    yield f"{run}/{event['task']}: started after the last iteration"


def _iteration_of(key: str) -> tuple[str, int]:
    """The task that an iteration belongs to, and its number; 0 if the key is not an iteration."""
    owner, mark, number = key.rpartition("~")
    return (owner, int(number)) if mark and number.isdigit() else (key, 0)


def _iterations_get_previous(case: SimulationCase) -> Iterator[str]:
    """An iteration receives its number and the result of the previous iteration."""
    for _, _, call in case.observations_of("called"):
        owner, number = _iteration_of(call["task"])
        tasks = case.tasks(call["run"])
        task = tasks[call["task"]]
        if not number or task.get("effect") == "none" or "round" not in call["parameters"]:
            continue
        if tasks.is_model_turn(call["task"]):
            continue
        results = _task_results(case.journal.get(call["run"], []))
        if call["parameters"]["round"] != number:
            yield f"{call['run']}/{call['task']}: received iteration {call['parameters']['round']}"
        before = f"{owner}~{number - 1}"
        if before in results and call["parameters"]["previous"] != results[before]:
            yield f"{call['run']}/{call['task']}: received another previous result"


def _child_runs_match(case: SimulationCase) -> Iterator[str]:
    """Each task that runs a workflow has one child run, and records how that run ended."""
    status = {e["run"]: e["status"] for e in case.hive if e["type"] == "hive.run_closed"}
    child_runs: dict[tuple[str, str], str] = {}
    for run in case.journal:
        parent = case.find_parent(run)
        if parent is None:
            continue
        if child_runs.setdefault(parent, run) != run:
            yield f"{parent}: has two child runs, {child_runs[parent]} and {run}"
    for run, events in case.journal.items():
        opened: dict[str, str] = {}
        for event in events:
            if event["type"] == "task.child_opened":
                if event["task"] in opened:
                    yield f"{run}/{event['task']}: started twice"
                opened[event["task"]] = event["run"]
                if child_runs.get((run, event["task"])) != event["run"]:
                    yield f"{run}/{event['task']}: its child run {event['run']} does not exist"
            elif event["type"] == "task.child_ended":
                yield from _check_child_result(case, run, event, status)


def _check_child_result(
    case: SimulationCase, run: str, event: Event, status: dict[str, str]
) -> Iterator[str]:
    where = f"{run}/{event['task']}"
    reported, actual = event["status"], status.get(event["run"])
    bad_outputs = bool(event.get("error")) and reported == "failed"
    if reported != actual and not bad_outputs:
        yield f"{where}: recorded its child run as {reported}, it is {actual}"
    spec, result = case.specs[event["run"]], event.get("result") or {}
    if reported != "completed":
        return
    results = _task_results(case.journal[event["run"]])
    last = spec["tasks"][-1] if spec.get("tasks") else {}
    plain = is_call(last) and last.get("name") in results
    value = result.get("last") if "outputs" in spec else result.get(last.get("name"))
    if plain and value != results[last["name"]]:
        yield f"{where}: recorded {value}, its child run gave {results[last['name']]}"


def _children_stop_with_parent(case: SimulationCase) -> Iterator[str]:
    """Cancelling a run cancels its child runs, and a child run never outlives its parent."""
    for i, event in enumerate(case.hive):
        if event["type"] != "hive.run_closed":
            continue
        for child in case.list_family(event["run"])[1:]:
            later = any(_closes_run(closing, child) for closing in case.hive[i:])
            if later or not any(_closes_run(closing, child) for closing in case.hive):
                yield f"{event['run']}: ended before its child run {child}"
    for run, events in case.journal.items():
        cancelled_at = next(
            (true_time(e) for e in events if e["type"] == "run.cancel_requested"), None
        )
        end_times = {e["run"]: true_time(e) for e in events if e["type"] == "task.child_ended"}
        for child in {e["run"] for e in events if e["type"] == "task.child_opened"}:
            kinds = {e["type"] for e in case.journal.get(child, ())}
            compensates = any(
                e.get("task", "").endswith(COMPENSATION) for e in case.journal.get(child, ())
            )
            open_then = cancelled_at is not None and end_times.get(child, 1 << 62) > cancelled_at
            if open_then and not compensates and "run.cancel_requested" not in kinds:
                yield f"{run}: was cancelled, but its child run {child} was not"


def _closes_run(event: Event, run: str) -> bool:
    return bool(event["type"] == "hive.run_closed" and event["run"] == run)


def _child_results_passed_on(case: SimulationCase) -> Iterator[str]:
    """A task that depends on a task with a child run receives the result of that run."""
    for _, _, call in case.observations_of("called"):
        run = call["run"]
        tasks = case.tasks(run)
        if tasks[call["task"]].get("effect") == "none":
            continue
        for dep, value in (call.get("dependencies") or {}).items():
            if "workflow" not in tasks[dep] or tasks[dep].keys() & {"for_each", "repeat_until"}:
                continue
            endings = [
                e
                for e in case.journal.get(run, ())
                if e["type"] == "task.child_ended" and e["task"] == dep
            ]
            if endings and endings[0].get("result") != value:
                yield f"{run}/{call['task']}: another result of '{dep}' than its child run gave"


def _failures_are_counted(case: SimulationCase) -> Iterator[str]:
    """A run is not completed if an item, an iteration, a child run or a required task failed."""
    completed_runs = {
        e["run"] for e in case.hive if _closes_run(e, e.get("run", "")) and _is_completed(e)
    }
    for run in completed_runs:
        tasks = case.tasks(run)
        failed_children = {
            e["task"]
            for e in case.journal.get(run, ())
            if e["type"] == "task.child_ended" and e["status"] not in SUCCESS_STATUSES
        }
        for task, kind in case.find_last_events(run).items():
            counts = not reconciled_task(task) and not task.endswith(COMPENSATION)
            if TOOL_KEY.fullmatch(task) or tasks.is_model_turn(task):
                continue  # `model_turns` judges failed turns
            failed = kind in ("task.failed", "task.faulted") or task in failed_children
            tolerated = counts and tasks[authored_task(task)].get("continue_on_failure")
            if counts and failed and not tolerated:
                yield f"{run}: completed, though {task} failed"


def _is_completed(event: Event) -> bool:
    return bool(event["status"] == "completed")


def _waiting_runs_are_idle(case: SimulationCase) -> Iterator[str]:
    """A run reported as waiting for help has no active call, nor has any of its child runs."""
    parents = {run: case.find_parent(run) for run in case.journal}
    under_way: dict[tuple[str, str, int], set[str]] = {}
    for i, (_, kind, data) in enumerate(case.observations):
        if kind == "crashed":
            under_way.clear()
        elif kind == "called":
            call = (data["run"], data["task"], data["attempt"])
            under_way[call] = set(_ancestors(parents, data["run"]))
        elif kind in ("replied", "stopped"):
            under_way.pop((data["run"], data["task"], data["attempt"]), None)
        elif kind == "parked":
            running = [call for call, runs in under_way.items() if data["run"] in runs]
            if running:
                yield f"{data['run']}: reported as waiting at {i}, with active calls: {running}"


def _ancestors(parents: dict[str, tuple[str, str] | None], run: str) -> Iterator[str]:
    """A run and its ancestors."""
    owner: tuple[str, str] | None = (run, "")
    while owner is not None:
        yield owner[0]
        owner = parents.get(owner[0])


FLOW_CHECKS: Final[tuple[Callable[[SimulationCase], Iterator[str]], ...]] = (
    _conditions_respected,
    _delays_respected,
    _items_match_expansion,
    _item_results_passed_on,
    _item_parallelism_respected,
    _no_items_after_failure,
    _iterations_in_order,
    _iterations_get_previous,
    _child_runs_match,
    _children_stop_with_parent,
    _child_results_passed_on,
    _failures_are_counted,
    _waiting_runs_are_idle,
)
