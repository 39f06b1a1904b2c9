"""The judge of a simulation: what must never happen, whatever fails.

Looks only at what an outsider sees: acknowledgements, calls, effects, endings, and the journal as
plain JSON. Imports nothing of agenthive, so a mistake there cannot hide here. Each check gives one
line for each thing that is wrong. To add a promise: a function `_name` listed in `CHECKS`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from agenthive.simulation.case import UNDO, Case, Event, is_call
from agenthive.simulation.oracles.budget import MONEY_CHECKS
from agenthive.simulation.oracles.flow import FLOW_CHECKS
from agenthive.simulation.oracles.human_input import PEOPLE_CHECKS
from agenthive.simulation.oracles.model_turns import TURN_CHECKS
from agenthive.simulation.oracles.rate_limits import LIMIT_CHECKS

CLOSED: Final = (
    "completed", "partially_completed", "failed", "cancelled", "compensated", "compensation_failed",
)  # fmt: skip
REFUSED: Final = ("rate_limited", "overloaded", "refused")
TRIED: Final = ("task.started", "task.faulted")
ENDS: Final = (
    *TRIED,
    "task.succeeded",
    "task.failed",
    "task.lost",
    "task.cancelled",
    "task.resolved",
)
PLAIN: Final = re.compile(r"\{\{ *tasks\.(\w+)\.result((?:\.\w+)*) *\}\}")
"""A parameter that is a result, or a member of one: the judge can tell what it must be."""


def judge(case: Case) -> list[str]:
    """One line for each promise that was broken; empty when all held."""
    return [line for check in CHECKS for line in check(case)]


def _everything_ends(case: Case) -> Iterator[str]:
    if not case.finished:
        yield "the simulation does not come to an end"
    closed = {event["run"]: event["status"] for event in case.hive if _is(event, "run_closed")}
    for run in case.journal:
        if run not in closed and not _awaits_somebody(case, run):
            yield f"{run}: neither ended nor waiting for somebody"


def _awaits_somebody(case: Case, run: str) -> bool:
    """Some task acts once and nobody knows whether it has, or its agent is missing."""
    if case.answered:
        return any("task.blocked" in case.last(one).values() for one in case.family(run))
    tasks = case.tasks(run)
    return case.may_park(run) or any(
        kind == "task.blocked"
        or (
            kind in ("task.lost", "task.failed", "task.cancelled")
            and _effect(tasks[task]) == "once"
            and "undoes" not in tasks[task]
        )
        for task, kind in case.last(run).items()
    )


def _acknowledged_is_kept(case: Case) -> Iterator[str]:
    for _, _, data in case.observations("acknowledged"):
        if data["run"] and data["run"] not in case.journal:
            yield f"{data['run']}: acknowledged and not in the journal"


def _acknowledged_after_commit(case: Case) -> Iterator[str]:
    for i, _, data in case.observations("acknowledged"):
        run = data["run"]
        if run and not any(at <= i for at in case.durable.get(run, ())[:1]):
            yield f"{run}: acknowledged before it was on disk"


def _one_ending(case: Case) -> Iterator[str]:
    endings: dict[str, str] = {}
    for _, _, data in case.observations("ended"):
        if endings.setdefault(data["run"], data["status"]) != data["status"]:
            yield f"{data['run']}: ended twice, differently"
    for event in case.hive:
        if _is(event, "run_closed"):
            told = endings.get(event["run"], event["status"])
            if told != event["status"]:
                yield f"{event['run']}: told {told}, recorded {event['status']}"
    counts: dict[str, int] = {}
    for event in case.hive:
        if _is(event, "run_closed"):
            counts[event["run"]] = counts.get(event["run"], 0) + 1
            if counts[event["run"]] > 1:
                yield f"{event['run']}: closed twice"


def _hive_knows_its_runs(case: Case) -> Iterator[str]:
    """The hive's stream opens every run once, and closes it with all the events it holds."""
    opened = [event["run"] for event in case.hive if _is(event, "run_opened")]
    if sorted(opened) != sorted(case.journal):
        yield f"the hive opened {sorted(opened)}, there are {sorted(case.journal)}"
    for event in case.hive:
        held = len(case.journal.get(event.get("run", ""), ()))
        if _is(event, "run_closed") and event["events"] != held:
            yield f"{event['run']}: closed with {event['events']} events, holds {held}"


