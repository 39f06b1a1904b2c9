"""Sending human input to a run, and continuing the run if no other process owns the home.

Shared by `approve`, `reject`, `signal`, `resolve` and `budget settle`. Decides nothing about a run.
"""

from __future__ import annotations

import getpass
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from agenthive.cli.support import follow, output
from agenthive.cli.support.interrupts import Interrupts
from agenthive.cli.support.session import Session
from agenthive.core.history.report import RunReport
from agenthive.core.model.states import CLOSED, RunStatus
from agenthive.core.values import JSONValue
from agenthive.errors import DefinitionError
from agenthive.hive import Hive, open_journal
from agenthive.settings import Settings


async def send_decision(
    settings: Settings,
    files: Sequence[Path],
    run: str,
    task: str,
    *,
    approved: bool,
    actor: str | None,
    digest: str,
    comment: str,
    as_json: bool,
) -> int:
    """Approve or reject the pending action of a task, then follow the run as `send_and_follow`.

    ``actor`` is the approver; None is the user who runs the command.
    """
    approver = actor or current_user()
    return await send_and_follow(
        settings,
        files,
        run,
        task,
        lambda hive, run_id, request_id: hive.approvals.decide(
            run_id,
            task,
            approved=approved,
            actor=approver,
            digest=digest.lower(),
            comment=comment,
            request_id=request_id,
        ),
        done_message=f"{'approved' if approved else 'rejected'} by {approver}",
        as_json=as_json,
    )


async def send_and_follow(
    settings: Settings,
    files: Sequence[Path],
    run: str,
    subject: str,
    request: Callable[[Hive, str, str], Awaitable[object]],
    *,
    done_message: str,
    as_json: bool,
) -> int:
    """Send a request about a run, then follow the run, unless another process owns the home.

    ``request`` receives the owner of the home, the full id of the run, and the id of the request.
    Once it is on disk, ``subject`` (the task or the signal) and ``done_message`` are printed. The
    exit code is 0, or that of the run if it ends meanwhile.
    """
    async with open_journal(settings.home) as journal:
        run_id = await journal.find_run(run)
        root_id = await journal.find_root(run_id)
    async with Interrupts() as interrupts, Session(settings, files, interrupts) as session:
        await session.send_input(
            run_id, lambda owner, request_id: request(owner, run_id, request_id)
        )
        if not as_json:
            output.print_line(f"{run_id} {output.escape(subject)}: {done_message}")
        return await follow_and_report(session, interrupts, root_id, as_json=as_json)


async def follow_and_report(
    session: Session, interrupts: Interrupts, run: str, *, as_json: bool
) -> int:
    """Follow the run until it ends or waits if this process owns the home; print its status.

    If the user gave the request an id, the answer is the same whenever the request is repeated:
    the exit code is 0, and the document is about the request, not about the run.
    """
    ended = True
    if session.hive is not None:
        last_event = await _last_event(session.settings, run)
        work = follow.follow_runs(session, {run: last_event}, quiet=as_json)
        ended = await interrupts.run_to_end(work)
        await follow.leave_home(session, interrupts, interrupted=not ended)
    if session.request_id is not None:
        if as_json:
            output.print_document("request", request_id=session.request_id, run_id=run)
        return 0 if ended else follow.INTERRUPTED
    report = await session.report(run)
    if as_json:
        output.print_document("run", **output.run_fields(report))
    else:
        output.print_note(output.format_ending(report).strip())
    return _exit_code_of(report) if ended else follow.INTERRUPTED


def _exit_code_of(report: RunReport) -> int:
    """The exit code of a run that ended; 0 for an open one: the input itself was accepted."""
    return report.exit_code if RunStatus(report.status) in CLOSED else 0


async def _last_event(settings: Settings, run: str) -> int:
    async with open_journal(settings.home) as journal:
        return await journal.last_seq(run)


def parse_json(text: str | None, option: str) -> JSONValue:
    """Parse the value of an option as JSON; None if it was not given. Raises DefinitionError."""
    if text is None:
        return None
    try:
        value: JSONValue = msgspec.json.decode(text.encode("utf-8", "surrogateescape"))
    except (msgspec.DecodeError, ValueError) as error:
        hint = f"Quote the value for the shell: {option} '{{\"ok\": true}}' or {option} '\"text\"'."
        raise DefinitionError(
            f"the value of {option} is not valid JSON: {error}", hint=hint
        ) from None
    return value


def current_user() -> str:
    """The login name of the user who runs this command; ``local`` if the system has none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "local"
