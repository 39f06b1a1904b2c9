"""The judge of what stands around calls: conditions, times, items, rounds, runs within runs.

As `oracle`: sees only what an outsider sees, imports nothing of agenthive but the case, gives one
line for each thing that is wrong. To add a promise: a function `_name` listed in `FLOW_CHECKS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final

from agenthive.simulation.case import MADE, TOOL, UNDO, Case, Event, asked_about, is_call

BEGINS: Final = frozenset({"task.started", "task.expanded", "task.child_opened"})
"""Facts that a task goes on with once all that stood before it is passed."""
LITERAL: Final = {"true": True, "false": False}
EVEN: Final = re.compile(r"tasks\.(\w+)\.result\.n % 2 == 0")
"""A condition that the judge can work out."""
GOOD: Final = frozenset({"completed", "partially_completed"})
SECOND: Final = 1_000_000


def author_of(key: str) -> str:
    """The task of the author's that a key belongs to."""
    while (made := MADE.fullmatch(key)) is not None:
        key = made["of"]
    return key


def _conditions(case: Case) -> Iterator[str]:
    """What was not to be done is never begun, nor what only follows from such tasks."""
    for run, events in case.journal.items():
        tasks, out = case.tasks(run), _left_out(case, run)
        decided = {e["task"]: e["go"] for e in events if e["type"] == "task.decided"}
        results = _results(events)
        for event in events:
            name = author_of(event.get("task", ""))
            if event["type"] not in BEGINS or event["task"].endswith(UNDO):
                continue
            if name in out:
                yield f"{run}/{event['task']}: begun, though it was to be left out"
            elif "when" in tasks[name] and name not in decided:
                yield f"{run}/{event['task']}: begun before its condition was looked at"
        for name, go in decided.items():
            said = tasks[name]["when"]
            if said in LITERAL and go is not LITERAL[said]:
                yield f"{run}/{name}: its condition '{said}' gave {go}"
            even = EVEN.fullmatch(said)
            number = results.get(even[1], {}).get("n") if even is not None else None
            if number is not None and go is not (number % 2 == 0):
                yield f"{run}/{name}: its condition gave {go} for {number}"


def _left_out(case: Case, run: str) -> set[str]:
    """The author's tasks that are not to be done: by themselves, or as all before them are not."""
    out: set[str] = set()
    for event in case.journal[run]:
        if event.get("go") is False or _skipped(case, run, event):
            out.add(event["task"])
    grown = True
    while grown:
        grown = False
        for task in case.specs[run].get("tasks", ()):
            deps = task.get("depends_on", ())
            if deps and task["name"] not in out and out.issuperset(deps):
                out.add(task["name"])
                grown = True
    return out


def _skipped(case: Case, run: str, event: Event) -> bool:
    """Somebody rejected one of the author's tasks, which is then left out."""
    if event["type"] != "task.approval_given" or event["approved"]:
        return False
    tasks = case.tasks(run)
    task = tasks.get(event["task"], {})
    calls = task.get("agent") or "workflow" in task
    parts = task.keys() & {"for_each", "repeat_until"}
    asked = task.get("approval", {})
    return bool(calls and not parts and asked.get("on_reject") == "skip")


def _results(events: list[Event]) -> dict[str, Any]:
    """Task -> the result that its call has given."""
    return {e["task"]: e.get("result") for e in events if e["type"] == "task.succeeded"}


def _times(case: Case) -> Iterator[str]:
    """A task waits as long as it says, and nobody wakes it before."""
    for run, events in case.journal.items():
        tasks = case.tasks(run)
        until: dict[str, int] = {}
        woke: set[str] = set()
        for event in events:
            task = event.get("task", "")
            if event["type"] == "task.delayed":
                until[task] = event["until"]
                due = _due(tasks[task], event["at"])
                if due is not None and event["until"] != due:
                    yield f"{run}/{task}: waits until {event['until']}, not {due}"
            elif event["type"] == "task.woke" and task in until:
                if event["at"] < until[task] and task not in woke:
                    yield f"{run}/{task}: woken before its time"
                woke.add(task)
            elif event["type"] in BEGINS and not task.endswith(UNDO):
                name = author_of(task)
                timed = tasks[name].keys() & {"delay", "until"}
                if timed and event["at"] < until.get(name, 1 << 62):
                    yield f"{run}/{task}: begun before its time"


