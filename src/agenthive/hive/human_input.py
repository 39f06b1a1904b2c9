"""What people say about the runs of a hive: cancel, approve, reject, signal, resolve."""

from __future__ import annotations

from agenthive.core.engine.human_input import (
    ApprovalDecision,
    PendingApproval,
    TaskResolution,
    pending_approvals,
)
from agenthive.core.engine.reply_validation import to_plain_json
from agenthive.core.values import JSONValue
from agenthive.errors import (
    Conflict,
)
from agenthive.hive.resources import HiveResources, plain_text


class HumanInput(HiveResources):
    """Everything here is on disk when it returns."""

    async def cancel(self, run: str, *, reason: str = "", actor: str = "local") -> None:
        """Cancel an open run: calls under way are stopped. Raises RunNotFound if it is not open."""
        await self._active_runtime.cancel(run, plain_text(actor), plain_text(reason))

    async def approve(
        self,
        run: str,
        task: str,
        *,
        approved: bool = True,
        actor: str = "local",
        digest: str = "",
        comment: str = "",
    ) -> None:
        """Answer the approval a task waits for. It is on disk when this returns.

        ``digest`` (or its beginning) is that of the payload that was looked at; an answer about
        another one does not count. Raises RunNotFound, NotFound, and Conflict for an answer that
        does not count: by somebody who is not asked, twice, late, about another payload. That is
        recorded too.
        """
        decision = ApprovalDecision(
            actor=plain_text(actor), approved=approved, digest=digest, comment=plain_text(comment)
        )
        driver = self._driver
        if run in driver.runs:
            record_decision = driver.answer
        elif (await self._active_journal.read_row(run)).finished is None:
            raise Conflict(f"run {run} is not under way here", hint="Resume it first.")
        else:
            record_decision = driver.record_answer_after_end
        await self._active_runtime.commit_request(
            lambda now, token: record_decision(now, run, task, decision, token)
        )

    async def signal(
        self, run: str, name: str, data: JSONValue = None, *, id: str = "", actor: str = "local"
    ) -> None:
        """Send a signal to a run; it is on disk when this returns.

        One whose ``id`` has come already changes nothing. Raises RunNotFound, NotFound if no task
        waits for such a signal at any time, Conflict if it would have to be kept and may not be.
        """
        data, texts = to_plain_json(data), (plain_text(name), plain_text(id), plain_text(actor))
        driver = self._driver
        await self._active_runtime.commit_request(
            lambda now, token: driver.signal_run(
                now, run, texts[0], data, texts[1], texts[2], token
            )
        )

    async def resolve(
        self,
        run: str,
        task: str,
        outcome: str,
        result: JSONValue = None,
        *,
        actor: str = "local",
        reason: str = "",
    ) -> None:
        """Say what came of a call of unknown outcome: ``succeeded``, ``failed`` or ``retry``.

        Raises RunNotFound, NotFound, Conflict if the outcome is not unknown.
        """
        resolution = TaskResolution(
            run=run,
            task=task,
            outcome=outcome,
            result=to_plain_json(result),
            actor=plain_text(actor),
            reason=plain_text(reason),
        )
        await self._active_runtime.commit_request(
            lambda now, token: self._driver.resolve_outcome(now, resolution, token)
        )

    async def approvals(self, run: str | None = None) -> list[PendingApproval]:
        """The approvals that open runs of this hive wait for, the oldest first."""
        active_runs = [
            active_run for active_run in self._driver.runs.values() if run in (None, active_run.id)
        ]
        return sorted(
            (
                approval
                for active_run in active_runs
                for approval in pending_approvals(active_run.state)
            ),
            key=lambda one: one.asked,
        )
