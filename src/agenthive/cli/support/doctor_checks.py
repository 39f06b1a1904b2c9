"""The checks of `agenthive doctor`: one function for each, returning a `Finding`.

Changes nothing, except that a file of a few bytes is written to the home to time the disk, and
removed again. Prints names of environment variables, never their values. To add a check: a function
in `CHECKS`.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from agenthive.cli.support import output
from agenthive.cli.support.session import build_registry
from agenthive.core.engine.engine_state import DAMAGED_RUNS_PAGE
from agenthive.core.values import SECOND
from agenthive.errors import AgentHiveError, HomeBusy, OwnerGone, StoreError
from agenthive.hive import open_journal
from agenthive.infra.clock import SystemClock
from agenthive.infra.home import Home
from agenthive.ipc.client import ControlClient
from agenthive.settings import Settings
from agenthive.stores.sqlite import engine_version

SAFE_SQLITE: Final = (3, 51, 3)
"""The first release without the WAL-reset bug."""
LITTLE_SPACE: Final = 200 * 2**20
"""Bytes of free disk space below which the check fails."""
MAX_LISTED_RUNS: Final = 20
"""Damaged runs that the check of the journal names."""
KEYS: Final = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one check; ``exit_code`` is that of the command if it is not ``good``."""

    what: str
    good: bool = True
    detail: str = ""
    hint: str = ""
    exit_code: int = 1


async def run_checks(settings: Settings) -> list[Finding]:
    """Run all checks, in order."""
    return [await check(settings) for check in CHECKS]


async def _check_python(settings: Settings) -> Finding:
    good = sys.version_info >= (3, 11)
    return Finding(what="python", good=good, detail=platform.python_version())


async def _check_sqlite(settings: Settings) -> Finding:
    version = engine_version()
    good = tuple(int(part) for part in version.split(".")) >= SAFE_SQLITE
    return Finding(
        what="sqlite",
        good=good,
        detail=version,
        hint="" if good else "Upgrade apsw: older SQLite can corrupt a journal.",
    )


async def _check_agents(settings: Settings) -> Finding:
    registry = build_registry(settings)
    problems = []
    for name in settings.agents:
        try:
            registry.load_custom(name)
        except AgentHiveError as error:
            problems.append(error.message)
    problems += [problem for kind in registry.kinds if (problem := registry.kind_problem(kind))]
    summary = f"{len(registry.sources)} custom agents"
    return Finding(what="agents", good=not problems, detail="; ".join(problems) or summary)


async def _check_keys(settings: Settings) -> Finding:
    key_states = [f"{name} {'set' if os.environ.get(name) else 'not set'}" for name in KEYS]
    return Finding(what="model keys", detail=", ".join(key_states))


async def _check_home(settings: Settings) -> Finding:
    home = settings.home
    if not home.exists():
        return Finding(what="home", detail=f"{home} (does not exist yet; the first run creates it)")
    good = home.is_dir() and os.access(home, os.R_OK | os.W_OK | os.X_OK)
    hint = (
        ""
        if good
        else "Make it a directory that you can read and write, or choose another with --home."
    )
    return Finding(what="home", good=good, detail=str(home), hint=hint)


async def _check_owner(settings: Settings) -> Finding:
    home = Home(settings.home)
    if not (settings.home / "door").exists():
        return Finding(what="owner", detail="none")
    try:
        status = await ControlClient(home).status()
    except OwnerGone as error:
        return Finding(what="owner", good=False, detail=error.message, hint=error.hint)
    except HomeBusy:
        return Finding(what="owner", detail="none (the last one ended without closing the home)")
    return Finding(what="owner", detail=f"process {status['pid']}")


async def _check_space(settings: Settings) -> Finding:
    existing = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    good = free >= LITTLE_SPACE
    hint = "" if good else "Free some disk space: on a full disk the journal accepts no new work."
    return Finding(what="disk", good=good, detail=f"{free / 2**20:,.0f} MiB free", hint=hint)