def _due(task: Event, now: int) -> int | None:
    """Until when a task has to wait; None if the judge cannot tell."""
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


def _items(case: Case) -> Iterator[str]:
    """Every item is a task of its own that is given that item; there are no others."""
    for run, events in case.journal.items():
        items: dict[str, list[Any]] = {}
        for event in events:
            if event["type"] == "task.expanded":
                if event["task"] in items:
                    yield f"{run}/{event['task']}: taken apart twice"
                items[event["task"]] = event["items"]
            number = _item_of(event.get("task", ""))
            if event["type"] in BEGINS and number is not None:
                name = author_of(event["task"])
                if number >= len(items.get(name, ())):
                    yield f"{run}/{event['task']}: there is no such item"
        for _, _, call in case.observations("called"):
            number = _item_of(call["task"]) if call["run"] == run else None
            task = case.tasks(run)[call["task"]] if number is not None else {}
            reads = task.get("parameters", {}).get("item") == "{{ item }}"
            if number is None or not reads or task.get("effect") == "none":
                continue  # a pure read may start on items that are lost with the process
            if call["parameters"]["item"] != items[author_of(call["task"])][number]:
                yield f"{run}/{call['task']}: was given {call['parameters']['item']}"


def _item_of(key: str) -> int | None:
    """The number of the item that a key belongs to."""
    found = re.fullmatch(r"[^\[~#]+\[(\d+)\](~\d+)?", key)
    return None if found is None else int(found[1])


def _all_items(case: Case) -> Iterator[str]:
    """Who depends on a task done for each item is given the results of all, in their order."""
    for _, _, call in case.observations("called"):
        run = call["run"]
        tasks = case.tasks(run)
        if tasks[call["task"]].get("effect") == "none" and case.crashes:
            continue  # a pure read may start on results that are lost with the process
        for dep, value in (call.get("dependencies") or {}).items():
            expected = _list_of(case, run, dep) if _one_call_each(tasks[dep]) else None
            if expected is not None and value is not None and value != expected:
                yield f"{run}/{call['task']}: got {value} as results of '{dep}', not {expected}"


def _one_call_each(task: Event) -> bool:
    """Each of its items is one call and nothing else."""
    other = {"repeat_until", "approval", "workflow", "tools", "fallback"}
    return "for_each" in task and not task.keys() & other


def _list_of(case: Case, run: str, name: str) -> list[Any] | None:
    """The results of a task's items in their order; None if some call has given none."""
    taken = next(
        (e for e in case.journal[run] if e["type"] == "task.expanded" and e["task"] == name), None
    )
    results = _results(case.journal[run])
    keys = [f"{name}[{number}]" for number in range(len(taken["items"]) if taken else 0)]
    return [results[key] for key in keys] if all(key in results for key in keys) else None


def _few_at_once(case: Case) -> Iterator[str]:
    """No more items of a task are called at once than it allows."""
    under_way: dict[tuple[str, str], set[str]] = {}
    for _, what, data in case.seen:
        if what == "crashed":
            under_way.clear()
        elif what in ("called", "replied", "stopped") and _item_of(data["task"]) is not None:
            owner = (data["run"], author_of(data["task"]))
            now = under_way.setdefault(owner, set())
            most = case.tasks(owner[0])[owner[1]].get("for_each", {}).get("max_parallel")
            if what != "called":
                now.discard(data["task"])
                continue
            now.add(data["task"])
            if most is not None and len(now) > most:
                yield f"{owner}: {len(now)} items at once, {most} allowed"


def _no_more_items(case: Case) -> Iterator[str]:
    """Once an item has failed for good where that counts, none begins that had to wait."""
    for run, events in case.journal.items():
        tasks = case.tasks(run)
        good: dict[str, int] = {}
        limit: dict[str, int] = {}
        for event in events:
            number, name = _item_of(event.get("task", "")), author_of(event.get("task", ""))
            if number is None or not _one_call_each(tasks[name]):
                continue
            most = tasks[name]["for_each"].get("max_parallel")
            once = tasks[name].get("effect") == "once"  # it may only be unknown
            counts = not once and not tasks[name].get("continue_on_failure")
            if event["type"] == "task.succeeded":
                good[name] = good.get(name, 0) + 1
            elif event["type"] == "task.failed" and most is not None and counts:
                if not event["fault"].get("retriable", True):
                    limit.setdefault(name, most + good.get(name, 0))
            elif event["type"] == "task.started" and number >= limit.get(name, 1 << 62):
                yield f"{run}/{event['task']}: begun after another item had failed"


