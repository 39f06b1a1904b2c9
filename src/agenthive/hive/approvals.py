"""Approvals: what open runs wait for an approver to decide, and the decisions."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agenthive.core.engine.human_input import ApprovalDecision, PendingApproval, pending_approvals
from agenthive.errors import Conflict
from agenthive.hive.requests import HiveRequests, KeepAnswer
from agenthive.hive.resources import HiveResources, plain_text


class HiveApprovals:
    """The approvals of a hive.

        for approval in await hive.approvals.list():
            await hive.approvals.approve(approval.run, approval.task, actor="ann")

    A decision is on disk when the method returns. A call with the ``request_id`` of an earlier one
    changes nothing and ends as that one did.
    """

    def __init__(self, resources: HiveResources, requests: HiveRequests) -> None:
        self._resources, self._requests = resources, requests

    async def approve(
        self,
        run: str,
        task: str,
        *,
        actor: str = "local",
        digest: str = "",
        comment: str = "",
        request_id: str | None = None,
    ) -> None:
        """Approve what ``task`` waits for. Parameters and errors as in `decide`."""
        await self.decide(
            run, task, actor=actor, digest=digest, comment=comment, request_id=request_id
        )

    async def reject(
        self,
        run: str,
        task: str,
        *,
        actor: str = "local",
        digest: str = "",
        comment: str = "",
        request_id: str | None = None,
    ) -> None:
        """Reject what ``task`` waits for. Parameters and errors as in `decide`."""
        await self.decide(
            run,
            task,
            approved=False,
            actor=actor,
            digest=digest,
            comment=comment,
            request_id=request_id,
        )

    async def decide(
        self,
        run: str,
        task: str,
        *,
        approved: bool = True,
        actor: str = "local",
        digest: str = "",
        comment: str = "",
        request_id: str | None = None,
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
        await self._requests.execute_once(
            request_id,
            "approve",
            {"run": run, "task": task, "decision": msgspec.to_builtins(decision)},
            lambda keep: self._record_decision(run, task, decision, keep),
            type(None),
        )

    async def _record_decision(
        self, run: str, task: str, decision: ApprovalDecision, keep: KeepAnswer
    ) -> None:
        driver = self._resources.driver
        if run in driver.runs:
            record_decision = driver.answer
        elif (await self._resources.journal.read_row(run)).finished is None:
            raise Conflict(f"run {run} is not under way here", hint="Resume it first.")
        else:
            record_decision = driver.record_answer_after_end
        await self._resources.runtime.commit_request(
            lambda now, token: record_decision(now, run, task, decision, token), keep(None)
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
