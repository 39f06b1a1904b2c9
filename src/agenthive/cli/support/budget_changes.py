"""Changing a limit, and going on with the run that waits for it if nobody else does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agenthive.cli.support import output
from agenthive.cli.support.human_input import go_on, whoami
from agenthive.cli.support.interrupts import Interrupts
from agenthive.cli.support.session import Session
from agenthive.core.budget.scopes import shared
from agenthive.core.values import NanoUSD, dollars
from agenthive.hive import reading
from agenthive.settings import Settings


async def change(
    settings: Settings,
    files: Sequence[Path],
    scope: str,
    part: str,
    amount: NanoUSD | None,
    *,
    add: bool,
    reason: str,
    as_json: bool,
) -> int:
    """Set the limit of a scope, or add to it; ``part`` is what of a run it is about.

    The exit code is 0, or that of the run if it ends badly while we follow it.
    """
    run = root = ""
    if scope not in ("tenant", "day") and not scope.startswith("agent:"):
        async with reading(settings.home) as archive:
            run = await archive.find(scope)
            root = await archive.root(run)
    name = f"run {run}{part}" if run else shared(scope.replace(":", " ", 1))
    said = {"add": add, "actor": whoami(), "reason": reason}
    async with Interrupts() as interrupts, Session(settings, files, interrupts) as session:
        await session.set_budget(name, amount, **said)
        if run:
            if not as_json:
                output.line(f"{name}: {_told(amount, add=add)}")
            return await go_on(session, interrupts, root, as_json=as_json)
    if as_json:
        output.document("budget", scope=name, limit=amount, added=add, unit="nano-dollars")
    else:
        output.line(f"{name}: {_told(amount, add=add)}")
    return 0


def _told(amount: NanoUSD | None, *, add: bool) -> str:
    if amount is None:
        return "the limit is what the workflow and the settings say"
    return f"{'added ' if add else 'the limit is '}{dollars(amount)}"