def _rounds(case: Case) -> Iterator[str]:
    """Rounds come one after the other, no more than allowed, and none after the last."""
    for run, events in case.journal.items():
        tasks = case.tasks(run)
        ended: dict[str, list[bool]] = {}
        results = _results(events)
        for event in events:
            owner, number = _round_of(event.get("task", ""))
            if event["type"] == "task.round_ended":
                owner = event["task"]
                ended.setdefault(owner, []).append(event["done"])
                if event["round"] != len(ended[owner]):
                    yield f"{run}/{owner}: round {event['round']} ended out of turn"
                result = results.get(f"{owner}~{event['round']}")
                stop = tasks[author_of(owner)]["repeat_until"]["until"] == "result.stop"
                told = result.get("stop") if isinstance(result, dict) else None
                if stop and told is not None and told is not event["done"]:
                    yield f"{run}/{owner}: round {event['round']} gave {told}"
            elif tasks.is_turn(event.get("task", "")):
                continue
            elif number and event["type"] in ("task.started", "task.child_opened"):
                before = ended.get(owner, [])
                if number > tasks[author_of(owner)]["repeat_until"].get("max_rounds", 10):
                    yield f"{run}/{event['task']}: one round too many"
                if len(before) < number - 1 or any(before[: number - 1]):
                    yield f"{run}/{event['task']}: begun, though the round before was the last"


def _round_of(key: str) -> tuple[str, int]:
    """Whose round it is, and which; 0 if it is none."""
    owner, mark, number = key.rpartition("~")
    return (owner, int(number)) if mark and number.isdigit() else (key, 0)


def _rounds_read(case: Case) -> Iterator[str]:
    """A round is told its number, and the result of the round before."""
    for _, _, call in case.observations("called"):
        owner, number = _round_of(call["task"])
        tasks = case.tasks(call["run"])
        task = tasks[call["task"]]
        if not number or task.get("effect") == "none" or "round" not in call["parameters"]:
            continue
        if tasks.is_turn(call["task"]):
            continue
        results = _results(case.journal.get(call["run"], []))
        if call["parameters"]["round"] != number:
            yield f"{call['run']}/{call['task']}: was told round {call['parameters']['round']}"
        before = f"{owner}~{number - 1}"
        if before in results and call["parameters"]["previous"] != results[before]:
            yield f"{call['run']}/{call['task']}: got another result of the round before"


def _children(case: Case) -> Iterator[str]:
    """Each task that runs a workflow has one run, which ends as the task is told."""
    status = {e["run"]: e["status"] for e in case.hive if e["type"] == "hive.run_closed"}
    born: dict[tuple[str, str], str] = {}
    for run in case.journal:
        parent = case.parent(run)
        if parent is None:
            continue
        if born.setdefault(parent, run) != run:
            yield f"{parent}: has two runs, {born[parent]} and {run}"
    for run, events in case.journal.items():
        opened: dict[str, str] = {}
        for event in events:
            if event["type"] == "task.child_opened":
                if event["task"] in opened:
                    yield f"{run}/{event['task']}: begun twice"
                opened[event["task"]] = event["run"]
                if born.get((run, event["task"])) != event["run"]:
                    yield f"{run}/{event['task']}: its run {event['run']} is not there"
            elif event["type"] == "task.child_ended":
                yield from _ended_as(case, run, event, status)


def _ended_as(case: Case, run: str, event: Event, status: dict[str, str]) -> Iterator[str]:
    where = f"{run}/{event['task']}"
    told, really = event["status"], status.get(event["run"])
    bad_outputs = bool(event.get("error")) and told == "failed"
    if told != really and not bad_outputs:
        yield f"{where}: was told that its run is {told}, it is {really}"
    spec, result = case.specs[event["run"]], event.get("result") or {}
    if told != "completed":
        return
    results = _results(case.journal[event["run"]])
    last = spec["tasks"][-1] if spec.get("tasks") else {}
    plain = is_call(last) and last.get("name") in results
    given = result.get("last") if "outputs" in spec else result.get(last.get("name"))
    if plain and given != results[last["name"]]:
        yield f"{where}: got {given} of its run, whose last task gave {results[last['name']]}"


