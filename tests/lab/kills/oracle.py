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
    COMPENSATION,
    EACH,
    ITEMS,
    NAP,
    SCENARIOS,
    SIGNAL,
    Flow,
    Task,
    find_flow,
)

Event = dict[str, Any]
Journal = dict[str, list[Event]]


def read_journal(path: Path) -> Journal:
    """Events by stream, in order; nothing where no journal is."""
    journal: Journal = {}
    if not path.exists():
        return journal
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT stream, payload FROM records ORDER BY pos")
        for stream, payload in rows:
            journal.setdefault(stream, []).extend(json.loads(payload))
    return journal


def read_lines(path: Path) -> list[Event]:
    """Lines of JSON. The last one may have been cut off by a kill only if it was never finished."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def split_lives(lines: list[Event], count: int) -> list[list[Event]]:
    """The lines of each process. One that died at once left none."""
    lives: list[list[Event]] = [[] for _ in range(count)]
    number = 0
    for line in lines:
        if line["what"] == "life":
            number = line["number"]
        else:
            lives[number].append(line)
    return lives


class KillCase:
    """All that some processes left behind, one after the other, in one folder."""

    def __init__(self, folder: Path, scenario: str) -> None:
        self.runs: dict[str, Flow] = {run: find_flow(run) for run in SCENARIOS[scenario].runs}
        self.journal = read_journal(folder / "home" / "journal.db")
        kills = sorted(folder.glob("kill*"), key=lambda path: int(path.name[4:]))
        self.kills = [read_journal(kill / "journal.db") for kill in kills]
        self.ledger = split_lives(read_lines(folder / "ledger"), len(kills) + 1)
        self.acknowledged = split_lives(read_lines(folder / "told"), len(kills) + 1)

    def find_task(self, run: str, key: str) -> Task:
        """The task with that key; what undoes one is a task of its own."""
        name = key.removesuffix(COMPENSATION)
        owner = name.partition("[")[0]
        [match] = [task for task in self.runs[run].tasks if task.name == owner]
        return match if name == key else Task(key, max_attempts=3)

    def iter_calls(self) -> Iterator[tuple[int, Event, Task]]:
        """Every call that an agent saw: the number of its life, the line, the task."""
        for number, life in enumerate(self.ledger):
            for line in life:
                if line["what"] == "begin":
                    yield number, line, self.find_task(line["run"], line["task"])

    def journal_after(self, life: int) -> Journal:
        """The journal as this process left it."""
        return self.kills[life] if life < len(self.kills) else self.journal

    def events_of(self, run: str, *kinds: str) -> list[Event]:
        """The facts of a run of these kinds."""
        return [event for event in self.journal.get(run, ()) if event["type"] in kinds]

    def closed_status(self, run: str) -> str | None:
        """How the run was closed, None if it is open."""
        statuses = [
            event["status"]
            for event in self.journal.get("hive", ())
            if event["type"] == "hive.run_closed" and event["run"] == run
        ]
        return (
            statuses[0]
            if len(statuses) == 1
            else f"closed {len(statuses)} times"
            if statuses
            else None
        )


def judge(folder: Path, scenario: str) -> list[str]:
    """What is wrong in what these processes left behind."""
    try:
        case = KillCase(folder, scenario)
    except sqlite3.DatabaseError as error:
        return [f"a journal cannot be read: {error}"]
    return [line for check in CHECKS for line in check(case)]


def _no_process_broke(case: KillCase) -> Iterator[str]:
    for line in (line for life in case.ledger for line in life):
        if line["what"] == "broke":
            yield f"a process broke: {line['error']}"


def _acknowledged_is_kept(case: KillCase) -> Iterator[str]:
    """At every kill, and at the end, the journal holds what was acknowledged before."""
    acknowledged: list[Event] = []
    recorded = {
        "agreed": ("task", "task.approval_given"),
        "signalled": ("id", "run.signal_received"),
    }
    for number, life in enumerate(case.acknowledged):
        acknowledged += life
        for journal in (case.journal_after(number), case.journal):
            for line in acknowledged:
                kinds = {event["type"] for event in journal.get(line["run"], ())}
                if line["what"] == "accepted" and not kinds:
                    yield f"{line['run']}: accepted, and not in the journal"
                if line["what"] == "cancelled" and "run.cancel_requested" not in kinds:
                    yield f"{line['run']}: cancel acknowledged, and not in the journal"
                if line["what"] in recorded:
                    field, kind = recorded[line["what"]]
                    expected = {"type": kind, field: line["task"]}.items()
                    if not any(expected <= event.items() for event in journal.get(line["run"], ())):
                        yield f"{line['run']}/{line['task']}: {kind} acknowledged, not written"


def _nothing_is_taken_back(case: KillCase) -> Iterator[str]:
    """What stood in the journal at a kill stands there, in order, ever after."""
    for number, journal in enumerate(case.kills):
        later = case.journal_after(number + 1)
        for stream, events in journal.items():
            if later.get(stream, [])[: len(events)] != events:
                yield f"{stream}: what was on disk at kill {number + 1} is there no more"


def _everything_ends(case: KillCase) -> Iterator[str]:
    """Every run ends as it must, or waits, visibly, for what only somebody outside can know."""
    waits = {line["run"]: line["why"] for line in case.acknowledged[-1] if line["what"] == "waits"}
    for run, flow in case.runs.items():
        status = case.closed_status(run)
        if status == flow.final_status:
            continue
        unknown = [task for task, kind in waits.get(run, ()) if kind == "outcome"]
        if status is not None or not unknown:
            yield f"{run}: ended {status}, not {flow.final_status or 'never'}"
        for task in unknown:
            last = [event["type"] for event in case.journal[run] if event.get("task") == task][-1:]
            lost = last in (["task.lost"], ["task.failed"], ["task.cancelled"])
            if case.find_task(run, task).effect != "once" or not lost:
                yield f"{run}/{task}: waits for an outcome after {last}"


def _intent_before_call(case: KillCase) -> Iterator[str]:
    for life, line, task in case.iter_calls():
        if task.effect == "none":
            continue
        expected = {key: line[key] for key in ("task", "attempt", "key")} | {"type": "task.started"}
        if not any(
            expected.items() <= event.items()
            for event in case.journal_after(life).get(line["run"], ())
        ):
            yield f"{line['run']}/{line['task']}: called without an intent on disk"


def _keys_are_stable(case: KillCase) -> Iterator[str]:
    keys: dict[tuple[str, str], set[str]] = {}
    for _, line, _ in case.iter_calls():
        keys.setdefault((line["run"], line["task"]), set()).add(line["key"])
    for owner, used in keys.items():
        if len(used) > 1:
            yield f"{owner}: {len(used)} keys for one logical call"
    if len(set().union(*keys.values())) < len(keys):
        yield "two calls share a key"


def _once_is_once(case: KillCase) -> Iterator[str]:
    call_counts = Counter(
        (line["run"], line["task"]) for _, line, task in case.iter_calls() if task.effect == "once"
    )
    for owner, times in call_counts.items():
        if times > 1:
            yield f"{owner}: acts once, and was called {times} times"


def _repeated_was_in_flight(case: KillCase) -> Iterator[str]:
    """A call is made again only under an attempt of its own, and only if the one before it had
    failed, or was under way when its process was killed: an intent on disk and no result.
    """
    before: dict[tuple[str, str], tuple[int, int]] = {}
    for life, line, task in case.iter_calls():
        if task.effect == "none":
            continue
        owner = (line["run"], line["task"])
        if owner in before:
            earlier, attempt = before[owner]
            if attempt == line["attempt"]:
                yield f"{owner}: attempt {attempt} was called twice"
            attempt_fields = {"task": line["task"], "attempt": attempt}.items()
            events = case.journal_after(earlier).get(line["run"], ())
            event_types = {event["type"] for event in events if attempt_fields <= event.items()}
            in_flight = event_types == {"task.started"} and earlier < life
            if not in_flight and "task.failed" not in event_types:
                yield (
                    f"{owner}: repeated, and was neither in flight at a kill nor failed: "
                    f"{event_types}"
                )
        before[owner] = (life, line["attempt"])


def _finished_stays_finished(case: KillCase) -> Iterator[str]:
    for run in case.runs:
        finished: set[str] = set()
        for event in case.events_of(run, "task.started", "task.succeeded"):
            if event["task"] in finished:
                yield f"{run}/{event['task']}: {event['type']} after it had succeeded"
            if event["type"] == "task.succeeded":
                finished.add(event["task"])


def _results_match_attempts(case: KillCase) -> Iterator[str]:
    results: dict[tuple[str, str], Any] = {}
    for run in case.runs:
        for event in case.events_of(run, "task.succeeded"):
            results[run, event["task"]] = event.get("result")
            if event.get("result") != f"{event['task']} of attempt {event['attempt']}":
                yield f"{run}/{event['task']}: the result of another attempt counts"
    for _, line, task in case.iter_calls():
        for dep, value in line["dependencies"].items():
            recorded = _expected_result(case, results, line["run"], dep)
            if task.effect != "none" and value != recorded:
                yield f"{line['run']}/{line['task']}: was given {value} of {dep}, not {recorded}"


def _expected_result(
    case: KillCase, results: dict[tuple[str, str], Any], run: str, name: str
) -> Any:
    """What a task gave: its call, its items in order, the signal's data, the time that came."""
    wrapper = case.find_task(run, name).wrapper
    if wrapper == NAP:
        return {"at": next(e["at"] for e in case.events_of(run, "task.woke") if e["task"] == name)}
    if wrapper == EACH:
        return [results.get((run, f"{name}[{n}]")) for n in range(ITEMS)]
    return f"for {name}" if wrapper == SIGNAL else results.get((run, name))


