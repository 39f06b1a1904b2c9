"""Kills a run of 200 tasks with SIGKILL and resumes it, again and again. By hand:

    python tests/crash/kill_resume.py [--rounds N] [--seed N]

Each task sleeps 20-50 ms and appends a line to a file; the process is killed when 20 to 180 lines
are there. Whatever the moment, every task must end, and a line that is there twice must name a task
whose intent was in the journal when the process died and whose result was not. Looks at the journal
with the standard library's SQLite alone.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

HERE = Path(__file__).parent
TASKS, LAYER, AT_ONCE = 200, 20, 8
LEAST, MOST = 20, 180
PATIENCE = 60.0


class Round(NamedTuple):
    """One kill: how many lines there were, which tasks ran twice, what is wrong."""

    lines: int
    repeated: list[str]
    wrong: list[str]
    seconds: float


def workflow(file: Path, rng: Random) -> dict[str, Any]:
    """200 tasks in layers of 20, each after two of the layer before, eight at once."""
    tasks = []
    for number in range(TASKS):
        before = range(max(0, number - number % LAYER - LAYER), number - number % LAYER)
        tasks.append(
            {
                "name": f"task-{number:03}",
                "agent_name": "writer",
                "action": "write",
                "depends_on": [f"task-{n:03}" for n in sorted(rng.sample(before, 2))]
                if before
                else [],
                "parameters": {"file": str(file), "seconds": rng.uniform(0.02, 0.05)},
            }
        )
    return {
        "name": "two hundred lines",
        "max_parallel": AT_ONCE,
        "global_timeout": 600,
        "agents": [{"name": "writer", "type": "custom", "endpoint": "custom://write"}],
        "tasks": tasks,
    }


def agenthive(*words: object) -> list[str]:
    agents = ("--agents", HERE / "agents.py")
    return [str(Path(sys.executable).with_name("agenthive")), *map(str, (*words, *agents))]


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def facts(journal: Path) -> list[dict[str, Any]]:
    """All events of all runs, as they are on disk."""
    query = "SELECT payload FROM records WHERE stream != 'hive' ORDER BY pos"
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as connection:
        return [e for (payload,) in connection.execute(query) for e in json.loads(payload)]


def kill_when(process: subprocess.Popen[bytes], file: Path, wanted: int) -> int:
    """SIGKILL once the file has so many lines; how many it has then."""
    end = time.monotonic() + PATIENCE
    while len(lines(file)) < wanted:
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"the run ended too early, with {process.returncode}")
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return len(lines(file))


def play(folder: Path, rng: Random) -> Round:
    """Run, kill, look, resume, look again."""
    file, home, definition = folder / "lines", folder / "home", folder / "workflow.json"
    definition.write_text(json.dumps(workflow(file, rng)))
    began = time.monotonic()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(agenthive("run", definition, "--home", home), **quiet)
    count = kill_when(process, file, rng.randint(LEAST, MOST - AT_ONCE))
    before = facts(copied(home, folder / "as it was"))
    done = subprocess.run(
        agenthive("resume", "--home", home, "--json"), capture_output=True, timeout=PATIENCE
    )
    wrong = [f"resume ended with {done.returncode}"] if done.returncode else []
    wrong += look(done.stdout, facts(home / "journal.db"), before, lines(file), count)
    repeated = [name for name, n in Counter(names(lines(file))).items() if n > 1]
    return Round(count, repeated, wrong, time.monotonic() - began)


def copied(home: Path, to: Path) -> Path:
    """The journal with its write-ahead log, as the dead process left them."""
    to.mkdir()
    for part in home.glob("journal.db*"):
        shutil.copy(part, to / part.name)
    return to / "journal.db"


def names(written: list[str]) -> list[str]:
    return [line.split()[0] for line in written]


def look(
    printed: bytes,
    after: list[dict[str, Any]],
    before: list[dict[str, Any]],
    written: list[str],
    count: int,
) -> list[str]:
    """What is wrong, one line each."""
    found = []
    told = json.loads(printed)["runs"]
    if [(run["status"], run["completed_tasks"]) for run in told] != [("completed", TASKS)]:
        found.append(f"resume told {[(run['status'], run['completed_tasks']) for run in told]}")
    succeeded = Counter(e["task"] for e in after if e["type"] == "task.succeeded")
    if len(succeeded) != TASKS or set(succeeded.values()) != {1}:
        found.append(f"{len(succeeded)} tasks succeeded, {sum(succeeded.values())} times")
    if len(set(names(written))) != TASKS:
        found.append(f"{TASKS - len(set(names(written)))} tasks wrote no line")
    if not LEAST <= count <= MOST:
        found.append(f"killed at {count} lines")
    started = {e["task"] for e in before if e["type"] == "task.started"}
    ended = {e["task"] for e in before if e["type"] == "task.succeeded"}
    if strange := set(names(written[:count])) - started:
        found.append(f"written without an intent: {sorted(strange)}")
    for name, times in Counter(names(written)).items():
        if times > 1 and (name not in started or name in ended):
            found.append(f"{name} was repeated, though it was not in flight")
    keys: dict[str, set[str]] = {}
    for line in written:
        keys.setdefault(line.split()[0], set()).add(line.split()[1])
    found += [f"{name} had {len(k)} keys" for name, k in keys.items() if len(k) > 1]
    return found


def rounds(count: int, seed: int) -> list[Round]:
    found = []
    for number in range(count):
        with tempfile.TemporaryDirectory() as folder:
            found.append(play(Path(folder), Random(seed * 1000 + number)))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    repeats, wrong = [], 0
    for number in range(options.rounds):
        [one] = rounds(1, options.seed * 1000 + number)
        repeats.append(len(one.repeated))
        wrong += bool(one.wrong)
        print(
            f"round {number + 1:2}: killed at {one.lines:3} lines, all {TASKS} tasks completed, "
            f"{len(one.repeated)} repeated, {one.seconds:.1f} s"
            if not one.wrong
            else f"round {number + 1:2}: {'; '.join(one.wrong)}",
            flush=True,
        )
    print(
        f"{options.rounds} rounds, {wrong} with something wrong; lines repeated: "
        f"{sum(repeats)} in all, at most {max(repeats)} a round"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