def _intents(case: Case, run: str) -> dict[tuple[str, int, str], int]:
    """(task, attempt, key) -> how much had been seen when that intent was on disk."""
    found: dict[tuple[str, int, str], int] = {}
    for event, at in zip(case.journal.get(run, ()), case.durable.get(run, ()), strict=False):
        if event["type"] == "task.started":
            found.setdefault((event["task"], event["attempt"], event["key"]), at)
    return found


def _intent_before_call(case: Case) -> Iterator[str]:
    intents: dict[str, dict[tuple[str, int, str], int]] = {}
    for i, _, call in case.observations("called"):
        run, task = call["run"], call["task"]
        if _effect(case.tasks(run)[task]) == "none":
            continue
        if run not in intents:
            intents[run] = _intents(case, run)
        written = intents[run].get((task, call["attempt"], call["key"]))
        if written is None or written > i:
            yield f"{run}/{task}: attempt {call['attempt']} called without a recorded intent"


def _stable_keys(case: Case) -> Iterator[str]:
    keys: dict[tuple[str, str], str] = {}
    owners: dict[str, tuple[str, str]] = {}
    for _, _, call in case.observations("called"):
        owner = (call["run"], call["task"])
        if keys.setdefault(owner, call["key"]) != call["key"]:
            yield f"{owner}: the idempotency key changed between attempts"
        if owners.setdefault(call["key"], owner) != owner:
            yield f"{owner}: shares its idempotency key with {owners[call['key']]}"


def _once_means_once(case: Case) -> Iterator[str]:
    refused = {
        (data["run"], data["task"], data["attempt"])
        for _, _, data in case.observations("replied")
        if (data["reply"].get("fault") or {}).get("kind") in REFUSED
    }
    made: dict[tuple[str, str], int] = {}
    for _, _, call in case.observations("called"):
        owner = (call["run"], call["task"])
        if _effect(case.tasks(owner[0])[owner[1]]) != "once":
            continue
        if (*owner, call["attempt"]) not in refused:
            made[owner] = made.get(owner, 0) + 1
            if made[owner] > 1 + case.retries_decided(*owner):
                yield f"{owner}: effect 'once' was called again"


def _results_are_real(case: Case) -> Iterator[str]:
    replies: dict[tuple[str, str, int], list[Any]] = {}
    for _, _, data in case.observations("replied"):
        owner = (data["run"], data["task"], data["attempt"])
        replies.setdefault(owner, []).append(data["reply"])
    for run, events in case.journal.items():
        done: set[str] = set()
        current: dict[str, int] = {}
        for event in events:
            if event["type"] == "task.started":
                current[event["task"]] = event["attempt"]
            if event["type"] not in ("task.succeeded", "task.failed"):
                continue
            task = event["task"]
            if task in done:
                yield f"{run}/{task}: an ended task changed again"
            if event["attempt"] != current.get(task):
                yield f"{run}/{task}: an answer of attempt {event['attempt']} counted"
            if event["type"] == "task.succeeded":
                done.add(task)
                given = replies.get((run, task, event["attempt"]), [])
                if not any(r.get("result") == event.get("result") for r in given):
                    yield f"{run}/{task}: recorded a result nobody gave"


def _dependencies_first(case: Case) -> Iterator[str]:
    for run, events in case.journal.items():
        tasks = case.tasks(run)
        ended: dict[str, str] = {}
        well, failed = case.succeeded(run), case.failed(run)
        for i, event in enumerate(events):
            if i in failed:
                ended[event["task"]] = "task.failed"
            elif i in well:
                ended[well[i]] = "task.succeeded"
            if event["type"] != "task.started":
                continue
            for dep in tasks[event["task"]].get("depends_on", ()):
                end = ended.get(dep)
                if (end is None and tasks.may_be_bypassed(dep)) or not is_call(tasks[dep]):
                    continue
                tolerated = tasks[dep].get("continue_on_failure", False)
                if end is None or (end == "task.failed" and not tolerated):
                    yield f"{run}/{event['task']}: started before '{dep}' had succeeded"


