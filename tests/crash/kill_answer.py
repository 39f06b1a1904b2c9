"""Kills the owner of a home between the commit of a request and the answer to it. By hand:

    python tests/crash/kill_answer.py [--rounds N] [--with injected,strace] [COMMAND ...]

The command that sent the request must carry it out once and end with its true answer, though it has
to become the owner itself for that. ``injected``: the owner kills itself when the commit is on disk
(`dying_owner.py`). ``strace``: the return of fdatasync is held up, and SIGKILL comes meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2]))
from agenthive.errors import HomeBusy
from agenthive.hive import open_journal
from agenthive.infra.home import Home
from agenthive.ipc.client import ControlClient

HERE: Final = Path(__file__).parent
PATIENCE: Final = 60.0
HELD_UP: Final = 1.5
"""Seconds between the commit and its return, under strace."""
LIMIT: Final = 55_000_000
"""The limit of a run, in nano-dollars, before it is raised."""
WAITING: Final = 8
"""Exit code of a run that waits for a person."""

Facts = dict[str, Any]


class Scene(NamedTuple):
    """A command, the code it must end with, and what it must have changed."""

    words: Sequence[str]
    exit_code: int
    #: From what was there before, what is there after and what was printed: what is wrong.
    judge: Callable[[Facts, Facts, str], str]


def workflow(lines: Path) -> dict[str, Any]:
    """Waits for an approval and for the signal ``go``, twice; has a limit that can be raised."""
    write = {"file": str(lines), "seconds": 0}
    return {
        "agenthive": 1,
        "name": "waits",
        "budget": {"limit": LIMIT / 1e9, "on_exceeded": "wait"},
        "agents": [{"name": "writer", "type": "custom", "endpoint": "custom://write"}],
        "tasks": [
            {"name": "a", "agent": "writer", "action": "write", "parameters": write},
            {
                "name": "ap",
                "agent": "writer",
                "action": "write",
                "parameters": write,
                "approval": True,
            },
            {"name": "s1", "wait_for": "go"},
            {"name": "s2", "wait_for": "go", "depends_on": ["s1"]},
        ],
    }


def _expect(actual: object, expected: object, label: str) -> str:
    return "" if actual == expected else f"{label}: {actual}, not {expected}"


def _judge_limit(before: Facts, after: Facts, printed: str) -> str:
    return _expect(after["limit"] - before["limit"], 1_000_000, "nano-dollars were added")


def _judge_signal(before: Facts, after: Facts, printed: str) -> str:
    received = [event for event in after["events"] if event["type"] == "run.signal_received"]
    return _expect(len(received), 1, "signals, and the second wakes another task")


def _judge_approval(before: Facts, after: Facts, printed: str) -> str:
    kinds = [event["type"] for event in after["events"] if "task.approval" in event["type"]]
    actual = (kinds, after["lines"].count("ap"))
    expected = (["task.approval_requested", "task.approval_given"], 1)
    return _expect(actual, expected, "events about the approval, and calls")


def _judge_new_run(before: Facts, after: Facts, printed: str) -> str:
    new = after["runs"].keys() - before["runs"].keys()
    if len(new) != 1:
        return f"{len(new)} new runs, not one"
    return "" if new.pop() in printed else f"the new run is not in what was printed: {printed}"


def _judge_cancel(before: Facts, after: Facts, printed: str) -> str:
    requests = [event for event in after["events"] if event["type"] == "run.cancel_requested"]
    status = after["runs"][after["run"]]
    return _expect((len(requests), status), (1, "cancelled"), "cancellations and the status")


SCENES: Final = {
    "top-up": Scene(("budget", "top-up", "RUN", "0.001"), 0, _judge_limit),
    "signal": Scene(("signal", "RUN", "go", "--data", "1"), 0, _judge_signal),
    "approve": Scene(("approve", "RUN", "ap"), 0, _judge_approval),
    "trigger": Scene(("schedule", "trigger", "x"), 0, _judge_new_run),
    "fork": Scene(("fork", "RUN", "--from", "s1"), WAITING, _judge_new_run),
    "cancel": Scene(("cancel", "RUN"), 0, _judge_cancel),
    "run": Scene(("run", "FILE"), WAITING, _judge_new_run),
}
"""The seven commands, by name."""


class Stage:
    """A home with a run that waits, and a schedule, from which each round starts anew.

    ``source`` is put on the PYTHONPATH of every process: the code that is tried.
    """

    def __init__(self, folder: Path, source: Path) -> None:
        self.folder = folder
        self.lines = folder / "lines"
        self.file = folder / "workflow.json"
        self.template = folder / "template"
        self.owner_log = folder / "owner.log"
        self.env = dict(os.environ, PYTHONPATH=f"{source}:{HERE.parents[1]}")
        self.file.write_text(json.dumps(workflow(self.lines)))
        self._execute("run", self.file, "--agents", HERE / "agents.py", home=self.template)
        when = ("--every", "1d", "--start", "2130-01-01T00:00:00Z")
        agents = ("--agents", HERE / "agents.py")
        self._execute("schedule", "set", "x", self.file, *when, *agents, home=self.template)
        self.facts = read_facts(self.template, self.lines)

    def _execute(self, *words: object, home: Path) -> None:
        command = [*self.command(words), "--home", str(home)]
        subprocess.run(command, env=self.env, capture_output=True, timeout=PATIENCE)

    def command(self, words: Sequence[object]) -> list[str]:
        """The command line of agenthive with these words."""
        return [sys.executable, "-m", "agenthive", *map(str, words)]

    def play(self, scene: Scene, method: str) -> str:
        """One round; what is wrong, empty if nothing is."""
        home = self.folder / "home"
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(self.template, home)
        self.lines.unlink(missing_ok=True)
        names = {"RUN": self.facts["run"], "FILE": str(self.file)}
        words = [names.get(word, word) for word in scene.words]
        command = [*self.command(words), "--home", str(home), "--agents", str(HERE / "agents.py")]
        process = {"injected": self.kill_itself, "strace": self.kill_under_strace}[method](
            home, command
        )
        try:
            printed = "".join(process.communicate(timeout=PATIENCE))
        except subprocess.TimeoutExpired:
            process.kill()
            return f"hung: {process.communicate()}"
        if process.returncode != scene.exit_code:
            return f"exit code {process.returncode}, not {scene.exit_code}: {printed}"
        return scene.judge(self.facts, read_facts(home, self.lines, self.facts["run"]), printed)

    def kill_itself(self, home: Path, command: list[str]) -> subprocess.Popen[str]:
        """Start the command at an owner that kills itself; the command, once the owner is dead."""
        owner = [sys.executable, str(HERE / "dying_owner.py"), str(home)]
        with self._owned(owner, home) as process:
            started = self._start(command)
            try:
                wait_until(lambda: process.poll() is not None or started.poll() is not None)
            except RuntimeError as error:
                started.kill()
                printed = started.communicate()
                raise RuntimeError(
                    f"{error}; command: {printed}; {self._inspect(process)}"
                ) from error
            if process.poll() != -signal.SIGKILL:
                # The command ended first, or the owner did by itself: the method does not work.
                started.kill()
                raise RuntimeError(f"owner {process.poll()}, command {started.communicate()}")
            return started

    def _inspect(self, owner: subprocess.Popen[bytes]) -> str:
        """Where the threads of an owner are that should have died."""
        os.kill(owner.pid, signal.SIGUSR1)
        time.sleep(1)
        return f"owner: {self.owner_log.read_text()}"

    def kill_under_strace(self, home: Path, command: list[str]) -> subprocess.Popen[str]:
        """Start the command at an owner under strace; the command, once the owner is killed."""
        trace = home.with_name("trace")
        trace.write_text("")
        delay = f"inject=fdatasync:delay_exit={int(HELD_UP * 1e6)}"
        strace = ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=fdatasync", "-e", delay]
        owner = self.command(["work", "--home", home, "--agents", HERE / "agents.py"])
        with self._owned([*strace, *owner], home):
            pid = Home(home).owner_pid()
            assert pid is not None
            seen = -1
            while seen != (seen := count_syncs(trace)):
                # Until nothing more is written: what opening the home wrote is held up, too.
                time.sleep(HELD_UP + 0.5)
            started = self._start(command)
            wait_until(lambda: count_syncs(trace) > seen)
            time.sleep(0.2)
            os.kill(int(pid), signal.SIGKILL)
            return started

    def _start(self, command: list[str]) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, env=self.env, text=True, **pipes)

    @contextmanager
    def _owned(self, command: list[str], home: Path) -> Iterator[subprocess.Popen[bytes]]:
        """An owner of the home that answers; it is dead at the end."""
        with self.owner_log.open("w") as log:
            process = subprocess.Popen(command, env=self.env, stdout=subprocess.DEVNULL, stderr=log)
        try:
            wait_until(lambda: answers(home))
            yield process
        finally:
            process.kill()
            process.wait()


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until the condition is true. Raises RuntimeError after `PATIENCE`."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("it took too long")
        time.sleep(0.02)


def answers(home: Path) -> bool:
    """Whether a process owns the home and answers requests."""
    try:
        return bool(asyncio.run(ControlClient(Home(home)).status()))
    except HomeBusy:
        return False


def count_syncs(trace: Path) -> int:
    """The calls of fdatasync that have begun so far."""
    return trace.read_text().count("fdatasync(")


def read_facts(home: Path, lines: Path, run: str = "") -> Facts:
    """What the journal of a home says, about ``run`` or the oldest run, and what was written."""
    written = lines.read_text().splitlines() if lines.exists() else []
    return asyncio.run(_read_journal(home, run)) | {"lines": [line.split()[0] for line in written]}


async def _read_journal(home: Path, run: str) -> Facts:
    async with open_journal(home) as journal:
        rows = await journal.list_runs()
        run = run or rows[-1].run
        limits = {account.scope: account.limit for account in await journal.list_accounts()}
        limit = limits.get(f"run {run}")
        return {
            "run": run,
            "runs": {row.run: row.status for row in rows},
            "limit": LIMIT if limit is None else limit,
            "events": [
                {"type": event.type, **json.loads(bytes(event.data))}
                async for event in journal.read_events(run)
            ],
        }


def play_rounds(
    folder: Path, source: Path, names: Sequence[str], method: str, rounds: int
) -> Iterator[tuple[str, str]]:
    """(command, what is wrong) of each round."""
    stage = Stage(folder, source)
    for name in names:
        for _ in range(rounds):
            yield name, stage.play(SCENES[name], method)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=[], metavar="COMMAND", choices=[[], *SCENES])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--with", dest="methods", default="injected,strace")
    options = parser.parse_args()
    bad = 0
    for method in options.methods.split(","):
        for name in options.names or SCENES:
            with tempfile.TemporaryDirectory() as folder:
                source = HERE.parents[1] / "src"
                played = play_rounds(Path(folder), source, [name], method, options.rounds)
                wrong = [text for _, text in played if text]
            bad += len(wrong)
            print(f"{method:9} {name:8} {options.rounds} kills, {len(wrong)} wrong", flush=True)
            for text in wrong:
                print(f"    {text}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
