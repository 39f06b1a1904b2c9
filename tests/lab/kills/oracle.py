"""The oracle of killed processes: reads what is left on disk, imports nothing of what it judges.

The ledger says what the outside world saw, `told` what was acknowledged, the journals what the
process remembered at each kill and at the end. Gives one line for each promise that was broken.
To add a promise: a function `_name` listed in `CHECKS`.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.lab.kills.flows import (
    AGENTS,
    ASK,
    EACH,
    ITEMS,
    NAP,
    SCENARIOS,
    SIGNAL,
    UNDO,
    Flow,
    Task,
    flow_of,
)

Event = dict[str, Any]
Journal = dict[str, list[Event]]


def read_journal(path: Path) -> Journal:
    """Events by stream, in order; nothing where no journal is."""
    found: Journal = {}
    if not path.exists():
        return found
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT stream, payload FROM records ORDER BY pos")
        for stream, payload in rows:
            found.setdefault(stream, []).extend(json.loads(payload))
    return found


def read_lines(path: Path) -> list[Event]:
    """Lines of JSON. The last one may have been cut off by a kill only if it was never finished."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def lives_of(lines: list[Event], count: int) -> list[list[Event]]:
    """The lines of each process. One that died at once left none."""
    found: list[list[Event]] = [[] for _ in range(count)]
    number = 0
    for line in lines:
        if line["what"] == "life":
            number = line["number"]
        else:
            found[number].append(line)
    return found


class Case:
    """All that some processes left behind, one after the other, in one folder."""

    def __init__(self, folder: Path, scenario: str) -> None:
        self.runs: dict[str, Flow] = {run: flow_of(run) for run in SCENARIOS[scenario].runs}
        self.journal = read_journal(folder / "home" / "journal.db")
        kills = sorted(folder.glob("kill*"), key=lambda path: int(path.name[4:]))
        self.kills = [read_journal(kill / "journal.db") for kill in kills]
        self.ledger = lives_of(read_lines(folder / "ledger"), len(kills) + 1)
        self.told = lives_of(read_lines(folder / "told"), len(kills) + 1)

    def task(self, run: str, key: str) -> Task:
        """The task with that key; what undoes one is a task of its own."""
        name = key.removesuffix(UNDO)
        owner = name.partition("[")[0]
        [found] = [task for task in self.runs[run].tasks if task.name == owner]
        return found if name == key else Task(key, tries=3)

    def begun(self) -> Iterator[tuple[int, Event, Task]]:
        """Every call that an agent saw: the number of its life, the line, the task."""
        for number, life in enumerate(self.ledger):
            for line in life:
                if line["what"] == "begin":
                    yield number, line, self.task(line["run"], line["task"])

    def after(self, life: int) -> Journal:
        """The journal as this process left it."""
        return self.kills[life] if life < len(self.kills) else self.journal

    def events(self, run: str, *kinds: str) -> list[Event]:
        """The facts of a run of these kinds."""
        return [event for event in self.journal.get(run, ()) if event["type"] in kinds]

    def status(self, run: str) -> str | None:
        """How the run was closed, None if it is open."""
        closed = [event["status"] for event in self.journal.get("hive", ())
                  if event["type"] == "hive.run_closed" and event["run"] == run]  # fmt: skip
        return closed[0] if len(closed) == 1 else f"closed {len(closed)} times" if closed else None


def judge(folder: Path, scenario: str) -> list[str]:
    """What is wrong in what these processes left behind."""
    try:
        case = Case(folder, scenario)
    except sqlite3.DatabaseError as error:
        return [f"a journal cannot be read: {error}"]
    return [line for check in CHECKS for line in check(case)]


def _broke(case: Case) -> Iterator[str]:
    for line in (line for life in case.ledger for line in life):
        if line["what"] == "broke":
            yield f"a process broke: {line['error']}"


def _acknowledged_is_kept(case: Case) -> Iterator[str]:
    """At every kill, and at the end, the journal holds what was acknowledged before."""
    acknowledged: list[Event] = []
    recorded = {
        "agreed": ("task", "task.approval_given"),
        "signalled": ("id", "run.signal_received"),
    }
    for number, life in enumerate(case.told):
        acknowledged += life
        for journal in (case.after(number), case.journal):
            for line in acknowledged:
                kinds = {event["type"] for event in journal.get(line["run"], ())}
                if line["what"] == "accepted" and not kinds:
                    yield f"{line['run']}: accepted, and not in the journal"
                if line["what"] == "cancelled" and "run.cancel_requested" not in kinds:
                    yield f"{line['run']}: cancel acknowledged, and not in the journal"
                if line["what"] in recorded:
                    field, kind = recorded[line["what"]]
                    wanted = {"type": kind, field: line["task"]}.items()
                    if not any(wanted <= event.items() for event in journal.get(line["run"], ())):
                        yield f"{line['run']}/{line['task']}: {kind} acknowledged, not written"