def _handed_on(case: Case) -> Iterator[str]:
    results = {
        run: {e["task"]: e.get("result") for e in events if e["type"] == "task.succeeded"}
        for run, events in case.journal.items()
    }
    for _, _, call in case.observations("called"):
        run, known = call["run"], results.get(call["run"], {})
        task = case.tasks(run)[call["task"]]
        if _effect(task) == "none":
            continue  # a pure read may start on results that are lost with the process
        for dep, value in (call.get("dependencies") or {}).items():
            if dep in known and known[dep] != value:
                yield f"{run}/{call['task']}: got another result of '{dep}' than is recorded"
        for name, text in (task.get("parameters") or {}).items():
            plain = PLAIN.fullmatch(text) if isinstance(text, str) else None
            if plain is None or plain[1] not in known:
                continue
            given, told = call["parameters"].get(name), _member(known[plain[1]], plain[2])
            if given != told:
                yield f"{run}/{call['task']}: was given {given} as {name}, the result holds {told}"


def _member(result: Any, path: str) -> Any:
    """What stands under ``.a.b`` in a result."""
    for key in path.split(".")[1:]:
        result = result.get(key) if isinstance(result, dict) else None
    return result


def _attempts_bounded(case: Case) -> Iterator[str]:
    for run, events in case.journal.items():
        tasks = case.tasks(run)
        starts = Counter(event["task"] for event in events if event["type"] == "task.started")
        lost = Counter(event["task"] for event in events if _is_no_attempt(event))
        for task, count in starts.items():
            most = (tasks[task].get("retry") or {}).get("max_attempts", 3) + lost[task]
            most *= 1 + case.retries_decided(run, task)
            if count > most:
                yield f"{run}/{task}: {count} attempts, {most} allowed"
    numbers: set[tuple[str, str, int]] = set()
    for _, _, call in case.observations("called"):
        one = (call["run"], call["task"], call["attempt"])
        # The intent of a pure read may be lost with the process; its number is then used again.
        if one in numbers and _effect(case.tasks(one[0])[one[1]]) != "none":
            yield f"{one}: one attempt was called twice"
        numbers.add(one)


def _is_no_attempt(event: Event) -> bool:
    """A call that was lost, or refused because there were too many."""
    kind = (event.get("fault") or {}).get("kind")
    put_off = event["type"] == "task.failed" and "pause" in event
    return event["type"] == "task.lost" or (put_off and kind in REFUSED[:2])


def _tries_enough(case: Case) -> Iterator[str]:
    """Nothing is given up while it may be tried again. Calls that were lost are no attempts."""
    for run, events in case.journal.items():
        asked = {"run.cancel_requested", "run.timed_out"} & {event["type"] for event in events}
        stops = case.specs[run].get("failure_strategy", "stop_on_first_failure").startswith("stop")
        tasks = case.tasks(run)
        final = {e["task"]: e for e in events if "task" in e and e["type"] in ENDS}
        losses = Counter(event["task"] for event in events if _is_no_attempt(event))
        for task, event in final.items():
            stopped = (asked or stops) and not task.endswith(UNDO)
            if event["type"] != "task.failed" or stopped or _status(case, run) is None:
                continue
            lost = losses[task]
            most = (tasks[task].get("retry") or {}).get("max_attempts", 3)
            may_retry = event["fault"].get("retriable", True) and _effect(tasks[task]) != "once"
            if may_retry and event["attempt"] - lost < most:
                yield f"{run}/{task}: given up after {event['attempt'] - lost} of {most} attempts"


def _cancels_are_heard(case: Case) -> Iterator[str]:
    """Who cancels a run finds that in its journal, unless the run ends anyway or is undone."""
    for i, _, data in case.observations("cancel"):
        run = data["run"]
        later = {what for _, what, _ in case.seen[i:]}
        kinds = {event["type"] for event in case.journal.get(run, ())}
        undone = any(e.get("task", "").endswith(UNDO) for e in case.journal.get(run, ()))
        excused = undone or {"crashed", "refused"} & later or run not in case.journal
        if not excused and "run.cancel_requested" not in kinds:
            yield f"{run}: cancelled, and nothing came of it"


