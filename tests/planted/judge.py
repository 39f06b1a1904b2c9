"""The judge of killed processes: reads what is left on disk, and imports nothing of what it judges.

The ledger says what the outside world saw, the journal what the process remembers. Gives one line
for each promise that was broken.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

Event = dict[str, Any]
ENDS = {
    "diamond": "completed", "flaky": "completed", "asked": "completed", "never": "failed",
    "slots": "completed", "narrow": "completed", "saga": "compensated", "stop": "failed",
    "cancel": "cancelled", "last": "completed",
}  # fmt: skip
"""How each run must end, whatever happens; what acts once may also be left in doubt."""
ONCE = {("once", "acts"), ("hangs", "acts")}
PURE = {("diamond", "read")}
AFTER = {
    "diamond": {"left": ["top"], "right": ["top"], "bottom": ["left", "right"], "read": ["bottom"]},
    "flaky": {"then": ["fails"]},
    "saga": {"two": ["one"], "bad": ["two"]},
    "stop": {"after": ["long"], "z": ["after"]},
    "cancel": {"after": ["forever"]},
    "once": {"then": ["acts"]},
}
SLOTS = {"slots": 2, "narrow": 1}
TRIES = {"never": 2}


def read_journal(path: Path) -> dict[str, list[Event]]:
    """Events by stream, in order."""
    found: dict[str, list[Event]] = {}
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT stream, payload FROM records ORDER BY pos")
        for stream, payload in rows:
            found.setdefault(stream, []).extend(json.loads(payload))
    return found


def judge(folder: Path) -> list[str]:
    """What is wrong in what these processes left behind."""
    text = (folder / "ledger").read_text() if (folder / "ledger").exists() else ""
    ledger = [json.loads(line) for line in text.splitlines()]
    journal = read_journal(folder / "home" / "journal.db")
    case = (journal, ledger)
    return [
        *_broke(ledger), *_kept(*case), *_statuses(journal), *_intents(*case), *_keys(ledger),
        *_once(ledger), *_results(*case), *_order(journal), *_slots(ledger), *_repeats(*case),
        *_tries(journal), *_undone(journal), *_stopped(*case),
    ]  # fmt: skip


def status(journal: dict[str, list[Event]], run: str) -> str | None:
    closed = [e["status"] for e in journal.get("hive", ()) if e["type"] == "hive.run_closed"
              and e["run"] == run]  # fmt: skip
    return closed[0] if len(closed) == 1 else f"closed {len(closed)} times" if closed else None


def _broke(ledger: list[Event]) -> Iterator[str]:
    for line in ledger:
        if line["what"] == "broke":
            yield f"a process broke: {line['error']}"


def _kept(journal: dict[str, list[Event]], ledger: list[Event]) -> Iterator[str]:
    for line in ledger:
        if line["what"] == "accepted" and line["run"] not in journal:
            yield f"{line['run']}: accepted, and not in the journal"


def _statuses(journal: dict[str, list[Event]]) -> Iterator[str]:
    for run, expected in ENDS.items():
        if status(journal, run) != expected:
            yield f"{run}: ended {status(journal, run)}, not {expected}"
    for run, task in ONCE:
        last = [e["type"] for e in journal.get(run, ()) if e.get("task") == task][-1:]
        if status(journal, run) != "completed" and last not in (["task.lost"], ["task.failed"]):
            yield f"{run}: ended {status(journal, run)} after {last}"


def _intents(journal: dict[str, list[Event]], ledger: list[Event]) -> Iterator[str]:
    for line in ledger:
        if line["what"] != "begin" or (line["run"], line["task"]) in PURE:
            continue
        wanted = {key: line[key] for key in ("task", "attempt", "key")} | {"type": "task.started"}
        if not any(wanted.items() <= event.items() for event in journal.get(line["run"], ())):
            yield f"{line['run']}/{line['task']}: called without an intent on disk"


def _keys(ledger: list[Event]) -> Iterator[str]:
    keys: dict[tuple[str, str], set[str]] = {}
    for line in ledger:
        if line["what"] == "begin":
            keys.setdefault((line["run"], line["task"]), set()).add(line["key"])
    for owner, used in keys.items():
        if len(used) > 1:
            yield f"{owner}: {len(used)} keys for one logical call"
    if len(set().union(*keys.values())) < len(keys):
        yield "two calls share a key"


def _once(ledger: list[Event]) -> Iterator[str]:
    for run, task in ONCE:
        begun = sum(1 for e in ledger if (e["what"], e.get("run"), e.get("task"))
                    == ("begin", run, task))  # fmt: skip
        if begun > 1:
            yield f"{run}/{task}: acts once, and was called {begun} times"


def _results(journal: dict[str, list[Event]], ledger: list[Event]) -> Iterator[str]:
    results = {
        (run, event["task"]): event
        for run, events in journal.items()
        for event in events
        if event["type"] == "task.succeeded"
    }
    for (run, task), event in results.items():
        if event.get("result") != f"{task} of attempt {event['attempt']}":
            yield f"{run}/{task}: the result of another attempt counts"
    for line in ledger:
        if line["what"] != "begin" or (line["run"], line["task"]) in PURE:
            continue
        for dep, value in line["dependencies"].items():
            recorded = results.get((line["run"], dep), {}).get("result")
            if value != recorded:
                yield f"{line['run']}/{line['task']}: was given {value} of {dep}, not {recorded}"


def _order(journal: dict[str, list[Event]]) -> Iterator[str]:
    for run, edges in AFTER.items():
        done: set[str] = set()
        for event in journal.get(run, ()):
            if event["type"] == "task.succeeded":
                done.add(event["task"])
            elif event["type"] == "task.started" and not done.issuperset(
                edges.get(event["task"], ())
            ):
                yield f"{run}/{event['task']}: started before what it depends on"


def _slots(ledger: list[Event]) -> Iterator[str]:
    under_way: dict[str, int] = {}
    for line in ledger:
        if line["what"] == "life":
            under_way.clear()
        elif line["what"] in ("begin", "end"):
            run = line["run"]
            under_way[run] = under_way.get(run, 0) + (1 if line["what"] == "begin" else -1)
            if under_way[run] > SLOTS.get(run, 9):
                yield f"{run}: {under_way[run]} calls at once"


def _repeats(journal: dict[str, list[Event]], ledger: list[Event]) -> Iterator[str]:
    """A call is made again only under an attempt of its own, and never once it has succeeded."""
    seen: set[tuple[Any, ...]] = set()
    for line in ledger:
        if line["what"] == "begin" and (line["run"], line["task"]) not in PURE:
            one = (line["run"], line["task"], line["attempt"])
            if one in seen:
                yield f"{one}: one attempt was called twice"
            seen.add(one)
    for run, events in journal.items():
        done: set[str] = set()
        for event in events:
            if event["type"] == "task.started" and event["task"] in done:
                yield f"{run}/{event['task']}: started again after it had succeeded"
            if event["type"] == "task.succeeded":
                done.add(event["task"])


def _tries(journal: dict[str, list[Event]]) -> Iterator[str]:
    for run, events in journal.items():
        asked: dict[str, float] = {}
        failed = 0
        for event in events:
            if event["type"] == "task.failed":
                failed += 1
                wait = (event["fault"].get("retry_after") or 0) * 1_000_000
                asked[event["task"]] = event["at"] + wait
            elif event["type"] == "task.started" and event["at"] < asked.get(event["task"], 0):
                yield f"{run}/{event['task']}: tried again before it was asked to"
        if failed > TRIES.get(run, 99):
            yield f"{run}: {failed} attempts"


def _undone(journal: dict[str, list[Event]]) -> Iterator[str]:
    undone = [e["task"] for e in journal.get("saga", ()) if e["type"] == "task.succeeded"
              and e["task"].endswith("#undo")]  # fmt: skip
    if undone != ["two#undo", "one#undo"]:
        yield f"saga: undone were {undone}"


def _stopped(journal: dict[str, list[Event]], ledger: list[Event]) -> Iterator[str]:
    for event in journal.get("stop", ()):
        if event["type"] == "task.started" and event["task"] in ("after", "z"):
            bad = [e for e in journal["stop"] if e.get("task") == "bad" and "fault" in e]
            if bad and journal["stop"].index(bad[0]) < journal["stop"].index(event):
                yield f"stop/{event['task']}: started after the run had stopped"
    if any(line["what"] == "cancelled" for line in ledger):
        kinds = {event["type"] for event in journal.get("cancel", ())}
        if "run.cancel_requested" not in kinds:
            yield "cancel: acknowledged and not recorded"
