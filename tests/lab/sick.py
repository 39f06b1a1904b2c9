"""A hive whose disk falls ill under it, seen from inside: `python -m tests.lab.sick FOLDER UNIT`.

FOLDER is a small file system of its own. By its number a unit fills the disk up in the middle of a
run, takes the descriptors away, or makes the disk read-only between two openings. While that lasts
new work is refused within a second and `why` names the journal; once it is healed, all that was
accepted ends by itself, each call made once. One line a fault. Heals only what it did itself.
"""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

from agenthive import AgentHiveError, Directory, Hive, Workflow, WorkflowSpec
from agenthive.core.model.calls import Call
from agenthive.errors import StoreUnavailable
from tests.stores.broken_disk import fill

KINDS = ("full", "descriptors", "read-only")
TASKS = 8
SOON = 1.0
"""Seconds within which new work must be refused."""
PATIENCE = 12.0


def chain(tasks: int) -> WorkflowSpec:
    """Tasks one after the other."""
    made = Workflow("sick")
    agent = made.agent("w", type="custom", endpoint="custom://w")
    for n in range(tasks):
        made.task(f"t{n}", agent, "go", depends_on=[f"t{n - 1}"] if n else [])
    return made.build()


class Sick:
    """One hive, and what was found wrong with it."""

    def __init__(self, folder: Path, unit: int) -> None:
        self.folder, self.home, self.ballast = folder, folder / "home", folder / "ballast"
        self.kind = KINDS[unit % len(KINDS)]
        self.at = Random(unit).randrange(1, TASKS - 1)
        self.calls: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.ill, self.begun = asyncio.Event(), asyncio.Event()
        self.limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def work(self, call: Call) -> str:
        """The agent; in the middle of a run everything turns bad."""
        self.calls[f"{call.run}/{call.task}"] += 1
        self.begun.set()
        if call.task != f"t{self.at}" or self.kind == "read-only":
            return "x" * 30_000
        if self.kind == "full":
            fill(self.ballast)
            self.ill.set()
            return "x" * 3_000_000  # more than the log has room for
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest() + 1, self.limits[1]))
        self.ill.set()
        await asyncio.sleep(0.2)
        return "x" * 30_000

    def opened(self, folder: Path | None = None) -> Hive:
        agents = Directory()
        agents.register("w", self.work)
        return Hive.open(folder or self.home, recover=True, agents=agents)

    def heal(self) -> None:
        if self.kind == "full":
            self.ballast.unlink(missing_ok=True)
        elif self.kind == "descriptors":
            resource.setrlimit(resource.RLIMIT_NOFILE, self.limits)
        else:
            remount(self.folder, "rw")

    async def falls_ill_under_way(self) -> None:
        async with self.opened() as hive:
            run = await hive.submit(chain(TASKS))
            ended = asyncio.ensure_future(hive.wait(run))
            await asyncio.wait_for(self.ill.wait(), PATIENCE)
            if self.kind == "full":
                await self.refuses(hive, run)
            else:
                await self.cannot_open()
            self.heal()
            report = await asyncio.wait_for(ended, PATIENCE)
            self.check(report.status == "completed", f"ended {report.status}")
            await self.well(hive)

    async def refuses(self, hive: Hive, run: str) -> None:
        """New work is refused soon, and the reason is told."""
        began, refused = time.monotonic(), False
        while time.monotonic() - began < SOON and not refused:
            try:
                await asyncio.wait_for(hive.submit(chain(1)), SOON)
                await asyncio.sleep(0.02)
            except StoreUnavailable:
                refused = True
            except TimeoutError:
                break
        self.check(refused, "new work was not refused")
        reasons = {str(one.kind) for one in await hive.why(run)}
        self.check("store" in reasons, f"why does not name the journal: {sorted(reasons)}")
        after = [name for name in self.calls if int(name.rpartition("/t")[2]) > self.at]
        self.check(not after, f"went on with {after} on a full disk")

    async def cannot_open(self) -> None:
        """Another home cannot be opened now, and an error of ours says so."""
        try:
            async with self.opened(self.folder / "other"):
                pass
        except AgentHiveError:
            return
        except OSError as error:
            self.check(False, f"opening broke: {error!r}")

    async def read_only(self) -> None:
        async with self.opened() as hive:
            run = await hive.submit(chain(TASKS))
            await asyncio.wait_for(self.begun.wait(), PATIENCE)
        remount(self.folder, "ro")
        try:
            async with self.opened():
                self.check(False, "a read-only home was opened")
        except AgentHiveError:
            pass
        except OSError as error:
            self.check(False, f"opening broke: {error!r}")
        self.heal()
        async with self.opened() as hive:
            report = await asyncio.wait_for(hive.wait(run), PATIENCE)
            self.check(report.status == "completed", f"ended {report.status}")
            await self.well(hive)

    async def well(self, hive: Hive) -> None:
        """Everything is as it should be."""
        again = await asyncio.wait_for(hive.run(chain(1)), PATIENCE)
        self.check(again.status == "completed", f"a new run ended {again.status}")
        await hive.archive.verify()
        left = await hive.runs(unfinished=True)
        for row in left:
            await asyncio.wait_for(hive.wait(row.run), PATIENCE)
        twice = [name for name, times in self.calls.items() if times > 1]
        self.check(not twice or self.kind == "read-only", f"called twice: {twice}")

    def check(self, good: bool, line: str) -> None:
        if not good:
            self.wrong.append(f"{self.kind}: {line}")

    async def live(self) -> None:
        try:
            async with asyncio.timeout(4 * PATIENCE):
                await (self.read_only() if self.kind == "read-only" else self.falls_ill_under_way())
        except (AgentHiveError, OSError, TimeoutError) as error:
            self.check(False, f"{type(error).__name__}: {error}")
        finally:
            self.heal()


def highest() -> int:
    """The highest descriptor that is open."""
    return max(int(name) for name in os.listdir("/proc/self/fd"))


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


def main() -> int:
    sick = Sick(Path(sys.argv[1]), int(sys.argv[2]))
    asyncio.run(sick.live())
    for line in sick.wrong:
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