async def _check_flush(settings: Settings) -> Finding:
    if not settings.home.is_dir() or not os.access(settings.home, os.W_OK):
        return Finding(
            what="flush", detail="not measured: the home does not exist or is not writable"
        )
    probe = settings.home / f"doctor-{os.getpid()}"
    try:
        milliseconds = min(_time_flush(probe) for _ in range(5)) * 1000
    except OSError as error:
        return Finding(what="flush", good=False, detail=str(error.strerror), exit_code=10)
    finally:
        probe.unlink(missing_ok=True)
    return Finding(what="flush", detail=f"{milliseconds:.2f} ms to flush a commit to disk")


def _time_flush(path: Path) -> float:
    with path.open("wb") as file:
        file.write(b"agenthive")
        file.flush()
        started = time.perf_counter()
        os.fsync(file.fileno())
        return time.perf_counter() - started


async def _check_journal(settings: Settings) -> Finding:
    if not Home(settings.home).has_journal:
        return Finding(what="journal", detail="none yet")
    try:
        async with open_journal(settings.home) as journal:
            check = await journal.check_journal()
            set_apart = await journal.list_set_apart()
            unfinished = await journal.list_runs(unfinished=True)
    except StoreError as error:
        return Finding(
            what="journal", good=False, detail=error.message, hint=error.hint, exit_code=10
        )
    problems = {run: error.message for run, error in check.damage.items()}
    for run, reason in set_apart.items():
        problems.setdefault(run, f"run {run} is set apart: {reason}")
    if check.missing_events:
        problems["journal"] = f"journal: {check.describe_missing_events()}"
    if problems:
        is_damaged = bool(check.damage) or bool(check.missing_events)
        return _describe_problems(problems, damaged=is_damaged)
    detail = (
        f"{check.records:,} records, all hash chains intact; {len(unfinished):,} unfinished runs"
    )
    return Finding(what="journal", detail=detail)


async def _check_clock(settings: Settings) -> Finding:
    """How far the clock is from the journal, and the last time that it was set back."""
    if not Home(settings.home).journal.exists():
        return Finding(what="clock", detail="no journal to compare it with yet")
    try:
        async with open_journal(settings.home) as journal:
            steps = await journal.hive_stream.list_clock_steps()
            latest = await journal.hive_stream.find_latest_time()
    except StoreError:
        return Finding(what="clock", detail="not compared: the journal cannot be read")
    ahead = 0 if latest is None else latest - SystemClock().now()
    if ahead >= SECOND:
        return Finding(
            what="clock",
            detail=f"{output.format_duration(ahead / SECOND)} behind the last record of the "
            "journal: it is behind now, or it was ahead then",
            hint="If the clock is right now, nothing is to be done: the next command records the "
            "step, and what waits for a time, an account of a day and the age of a run go by the "
            "clock from then on. If it is wrong, set it.",
        )
    if not steps:
        return Finding(what="clock", detail="never set back while this home was in use")
    last = steps[-1]
    times = f", and {len(steps) - 1} times before" if len(steps) > 1 else ""
    return Finding(
        what="clock",
        detail=f"was set back by {output.format_duration(last.by / SECOND)} at "
        f"{output.format_time(last.shown)}{times}",
        hint="What was recorded before that has the time of a clock that was ahead: runs, costs "
        "and days of budgets keep it.",
    )


def _describe_problems(problems: dict[str, str], *, damaged: bool) -> Finding:
    """The finding about a journal in which these runs cannot be continued."""
    lines = [
        message if run in message else f"run {run}: {message}"
        for run, message in list(problems.items())[:MAX_LISTED_RUNS]
    ]
    if len(problems) > MAX_LISTED_RUNS:
        lines.append(f"and {len(problems) - MAX_LISTED_RUNS:,} more runs")
    return Finding(
        what="journal",
        good=False,
        detail="; ".join(lines),
        hint=f"The other runs are not affected. What you can do: {DAMAGED_RUNS_PAGE}",
        exit_code=10 if damaged else 1,
    )


CHECKS: Final[tuple[Callable[[Settings], Awaitable[Finding]], ...]] = (
    _check_python,
    _check_sqlite,
    _check_agents,
    _check_keys,
    _check_home,
    _check_owner,
    _check_space,
    _check_flush,
    _check_journal,
    _check_clock,
)