def _nothing_is_taken_back(case: Case) -> Iterator[str]:
    """What stood in the journal at a kill stands there, in order, ever after."""
    for number, journal in enumerate(case.kills):
        later = case.after(number + 1)
        for stream, events in journal.items():
            if later.get(stream, [])[: len(events)] != events:
                yield f"{stream}: what was on disk at kill {number + 1} is there no more"


def _everything_ends(case: Case) -> Iterator[str]:
    """Every run ends as it must, or waits, visibly, for what only somebody outside can know."""
    waits = {line["run"]: line["why"] for line in case.told[-1] if line["what"] == "waits"}
    for run, flow in case.runs.items():
        status = case.status(run)
        if status == flow.ends:
            continue
        unknown = [task for task, kind in waits.get(run, ()) if kind == "outcome"]
        if status is not None or not unknown:
            yield f"{run}: ended {status}, not {flow.ends or 'never'}"
        for task in unknown:
            last = [event["type"] for event in case.journal[run] if event.get("task") == task][-1:]
            lost = last in (["task.lost"], ["task.failed"], ["task.cancelled"])
            if case.task(run, task).effect != "once" or not lost:
                yield f"{run}/{task}: waits for an outcome after {last}"


def _intent_before_call(case: Case) -> Iterator[str]:
    for life, line, task in case.begun():
        if task.effect == "none":
            continue
        wanted = {key: line[key] for key in ("task", "attempt", "key")} | {"type": "task.started"}
        if not any(
            wanted.items() <= event.items() for event in case.after(life).get(line["run"], ())
        ):
            yield f"{line['run']}/{line['task']}: called without an intent on disk"


def _keys_are_stable(case: Case) -> Iterator[str]:
    keys: dict[tuple[str, str], set[str]] = {}
    for _, line, _ in case.begun():
        keys.setdefault((line["run"], line["task"]), set()).add(line["key"])
    for owner, used in keys.items():
        if len(used) > 1:
            yield f"{owner}: {len(used)} keys for one logical call"
    if len(set().union(*keys.values())) < len(keys):
        yield "two calls share a key"


def _once_is_once(case: Case) -> Iterator[str]:
    begun = Counter(
        (line["run"], line["task"]) for _, line, task in case.begun() if task.effect == "once"
    )
    for owner, times in begun.items():
        if times > 1:
            yield f"{owner}: acts once, and was called {times} times"


def _repeated_was_in_flight(case: Case) -> Iterator[str]:
    """A call is made again only under an attempt of its own, and only if the one before it had
    failed, or was under way when its process was killed: an intent on disk and no result.
    """
    before: dict[tuple[str, str], tuple[int, int]] = {}
    for life, line, task in case.begun():
        if task.effect == "none":
            continue
        owner = (line["run"], line["task"])
        if owner in before:
            earlier, attempt = before[owner]
            if attempt == line["attempt"]:
                yield f"{owner}: attempt {attempt} was called twice"
            wanted = {"task": line["task"], "attempt": attempt}.items()
            events = case.after(earlier).get(line["run"], ())
            told = {event["type"] for event in events if wanted <= event.items()}
            in_flight = told == {"task.started"} and earlier < life
            if not in_flight and "task.failed" not in told:
                yield f"{owner}: repeated, and was neither in flight at a kill nor failed: {told}"
        before[owner] = (life, line["attempt"])


def _done_is_done(case: Case) -> Iterator[str]:
    for run in case.runs:
        done: set[str] = set()
        for event in case.events(run, "task.started", "task.succeeded"):
            if event["task"] in done:
                yield f"{run}/{event['task']}: {event['type']} after it had succeeded"
            if event["type"] == "task.succeeded":
                done.add(event["task"])


def _results(case: Case) -> Iterator[str]:
    results: dict[tuple[str, str], Any] = {}
    for run in case.runs:
        for event in case.events(run, "task.succeeded"):
            results[run, event["task"]] = event.get("result")
            if event.get("result") != f"{event['task']} of attempt {event['attempt']}":
                yield f"{run}/{event['task']}: the result of another attempt counts"
    for _, line, task in case.begun():
        for dep, value in line["dependencies"].items():
            recorded = _result(case, results, line["run"], dep)
            if task.effect != "none" and value != recorded:
                yield f"{line['run']}/{line['task']}: was given {value} of {dep}, not {recorded}"


def _result(case: Case, results: dict[tuple[str, str], Any], run: str, name: str) -> Any:
    """What a task gave: its call, its items in order, the signal's data, the time that came."""
    around = case.task(run, name).around
    if around == NAP:
        return {"at": next(e["at"] for e in case.events(run, "task.woke") if e["task"] == name)}
    if around == EACH:
        return [results.get((run, f"{name}[{n}]")) for n in range(ITEMS)]
    return f"for {name}" if around == SIGNAL else results.get((run, name))