def _dependencies_first(case: KillCase) -> Iterator[str]:
    for run in case.runs:
        finished: set[str] = set()
        for event in case.journal.get(run, ()):
            finished |= _finished_by(case, run, event, finished)
            started = event["type"] == "task.started"
            if started and not finished.issuperset(case.find_task(run, event["task"]).depends_on):
                yield f"{run}/{event['task']}: started before what it depends on"


def _finished_by(case: KillCase, run: str, event: Event, finished: set[str]) -> set[str]:
    """The tasks that are done with this fact."""
    if event["type"] == "run.signal_received":
        return {event["name"]}
    if event["type"] == "task.woke" and case.find_task(run, event["task"]).wrapper == NAP:
        return {event["task"]}
    if event["type"] != "task.succeeded":
        return set()
    owner = event["task"].partition("[")[0]
    items = {f"{owner}[{n}]" for n in range(ITEMS)} - {event["task"]}
    whole = owner != event["task"] and items <= finished
    return {event["task"], owner} if whole else {event["task"]}


def _approved_before_call(case: KillCase) -> Iterator[str]:
    """What people are asked about is called only as they agreed to it, once that is on disk."""
    for life, line, task in case.iter_calls():
        if task.wrapper != ASK:
            continue
        events = [
            e for e in case.journal_after(life).get(line["run"], ()) if e.get("task") == task.name
        ]
        requests = [e for e in events if e["type"] == "task.approval_requested"]
        approvals = [e for e in events if e["type"] == "task.approval_given" and e["approved"]]
        if not requests or not approvals or requests[-1]["digest"] != approvals[-1]["digest"]:
            yield f"{line['run']}/{task.name}: called, and nobody had agreed on disk"
        elif requests[-1]["payload"]["parameters"] != line["given"]:
            yield f"{line['run']}/{task.name}: called with {line['given']}, not what was agreed to"


