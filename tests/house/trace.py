"""The path of one reply: the rooms and files it enters until its commit is acknowledged.

    python -m tests.house.trace [--map FILE] [--verbose] [--json]

Runs a chain of tasks in a home on disk and follows the reply of a task in its middle, when nothing
is done for the first time any more. The path begins when the agent returns and ends when the
runtime has acknowledged the commit, right before the next agent is called. Work of the writer
thread belongs to it: the reply waits for that. It is listed behind the callback that handed it
over, so the printout does not depend on how the threads take turns.

A room is a folder of the package, in `core` a folder of that. ``--map`` names a JSON file with the
keys ``move`` (old path -> new path) and ``split`` (old path -> new path -> names): it says in which
room of a planned layout each file will stand.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import agenthive
from agenthive import BaseAgent, Call, Hive, Reply, loads

PACKAGE = Path(agenthive.__file__).parent
PREFIX = f"{PACKAGE}/"
TASKS = 5
#: The task whose reply is followed: both its neighbours have the same shape.
FOLLOWED = "t3"
WORKFLOW = """
agenthive: 1
name: chain
agents:
  - {{name: noop, type: custom, endpoint: "custom://noop"}}
tasks:
{tasks}
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A function that was called on the path."""

    #: Path of its file inside the package.
    file: str
    function: str
    #: Whether it ran in another thread than the event loop.
    outside_loop: bool
    #: Number of the loop callback in which, or behind which, it ran.
    callback: int


@dataclass(slots=True)
class Summary:
    """The path of a reply in numbers."""

    rooms: list[str]
    room_changes: int
    files: list[str]
    file_changes: int
    functions: int


class Recorder:
    """Notes calls of functions of the package, from `begin` to `end`."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._recording = False
        self._callback = 0
        self._depth = 0
        self._loop_thread = threading.get_ident()

    def begin(self) -> None:
        """Start to note calls. Called by an agent, inside a callback of the loop."""
        self._recording = True
        self._callback = 0

    def end(self) -> None:
        """Stop, and drop the callback under way: it makes the next call."""
        if self._recording:
            self._recording = False
            self.entries = [entry for entry in self.entries if entry.callback < self._callback]

    def observe(self, frame: FrameType, event: str, argument: object) -> None:
        """A profile function, for every thread."""
        code = frame.f_code
        if event not in ("call", "return") or not code.co_filename.startswith(PREFIX):
            return
        in_loop = threading.get_ident() == self._loop_thread
        if in_loop:
            self._count_callback(event)
        if event == "call" and self._recording:
            file = code.co_filename.removeprefix(PREFIX)
            entry = Entry(file, code.co_qualname, not in_loop, self._callback)
            self.entries.append(entry)

    def _count_callback(self, event: str) -> None:
        """Count callbacks of the loop: a call of the package from outside it begins one."""
        if event == "call":
            if self._depth == 0 and self._recording:
                self._callback += 1
            self._depth += 1
        else:
            self._depth = max(self._depth - 1, 0)

    def list_entries(self) -> list[Entry]:
        """The calls in order: those of each callback, then those of threads meanwhile."""
        return sorted(self.entries, key=lambda entry: (entry.callback, entry.outside_loop))


def make_agent(recorder: Recorder) -> type[BaseAgent]:
    """An agent without work of its own, that marks where the path begins and ends."""

    class NoopAgent(BaseAgent):
        async def execute(self, action: str, parameters: dict[str, Any]) -> Any:
            raise NotImplementedError

        async def perform(self, call: Call) -> Reply:
            recorder.end()
            if call.task == FOLLOWED:
                recorder.begin()
            return Reply(result={"ok": True})

    return NoopAgent


def write_workflow() -> str:
    """A chain of tasks, as YAML."""
    lines = []
    for number in range(1, TASKS + 1):
        depends = f", depends_on: [t{number - 1}]" if number > 1 else ""
        lines.append(f"  - {{name: t{number}, agent: noop, action: work{depends}}}")
    return WORKFLOW.format(tasks="\n".join(lines))