def _children_stop(case: Case) -> Iterator[str]:
    """Who is cancelled cancels its runs, and nothing of a run that has ended goes on."""
    for i, event in enumerate(case.hive):
        if event["type"] != "hive.run_closed":
            continue
        for child in case.family(event["run"])[1:]:
            later = any(_closes(other, child) for other in case.hive[i:])
            if later or not any(_closes(other, child) for other in case.hive):
                yield f"{event['run']}: ended before its own run {child}"
    for run, events in case.journal.items():
        asked = next((e["at"] for e in events if e["type"] == "run.cancel_requested"), None)
        ends = {e["run"]: e["at"] for e in events if e["type"] == "task.child_ended"}
        for child in {e["run"] for e in events if e["type"] == "task.child_opened"}:
            kinds = {e["type"] for e in case.journal.get(child, ())}
            undoes = any(e.get("task", "").endswith(UNDO) for e in case.journal.get(child, ()))
            open_then = asked is not None and ends.get(child, 1 << 62) > asked
            if open_then and not undoes and "run.cancel_requested" not in kinds:
                yield f"{run}: was cancelled, and its run {child} was not"


def _closes(event: Event, run: str) -> bool:
    return bool(event["type"] == "hive.run_closed" and event["run"] == run)


def _handed_up(case: Case) -> Iterator[str]:
    """What depends on a task that runs a workflow is given the result of that run."""
    for _, _, call in case.observations("called"):
        run = call["run"]
        tasks = case.tasks(run)
        if tasks[call["task"]].get("effect") == "none":
            continue
        for dep, value in (call.get("dependencies") or {}).items():
            if "workflow" not in tasks[dep] or tasks[dep].keys() & {"for_each", "repeat_until"}:
                continue
            ends = [
                e
                for e in case.journal.get(run, ())
                if e["type"] == "task.child_ended" and e["task"] == dep
            ]
            if ends and ends[0].get("result") != value:
                yield f"{run}/{call['task']}: got another result of '{dep}' than its run gave"


def _failures_count(case: Case) -> Iterator[str]:
    """A run is not complete if an item, a round, a run within it or what one needs has failed."""
    done = {e["run"] for e in case.hive if _closes(e, e.get("run", "")) and _complete(e)}
    for run in done:
        tasks = case.tasks(run)
        bad = {
            e["task"]
            for e in case.journal.get(run, ())
            if e["type"] == "task.child_ended" and e["status"] not in GOOD
        }
        for task, kind in case.last(run).items():
            counts = not asked_about(task) and not task.endswith(UNDO)
            if TOOL.fullmatch(task) or tasks.is_turn(task):
                continue  # what that means, `oracle_turns` says
            failed = kind in ("task.failed", "task.faulted") or task in bad
            tolerated = counts and tasks[author_of(task)].get("continue_on_failure")
            if counts and failed and not tolerated:
                yield f"{run}: completed, though {task} failed"


def _complete(event: Event) -> bool:
    return bool(event["status"] == "completed")


def _parked_at_rest(case: Case) -> Iterator[str]:
    """A run that is said to need somebody's help has no call under way, nor has one within it."""
    above = {run: case.parent(run) for run in case.journal}
    under_way: dict[tuple[str, str, int], set[str]] = {}
    for i, (_, what, data) in enumerate(case.seen):
        if what == "crashed":
            under_way.clear()
        elif what == "called":
            one = (data["run"], data["task"], data["attempt"])
            under_way[one] = set(_up(above, data["run"]))
        elif what in ("replied", "stopped"):
            under_way.pop((data["run"], data["task"], data["attempt"]), None)
        elif what == "parked":
            busy = [one for one, runs in under_way.items() if data["run"] in runs]
            if busy:
                yield f"{data['run']}: said to wait at {i}, with calls under way: {busy}"


def _up(above: dict[str, tuple[str, str] | None], run: str) -> Iterator[str]:
    """A run, and those that it was begun for."""
    at: tuple[str, str] | None = (run, "")
    while at is not None:
        yield at[0]
        at = above.get(at[0])


FLOW_CHECKS: Final[tuple[Callable[[Case], Iterator[str]], ...]] = (
    _conditions,
    _times,
    _items,
    _all_items,
    _few_at_once,
    _no_more_items,
    _rounds,
    _rounds_read,
    _children,
    _children_stop,
    _handed_up,
    _failures_count,
    _parked_at_rest,
)
