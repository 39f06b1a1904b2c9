"""Telling a run what somebody says, and going on with it if nobody else does.

What `approve`, `reject`, `signal` and `resolve` have in common. Decides nothing about a run.
"""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from agenthive.cli.support import follow, output
from agenthive.cli.support.interrupts import Interrupts
from agenthive.cli.support.session import Session
from agenthive.core.history.report import RunReport
from agenthive.core.model.states import CLOSED, RunStatus
from agenthive.core.values import JSONValue
from agenthive.errors import DefinitionError
from agenthive.hive import reading
from agenthive.settings import Settings


async def say(
    settings: Settings,
    files: Sequence[Path],
    run: str,
    what: str,
    *about: str,
    done: str,
    as_json: bool,
    **said: Any,
) -> int:
    """Say it, then follow the run to where it stops, unless another process has it in hand.

    ``done`` is what is printed once it is on disk. The exit code is 0, or that of the run if it
    ends badly while we follow it.
    """
    async with reading(settings.home) as archive:
        found = await archive.find(run)
        root = await archive.root(found)
    async with Interrupts() as interrupts, Session(settings, files, interrupts) as session:
        await session.say(what, found, *about, **said)
        if not as_json:
            output.line(f"{found} {output.safe(about[0])}: {done}")
        return await go_on(session, interrupts, root, as_json=as_json)


async def go_on(session: Session, interrupts: Interrupts, run: str, *, as_json: bool) -> int:
    """Follow the run to where it stops if we have it in hand, and say how it stands."""
    ended = True
    if session.hive is not None:
        last = await _last(session.settings, run)
        work = follow.follow_all(session, {run: last}, quiet=as_json)
        ended = await interrupts.finishes(work)
        await follow.leave(session, interrupts, told=not ended)
    report = await session.report(run)
    if as_json:
        output.document("run", **output.run_document(report))
    else:
        output.note(output.ending(report).strip())
    return _code(report) if ended else follow.INTERRUPTED


def _code(report: RunReport) -> int:
    """A run that goes on, or waits for somebody else, is no failure of what was said."""
    return report.exit_code if RunStatus(report.status) in CLOSED else 0


async def _last(settings: Settings, run: str) -> int:
    async with reading(settings.home) as archive:
        return await archive.last(run)


def json_value(text: str | None, option: str) -> JSONValue:
    """The value given as JSON. Raises DefinitionError."""
    if text is None:
        return None
    try:
        found: JSONValue = msgspec.json.decode(text.encode("utf-8", "surrogateescape"))
    except (msgspec.DecodeError, ValueError) as error:
        hint = f"Quote it for the shell: {option} '{{\"ok\": true}}' or {option} '\"text\"'."
        raise DefinitionError(f"{option} is not JSON: {error}", hint=hint) from None
    return found


def whoami() -> str:
    """The name of who runs this command, as the system has it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "local"