async def run_chain(folder: Path, recorder: Recorder) -> None:
    """Run the chain in a home of its own."""
    async with Hive.open(str(folder)) as hive:
        hive.agents.register("noop", make_agent(recorder))
        report = await hive.run(loads(write_workflow()).spec)
        assert report.status == "completed", report


def record_path() -> list[Entry]:
    """The calls of the package on the path of one reply."""
    recorder = Recorder()
    with tempfile.TemporaryDirectory(prefix="agenthive-trace-") as folder:
        threading.setprofile(recorder.observe)
        sys.setprofile(recorder.observe)
        try:
            asyncio.run(run_chain(Path(folder) / "home", recorder))
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]  # None is documented
    return recorder.list_entries()


# ------------------------------------------------------------------------------------------ rooms


class Layout:
    """Where files stand: as they are, or where a list of moves puts them."""

    def __init__(self, moves: dict[str, Any] | None = None) -> None:
        moves = moves or {}
        self._moves: dict[str, str] = moves.get("move", {})
        self._splits: dict[str, dict[str, list[str]]] = moves.get("split", {})

    def find_file(self, entry: Entry) -> str:
        """The path in the package of the file that holds a function."""
        path = f"src/agenthive/{entry.file}"
        outermost = entry.function.split(".")[0]
        for target, names in self._splits.get(path, {}).items():
            if outermost in names:
                return target.removeprefix("src/agenthive/")
        return self._moves.get(path, path).removeprefix("src/agenthive/")

    def find_room(self, entry: Entry) -> str:
        """The room of the file: two folders deep in `core`, else one."""
        parts = self.find_file(entry).split("/")
        return "/".join(parts[:2] if parts[0] == "core" else parts[:1])


def count_changes(places: Sequence[str]) -> int:
    """How often a place differs from the one before."""
    return sum(before != after for before, after in itertools.pairwise(places))


def summarize(entries: Sequence[Entry], layout: Layout) -> Summary:
    """Rooms and files entered, and how often the path changes between them."""
    rooms = [layout.find_room(entry) for entry in entries]
    files = [layout.find_file(entry) for entry in entries]
    return Summary(
        rooms=sorted(set(rooms)),
        room_changes=count_changes(rooms),
        files=sorted(set(files)),
        file_changes=count_changes(files),
        functions=len({(entry.file, entry.function) for entry in entries}),
    )


def format_summary(summary: Summary) -> str:
    """The numbers, then the rooms and the files."""
    return "\n".join(
        (
            f"{len(summary.rooms)} rooms, {summary.room_changes} changes of room",
            f"{len(summary.files)} files, {summary.file_changes} changes of file",
            f"{summary.functions} functions",
            f"rooms: {', '.join(summary.rooms)}",
            f"files: {', '.join(summary.files)}",
        )
    )


def format_path(entries: Sequence[Entry], layout: Layout) -> str:
    """One line for each call, with a mark where the room changes."""
    lines = []
    room = ""
    for entry in entries:
        changed, room = layout.find_room(entry) != room, layout.find_room(entry)
        thread = "thread" if entry.outside_loop else "loop"
        mark = ">" if changed else " "
        where = f"{layout.find_file(entry)}:{entry.function}"
        lines.append(f"{entry.callback} {thread:6} {mark} {room:18} {where}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Record one path and print it."""
    parser = argparse.ArgumentParser(prog="trace", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--map", type=Path, metavar="FILE", help="JSON file of planned moves")
    parser.add_argument("--verbose", action="store_true", help="print every call")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    layout = Layout(json.loads(options.map.read_text("utf-8")) if options.map else None)
    entries = record_path()
    summary = summarize(entries, layout)
    if options.json:
        fields = {name: getattr(summary, name) for name in Summary.__slots__}
        print(json.dumps(fields, indent=1))
        return 0
    print(format_summary(summary))
    if options.verbose:
        print(f"\n{format_path(entries, layout)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