def _order(case: Case) -> Iterator[str]:
    for run in case.runs:
        done: set[str] = set()
        for event in case.journal.get(run, ()):
            done |= _done_by(case, run, event, done)
            started = event["type"] == "task.started"
            if started and not done.issuperset(case.task(run, event["task"]).after):
                yield f"{run}/{event['task']}: started before what it depends on"


def _done_by(case: Case, run: str, event: Event, done: set[str]) -> set[str]:
    """The tasks that are done with this fact."""
    if event["type"] == "run.signal_received":
        return {event["name"]}
    if event["type"] == "task.woke" and case.task(run, event["task"]).around == NAP:
        return {event["task"]}
    if event["type"] != "task.succeeded":
        return set()
    owner = event["task"].partition("[")[0]
    items = {f"{owner}[{n}]" for n in range(ITEMS)} - {event["task"]}
    whole = owner != event["task"] and items <= done
    return {event["task"], owner} if whole else {event["task"]}


def _agreed_before(case: Case) -> Iterator[str]:
    """What people are asked about is called only as they agreed to it, once that is on disk."""
    for life, line, task in case.begun():
        if task.around != ASK:
            continue
        events = [e for e in case.after(life).get(line["run"], ()) if e.get("task") == task.name]
        asked = [e for e in events if e["type"] == "task.approval_requested"]
        given = [e for e in events if e["type"] == "task.approval_given" and e["approved"]]
        if not asked or not given or asked[-1]["digest"] != given[-1]["digest"]:
            yield f"{line['run']}/{task.name}: called, and nobody had agreed on disk"
        elif asked[-1]["payload"]["parameters"] != line["given"]:
            yield f"{line['run']}/{task.name}: called with {line['given']}, not what was agreed to"


def _said_once(case: Case) -> Iterator[str]:
    """What people said counts once, however often it is sent."""
    for run in case.runs:
        said = Counter(
            (event["type"], event.get("task") or event.get("id"))
            for event in case.events(run, "task.approval_given", "run.signal_received")
        )
        for what, times in said.items():
            if times > 1:
                yield f"{run}: {what} counted {times} times"


def _slots(case: Case) -> Iterator[str]:
    for life in case.ledger:
        under_way: Counter[str] = Counter()
        for line in life:
            if line["what"] not in ("begin", "end"):
                continue
            run, agent = line["run"], case.task(line["run"], line["task"]).agent
            for slot in (run, f"agent {agent}"):
                under_way[slot] += 1 if line["what"] == "begin" else -1
            if under_way[run] > case.runs[run].max_parallel:
                yield f"{run}: {under_way[run]} calls at once"
            if under_way[f"agent {agent}"] > (AGENTS[agent] or 1000):
                yield f"agent {agent}: {under_way[f'agent {agent}']} calls at once"


def _tries(case: Case) -> Iterator[str]:
    for run in case.runs:
        asked: dict[str, float] = {}
        failed: Counter[str] = Counter()
        for event in case.events(run, "task.failed", "task.started"):
            task = event["task"]
            if event["type"] == "task.failed":
                failed[task] += 1
                wait = (event["fault"].get("retry_after") or 0) * 1_000_000
                asked[task] = event["at"] + wait
            elif event["at"] < asked.get(task, 0):
                yield f"{run}/{task}: tried again before it was asked to"
        for task, times in failed.items():
            if times > case.task(run, task).tries:
                yield f"{run}/{task}: {times} attempts failed"


def _undone_in_reverse(case: Case) -> Iterator[str]:
    for run, flow in case.runs.items():
        done = [event["task"] for event in case.events(run, "task.succeeded")]
        can = {task.name for task in flow.tasks if task.undo}
        wanted = [task + UNDO for task in reversed(done) if task in can]
        undone = [task for task in done if task.endswith(UNDO)]
        if case.status(run) == "compensated" and undone != wanted:
            yield f"{run}: undone were {undone}, not {wanted}"


def _stopped_is_stopped(case: Case) -> Iterator[str]:
    """After a failure, or a cancel, nothing new starts but what undoes."""
    for run, flow in case.runs.items():
        stopped = False
        for event in case.journal.get(run, ()):
            kind = event["type"]
            if kind == "task.started" and stopped and not event["task"].endswith(UNDO):
                yield f"{run}/{event['task']}: started after the run had stopped"
            final = kind == "task.failed" and not event["fault"].get("retriable", True)
            stopped |= kind == "run.cancel_requested"
            stopped |= final and flow.strategy == "stop_on_first_failure"


CHECKS: tuple[Callable[[Case], Iterator[str]], ...] = (
    _broke, _acknowledged_is_kept, _nothing_is_taken_back, _everything_ends, _intent_before_call,
    _keys_are_stable, _once_is_once, _repeated_was_in_flight, _done_is_done, _results, _order,
    _agreed_before, _said_once, _slots, _tries, _undone_in_reverse, _stopped_is_stopped,
)  # fmt: skip
