"""Changing a limit, and continuing a run that waits for it if no other process owns the home."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agenthive.cli.support import output
from agenthive.cli.support.human_input import current_user, follow_and_report
from agenthive.cli.support.interrupts import Interrupts
from agenthive.cli.support.session import Session
from agenthive.core.budget.scopes import shared_scope
from agenthive.core.values import NanoUSD, format_dollars
from agenthive.hive import open_journal
from agenthive.settings import Settings


async def change_limit(
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
    """Set the limit of a scope, or add to it (``amount`` in nano-dollars).

    ``part`` is ``" task NAME"`` or ``" agent NAME"`` for a part of a run. Returns 0, or the exit
    code of the run if it ends meanwhile.
    """
    run_id = root_id = ""
    if scope not in ("tenant", "day") and not scope.startswith("agent:"):
        async with open_journal(settings.home) as journal:
            run_id = await journal.find_run(scope)
            root_id = await journal.find_root(run_id)
    scope_name = f"run {run_id}{part}" if run_id else shared_scope(scope.replace(":", " ", 1))
    details = {"add": add, "actor": current_user(), "reason": reason}
    async with Interrupts() as interrupts, Session(settings, files, interrupts) as session:
        await session.change_limit(scope_name, amount, **details)
        if run_id:
            if not as_json:
                output.print_line(f"{scope_name}: {_describe_change(amount, add=add)}")
            return await follow_and_report(session, interrupts, root_id, as_json=as_json)
    if as_json:
        output.print_document(
            "budget", scope=scope_name, limit=amount, added=add, unit="nano-dollars"
        )
    else:
        output.print_line(f"{scope_name}: {_describe_change(amount, add=add)}")
    return 0


def _describe_change(amount: NanoUSD | None, *, add: bool) -> str:
    if amount is None:
        return "limit reset to that of the workflow and the settings"
    return f"{'added ' if add else 'limit set to '}{format_dollars(amount)}"