def _answers_count_once(case: KillCase) -> Iterator[str]:
    """What people said counts once, however often it is sent."""
    for run in case.runs:
        counts = Counter(
            (event["type"], event.get("task") or event.get("id"))
            for event in case.events_of(run, "task.approval_given", "run.signal_received")
        )
        for answer, times in counts.items():
            if times > 1:
                yield f"{run}: {answer} counted {times} times"


def _slots_respected(case: KillCase) -> Iterator[str]:
    for life in case.ledger:
        under_way: Counter[str] = Counter()
        for line in life:
            if line["what"] not in ("begin", "end"):
                continue
            run, agent = line["run"], case.find_task(line["run"], line["task"]).agent
            for slot in (run, f"agent {agent}"):
                under_way[slot] += 1 if line["what"] == "begin" else -1
            if under_way[run] > case.runs[run].max_parallel:
                yield f"{run}: {under_way[run]} calls at once"
            if under_way[f"agent {agent}"] > (AGENTS[agent] or 1000):
                yield f"agent {agent}: {under_way[f'agent {agent}']} calls at once"


def _attempts_bounded(case: KillCase) -> Iterator[str]:
    for run in case.runs:
        earliest: dict[str, float] = {}
        failed: Counter[str] = Counter()
        for event in case.events_of(run, "task.failed", "task.started"):
            task = event["task"]
            if event["type"] == "task.failed":
                failed[task] += 1
                wait = (event["fault"].get("retry_after") or 0) * 1_000_000
                earliest[task] = event["at"] + wait
            elif event["at"] < earliest.get(task, 0):
                yield f"{run}/{task}: tried again before it was asked to"
        for task, times in failed.items():
            if times > case.find_task(run, task).max_attempts:
                yield f"{run}/{task}: {times} attempts failed"


def _compensated_in_reverse(case: KillCase) -> Iterator[str]:
    for run, flow in case.runs.items():
        finished = [event["task"] for event in case.events_of(run, "task.succeeded")]
        compensable = {task.name for task in flow.tasks if task.has_compensation}
        expected = [task + COMPENSATION for task in reversed(finished) if task in compensable]
        compensated = [task for task in finished if task.endswith(COMPENSATION)]
        if case.closed_status(run) == "compensated" and compensated != expected:
            yield f"{run}: undone were {compensated}, not {expected}"


def _nothing_starts_after_stop(case: KillCase) -> Iterator[str]:
    """After a failure, or a cancel, nothing new starts but what undoes."""
    for run, flow in case.runs.items():
        stopped = False
        for event in case.journal.get(run, ()):
            kind = event["type"]
            if kind == "task.started" and stopped and not event["task"].endswith(COMPENSATION):
                yield f"{run}/{event['task']}: started after the run had stopped"
            final = kind == "task.failed" and not event["fault"].get("retriable", True)
            stopped |= kind == "run.cancel_requested"
            stopped |= final and flow.strategy == "stop_on_first_failure"


CHECKS: tuple[Callable[[KillCase], Iterator[str]], ...] = (
    _no_process_broke,
    _acknowledged_is_kept,
    _nothing_is_taken_back,
    _everything_ends,
    _intent_before_call,
    _keys_are_stable,
    _once_is_once,
    _repeated_was_in_flight,
    _finished_stays_finished,
    _results_match_attempts,
    _dependencies_first,
    _approved_before_call,
    _answers_count_once,
    _slots_respected,
    _attempts_bounded,
    _compensated_in_reverse,
    _nothing_starts_after_stop,
)
