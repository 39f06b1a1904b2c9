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

from agenthive import AgentHiveError, AgentRegistry, Hive, Workflow, WorkflowSpec
from agenthive.core.model.calls import Call
from agenthive.errors import StoreUnavailable
from tests.stores.broken_disk import fill

KINDS = ("full", "descriptors", "read-only")
TASKS = 8
SOON = 1.0
"""Seconds within which new work must be refused."""
PATIENCE = 12.0


def build_chain(tasks: int) -> WorkflowSpec:
    """Tasks one after the other."""
    flow = Workflow("sick")
    agent = flow.agent("w", type="custom", endpoint="custom://w")
    for n in range(tasks):
        flow.task(f"t{n}", agent, "go", depends_on=[f"t{n - 1}"] if n else [])
    return flow.build()


class FailingHive:
    """One hive, and what was found wrong with it."""

    def __init__(self, folder: Path, unit: int) -> None:
        self.folder, self.home, self.ballast = folder, folder / "home", folder / "ballast"
        self.kind = KINDS[unit % len(KINDS)]
        self.failing_index = Random(unit).randrange(1, TASKS - 1)
        self.calls: Counter[str] = Counter()
        self.problems: list[str] = []
        self.has_failed, self.has_begun = asyncio.Event(), asyncio.Event()
        self.limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def work(self, call: Call) -> str:
        """The agent; in the middle of a run everything turns bad."""
        self.calls[f"{call.run}/{call.task}"] += 1
        self.has_begun.set()
        if call.task != f"t{self.failing_index}" or self.kind == "read-only":
            return "x" * 30_000
        if self.kind == "full":
            fill(self.ballast)
            self.has_failed.set()
            return "x" * 3_000_000  # more than the log has room for
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest_descriptor() + 1, self.limits[1]))
        self.has_failed.set()
        await asyncio.sleep(0.2)
        return "x" * 30_000

    def open_hive(self, folder: Path | None = None) -> Hive:
        agents = AgentRegistry()
        agents.register("w", self.work)
        return Hive.open(folder or self.home, recover=True, agents=agents)

    def heal(self) -> None:
        if self.kind == "full":
            self.ballast.unlink(missing_ok=True)
        elif self.kind == "descriptors":
            resource.setrlimit(resource.RLIMIT_NOFILE, self.limits)
        else:
            remount(self.folder, "rw")

    async def fail_during_run(self) -> None:
        async with self.open_hive() as hive:
            run = await hive.submit(build_chain(TASKS))
            run_end = asyncio.ensure_future(hive.wait(run))
            await asyncio.wait_for(self.has_failed.wait(), PATIENCE)
            if self.kind == "full":
                await self.check_refusal(hive, run)
            else:
                await self.check_opening_fails()
            self.heal()
            report = await asyncio.wait_for(run_end, PATIENCE)
            self.require(report.status == "completed", f"ended {report.status}")
            await self.check_health(hive)

    async def check_refusal(self, hive: Hive, run: str) -> None:
        """New work is refused soon, and the reason is told."""
        start, refused = time.monotonic(), False
        while time.monotonic() - start < SOON and not refused:
            try:
                await asyncio.wait_for(hive.submit(build_chain(1)), SOON)
                await asyncio.sleep(0.02)
            except StoreUnavailable:
                refused = True
            except TimeoutError:
                break
        self.require(refused, "new work was not refused")
        reasons = {str(reason.kind) for reason in await hive.why(run)}
        self.require("store" in reasons, f"why does not name the journal: {sorted(reasons)}")
        after = [name for name in self.calls if int(name.rpartition("/t")[2]) > self.failing_index]
        self.require(not after, f"went on with {after} on a full disk")

    async def check_opening_fails(self) -> None:
        """Another home cannot be opened now, and an error of ours says so."""
        try:
            async with self.open_hive(self.folder / "other"):
                pass
        except AgentHiveError:
            return
        except OSError as error:
            self.require(False, f"opening broke: {error!r}")

    async def check_read_only(self) -> None:
        async with self.open_hive() as hive:
            run = await hive.submit(build_chain(TASKS))
            await asyncio.wait_for(self.has_begun.wait(), PATIENCE)
        remount(self.folder, "ro")
        try:
            async with self.open_hive():
                self.require(False, "a read-only home was opened")
        except AgentHiveError:
            pass
        except OSError as error:
            self.require(False, f"opening broke: {error!r}")
        self.heal()
        async with self.open_hive() as hive:
            report = await asyncio.wait_for(hive.wait(run), PATIENCE)
            self.require(report.status == "completed", f"ended {report.status}")
            await self.check_health(hive)

    async def check_health(self, hive: Hive) -> None:
        """Everything is as it should be."""
        second_report = await asyncio.wait_for(hive.run(build_chain(1)), PATIENCE)
        self.require(second_report.status == "completed", f"a new run ended {second_report.status}")
        await hive.journal.verify_chains()
        unfinished = await hive.runs(unfinished=True)
        for row in unfinished:
            await asyncio.wait_for(hive.wait(row.run), PATIENCE)
        twice = [name for name, times in self.calls.items() if times > 1]
        self.require(not twice or self.kind == "read-only", f"called twice: {twice}")

    def require(self, condition: bool, message: str) -> None:
        if not condition:
            self.problems.append(f"{self.kind}: {message}")

    async def run(self) -> None:
        try:
            async with asyncio.timeout(4 * PATIENCE):
                await (
                    self.check_read_only() if self.kind == "read-only" else self.fail_during_run()
                )
        except (AgentHiveError, OSError, TimeoutError) as error:
            self.require(False, f"{type(error).__name__}: {error}")
        finally:
            self.heal()


def highest_descriptor() -> int:
    """The highest descriptor that is open."""
    return max(int(name) for name in os.listdir("/proc/self/fd"))


def remount(folder: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", str(folder)], check=True)


def main() -> int:
    failing_hive = FailingHive(Path(sys.argv[1]), int(sys.argv[2]))
    asyncio.run(failing_hive.run())
    for line in failing_hive.problems:
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