def _waits_its_turn(case: Case) -> Iterator[str]:
    """A retry comes neither before its back-off nor before what the other side asked for."""
    for run, events in case.journal.items():
        asked: dict[str, int] = {}
        for event in events:
            if event["type"] == "task.failed":
                after = (event["fault"].get("retry_after") or 0) * 1_000_000
                asked[event["task"]] = event["at"] + int(after)
            elif event["type"] == "task.started" and event["at"] < asked.get(event["task"], 0):
                yield f"{run}/{event['task']}: tried again before the time it was asked for"


def _slots_respected(case: Case) -> Iterator[str]:
    """No more calls at once than the run, the agent and the hive have slots for."""
    under_way: dict[tuple[str, str, int], str] = {}
    agents = {
        (run, agent["name"]): str(sorted(agent.items(), key=str))
        for run, spec in case.specs.items()
        for agent in spec.get("agents", ())
    }
    for _, what, data in case.seen:
        if what == "crashed":
            under_way.clear()
        elif what == "called":
            run = data["run"]
            lane = agents[run, data["agent"]]
            under_way[run, data["task"], data["attempt"]] = lane
            mine = sum(1 for one in under_way if one[0] == run)
            most = case.specs[run].get("max_parallel", 1)
            if mine > most:
                yield f"{run}: {mine} calls at once, {most} allowed"
            if len(under_way) > case.max_calls:
                yield f"{len(under_way)} calls at once in all, {case.max_calls} allowed"
            spec = next(a for a in case.specs[run]["agents"] if a["name"] == data["agent"])
            there = sum(1 for one in under_way.values() if one == lane)
            if there > (spec.get("max_concurrency") or there):
                yield f"{run}: {there} calls at once at {data['agent']}"
        elif what in ("replied", "stopped"):
            under_way.pop((data["run"], data["task"], data["attempt"]), None)


def _time_goes_on(case: Case) -> Iterator[str]:
    """Times in a stream never go back, and no run times out before its time."""
    for name, events in (*case.journal.items(), ("hive", case.hive)):
        times = [event["at"] for event in events]
        if times != sorted(times):
            yield f"{name}: times go back"
    for run, events in case.journal.items():
        began = away = 0
        for event in events:
            if event["type"] == "run.started":
                began = event["at"]
            away += event.get("away", 0)
            if event["type"] == "run.timed_out":
                due = began + away + case.specs[run].get("timeout", 300.0) * 1_000_000
                if event["at"] < due:
                    yield f"{run}: timed out too early"


def _stopped_means_stopped(case: Case) -> Iterator[str]:
    for run, events in case.journal.items():
        stop = case.specs[run].get("failure_strategy", "stop_on_first_failure").startswith("stop")
        stopped = False
        for event in events:
            kind = event["type"]
            if kind in ("run.cancel_requested", "run.timed_out"):
                stopped = True
            elif kind == "task.started" and stopped and not event["task"].endswith(UNDO):
                yield f"{run}/{event['task']}: started after the run had stopped"
            elif kind == "task.failed" and stop and _final(case, run, event):
                stopped = True


def _final(case: Case, run: str, event: Event) -> bool:
    """A failure that is certainly the task's last one, and not tolerated."""
    tasks = case.tasks(run)
    task = tasks[event["task"]]
    if event["task"] not in tasks or "asks" in task:
        return False  # what an item or a round comes to is for its task to judge
    if "undoes" in task or task.get("continue_on_failure") or _effect(task) == "once":
        return False
    return not event["fault"].get("retriable", True)


def _time_outs_are_kept(case: Case) -> Iterator[str]:
    """Nothing starts once the run's time is up, not counting the time when nobody had it."""
    for run, events in case.journal.items():
        # While only people are awaited, time does not count; how long that is, facts do not say.
        left = None if case.may_park(run) else case.specs[run].get("timeout", 300.0)
        end = None
        for event in events:
            if event["type"] == "run.started" and left is not None:
                end = event["at"] + left * 1_000_000
            elif event["type"] == "run.resumed" and end is not None:
                end += event["away"]
            elif event["type"] == "task.blocked":
                end = None  # nor while nobody has an agent
            elif end is None or event["type"] != "task.started":
                continue
            elif event["at"] >= end and not event["task"].endswith(UNDO):
                yield f"{run}/{event['task']}: started after the time of the run was up"


