"""Approvals: what open runs wait for an approver to decide, and the decisions."""

from __future__ import annotations

from collections.abc import Sequence

from agenthive.core.engine.human_input import ApprovalDecision, PendingApproval, pending_approvals
from agenthive.errors import Conflict
from agenthive.hive.resources import HiveResources, plain_text


class HiveApprovals:
    """The approvals of a hive.

        for approval in await hive.approvals.list():
            await hive.approvals.approve(approval.run, approval.task, actor="ann")

    A decision is on disk when the method returns.
    """

    def __init__(self, resources: HiveResources) -> None:
        self._resources = resources

    async def approve(
        self, run: str, task: str, *, actor: str = "local", digest: str = "", comment: str = ""
    ) -> None:
        """Approve what ``task`` waits for. Parameters and errors as in `decide`."""
        await self.decide(run, task, actor=actor, digest=digest, comment=comment)

    async def reject(
        self, run: str, task: str, *, actor: str = "local", digest: str = "", comment: str = ""
    ) -> None:
        """Reject what ``task`` waits for. Parameters and errors as in `decide`."""
        await self.decide(run, task, approved=False, actor=actor, digest=digest, comment=comment)

    async def decide(
        self,
        run: str,
        task: str,
        *,
        approved: bool = True,
        actor: str = "local",
        digest: str = "",
        comment: str = "",
    ) -> None:
        """Record a decision about the approval that ``task`` waits for.

        ``digest``, or its beginning, is that of the payload that the approver saw: a decision about
        another payload does not count. Raises RunNotFound, NotFound, and Conflict for a decision
        that does not count: by an actor who is not an approver, a second one, a late one, or one
        about another payload. The journal records such decisions, too.
        """
        decision = ApprovalDecision(
            actor=plain_text(actor), approved=approved, digest=digest, comment=plain_text(comment)
        )
        driver = self._resources.driver
        if run in driver.runs:
            record_decision = driver.answer
        elif (await self._resources.journal.read_row(run)).finished is None:
            raise Conflict(f"run {run} is not under way here", hint="Resume it first.")
        else:
            record_decision = driver.record_answer_after_end
        await self._resources.runtime.commit_request(
            lambda now, token: record_decision(now, run, task, decision, token)
        )

    async def list(self, run: str | None = None) -> Sequence[PendingApproval]:
        """The approvals that the open runs of this hive wait for, oldest first.

        With ``run``, only those of that run.
        """
        approvals = [
            approval
            for active_run in self._resources.driver.runs.values()
            if run in (None, active_run.id)
            for approval in pending_approvals(active_run.state)
        ]
        return sorted(approvals, key=lambda approval: approval.asked)