def _compensations(case: Case) -> Iterator[str]:
    for run, events in case.journal.items():
        order: list[str] = []
        undone: list[str] = []
        told = {event["task"] for event in events if event["type"] == "task.resolved"}
        well = case.succeeded(run)
        for i, event in enumerate(events):
            if i in well and not well[i].endswith(UNDO):
                order.append(well[i])
            elif event["type"] in TRIED and event["task"].endswith(UNDO):
                name = event["task"].removesuffix(UNDO)
                if not undone or undone[-1] != name:
                    undone.append(name)
        tasks = case.tasks(run)
        if any("compensate" in task and not is_call(task) for task in tasks.values()):
            continue
        due = [task for task in reversed(order) if task + UNDO in tasks]
        status = _status(case, run)
        # What somebody said late that it had acted may come after what was under way by then.
        strict = [[task for task in names if task not in told] for names in (undone, due)]
        if strict[0] != strict[1][: len(strict[0])]:
            yield f"{run}: compensated in the wrong order: {undone}, not {due}"
        if status in ("compensated", "compensation_failed") and sorted(undone) != sorted(due):
            yield f"{run}: {status}, but not everything was undone"
        if status == "failed" and due:
            yield f"{run}: failed without compensating {due}"


def _right_ending(case: Case) -> Iterator[str]:
    for run in case.journal:
        status = _status(case, run)
        if status is None:
            continue
        last = {task: kind for task, kind in case.last(run).items() if not task.endswith(UNDO)}
        tasks = case.tasks(run)
        every = [task["name"] for task in case.specs[run].get("tasks", ())]
        names = [n for n in every if is_call(tasks[n]) and not tasks.may_be_bypassed(n)]
        partial = len(names) < len(every)
        good = [name for name in names if last.get(name) == "task.succeeded"]
        fine = all(
            last.get(name) == "task.succeeded"
            or (last.get(name) == "task.failed" and tasks[name].get("continue_on_failure"))
            for name in names
        )
        asked = {event["type"] for event in case.journal[run]}
        if status == "completed" and not fine:
            yield f"{run}: completed, though not every task succeeded"
        if status == "partially_completed" and (not good or fine) and not partial:
            yield f"{run}: partially completed with {len(good)} of {len(names)}"
        if status == "cancelled" and "run.cancel_requested" not in asked:
            yield f"{run}: cancelled, though nobody asked"
        stopped = {"run.cancel_requested", "run.timed_out"} & asked
        if (
            status in ("failed", "compensated", "compensation_failed")
            and fine
            and not stopped
            and not partial
        ):
            yield f"{run}: {status}, though every task succeeded"


def _status(case: Case, run: str) -> str | None:
    return next((e["status"] for e in case.hive if _is(e, "run_closed") and e["run"] == run), None)


def _effect(task: Event) -> str:
    return str(task.get("effect", "any"))


def _is(event: Event, what: str) -> bool:
    return bool(event["type"] == f"hive.{what}")


CHECKS: Final[tuple[Callable[[Case], Iterator[str]], ...]] = (
    _everything_ends,
    _acknowledged_is_kept,
    _acknowledged_after_commit,
    _one_ending,
    _hive_knows_its_runs,
    _intent_before_call,
    _stable_keys,
    _once_means_once,
    _results_are_real,
    _dependencies_first,
    _handed_on,
    _attempts_bounded,
    _tries_enough,
    _cancels_are_heard,
    _waits_its_turn,
    _slots_respected,
    _time_goes_on,
    _stopped_means_stopped,
    _time_outs_are_kept,
    _compensations,
    _right_ending,
    *FLOW_CHECKS,
    *PEOPLE_CHECKS,
    *MONEY_CHECKS,
    *LIMIT_CHECKS,
    *TURN_CHECKS,
)
