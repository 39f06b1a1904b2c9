"""Approvals, signals and recorded outcomes: requests are checked here and become events.

Each function compares a request with the state of its run and returns the event to apply, or the
reason why the request does not count. Pure; `HumanRequests` applies the events. Nothing here checks
who the caller is: the service that lets a caller in does that.
"""

from __future__ import annotations

from typing import Final

import msgspec

from agenthive.core.budget.holds import BUDGET_REASONS
from agenthive.core.engine.step_evaluation import payload_digest
from agenthive.core.graph.nodes import Node
from agenthive.core.journal import run_events as ev
from agenthive.core.machine.flow_state import MAX_KEPT_SIGNALS
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import TaskState
from agenthive.core.values import JSONObject, JSONValue, Micros
from agenthive.errors import Conflict, NotFound

OUTCOMES: Final = ("succeeded", "failed", "retry")
"""What may be recorded for a call of unknown outcome."""
MAX_REFUSALS: Final = 1000
"""Decisions without effect that a run records; later ones are refused and not recorded."""
MAX_SEEN_SIGNALS: Final = 10_000
"""Ids of signals that a run remembers, to ignore the same signal if it comes twice."""


class ApprovalDecision(msgspec.Struct, frozen=True, kw_only=True):
    """The decision of an approver."""

    #: Who decides.
    actor: str
    approved: bool
    #: Digest (or its beginning) of the payload that the approver saw; empty: of any payload.
    digest: str = ""
    #: A note for the journal.
    comment: str = ""


class TaskResolution(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's record of the outcome of a call, which was unknown."""

    #: Id of an open run.
    run: str
    #: Key of the task that made the call.
    task: str
    #: One of `OUTCOMES`.
    outcome: str
    #: Result of the call if it succeeded.
    result: JSONValue = None
    #: Who records it.
    actor: str
    #: Why, for the journal.
    reason: str


class PendingApproval(msgspec.Struct, frozen=True, kw_only=True):
    """An approval that a task waits for. Times are microseconds UTC."""

    run: str
    task: str
    #: The text for the approver.
    message: str
    #: What is to be approved: exactly what the task would do.
    payload: JSONValue
    #: SHA-256 of the payload, in hex.
    digest: str
    #: When the approval was requested.
    asked: Micros
    #: Who may decide now; empty: any user.
    approvers: tuple[str, ...]
    #: Who has approved so far.
    agreed: tuple[str, ...]
    #: How many must approve.
    quorum: int
    #: When the approval times out; None: never.
    deadline: Micros | None = None


def pending_approvals(state: RunState) -> list[PendingApproval]:
    """The approvals that a run waits for, those of higher limits first."""
    approvals = state.flow.approvals if state.flow is not None else {}
    budget_approvals = [
        PendingApproval(
            run=state.run,
            task=state.graph.keys[task],
            message=detail,
            payload=_budget_request(state, task),
            digest=budget_request_digest(state, task),
            asked=state.since[task],
            approvers=(),
            agreed=(),
            quorum=1,
            deadline=None,
        )
        for task, (reason, detail) in state.blocked.items()
        if reason == BUDGET_REASONS[1]
    ]
    return budget_approvals + [
        PendingApproval(
            run=state.run,
            task=state.graph.keys[task],
            message=approval.message,
            payload=approval.payload,
            digest=approval.digest,
            asked=approval.asked,
            approvers=approval.approvers,
            agreed=tuple(approval.agreed),
            quorum=approval.spec.quorum,
            deadline=approval.deadline,
        )
        for task, approval in approvals.items()
    ]


def _budget_request(state: RunState, task: int) -> JSONObject:
    """The payload of a request for a higher limit: the scope, and what the call may cost."""
    scope, amount = state.lacks[task]
    return {"scope": scope, "may_cost_usd": amount / 10**9}


def budget_request_digest(state: RunState, task: int) -> str:
    """The digest of a task's request for a higher limit."""
    return payload_digest(_budget_request(state, task))


def approval_event(
    state: RunState, key: str, decision: ApprovalDecision, now: Micros
) -> tuple[ev.RunEvent, str]:
    """The event that records a decision, and why it does not count (empty if it does).

    Raises NotFound if the run has no such task.
    """
    task = _find_task(state, key)
    refusal = _refusal_reason(state, task, decision)
    if refusal:
        event: ev.RunEvent = ev.ApprovalRefused(
            at=now,
            task=key,
            actor=decision.actor,
            approved=decision.approved,
            digest=decision.digest,
            reason=refusal,
        )
        return event, refusal
    assert state.flow is not None
    digest = state.flow.approvals[task].digest
    return ev.ApprovalGiven(
        at=now,
        task=key,
        actor=decision.actor,
        approved=decision.approved,
        digest=digest,
        comment=decision.comment,
    ), ""


def _refusal_reason(state: RunState, task: int, decision: ApprovalDecision) -> str:
    approval = None if state.flow is None else state.flow.approvals.get(task)
    if approval is None:
        return (
            f"task '{state.graph.keys[task]}' is {state.state[task]}: it does not wait for an "
            "approval"
        )
    if not approval.can_decide(decision.actor):
        return f"'{decision.actor}' is not an approver; approvers: {', '.join(approval.approvers)}"
    if decision.actor in approval.agreed:
        return f"'{decision.actor}' has approved already"
    if decision.digest and not approval.digest.startswith(decision.digest):
        return f"the decision is about another payload: {approval.digest[:12]} is to be approved"
    return ""


def signal_received_event(
    state: RunState, name: str, data: JSONValue, signal_id: str, actor: str, now: Micros
) -> ev.SignalReceived | None:
    """The event that records a signal; None if a signal with that id was received before.

    Raises NotFound if no task ever waits for such a signal, Conflict if it cannot be kept.
    """
    waiting_nodes = _waiting_nodes(state, name)
    if not waiting_nodes:
        raise NotFound(
            f"no task of run {state.run} waits for a signal '{name}'",
            hint=f"Signals that it waits for: {', '.join(_signal_names(state)) or 'none'}.",
        )
    flow = state.flow
    if flow is not None and signal_id and signal_id in flow.seen:
        return None
    is_awaited = flow is not None and bool(flow.listening.get(name))
    kept_count = 0 if flow is None else len(flow.kept.get(name, ()))
    if not is_awaited and not any(node.wait.keep for node in waiting_nodes):
        raise Conflict(
            f"no task waits for the signal '{name}' now, and the workflow does not keep it"
        )
    if kept_count >= MAX_KEPT_SIGNALS or (flow is not None and len(flow.seen) >= MAX_SEEN_SIGNALS):
        raise Conflict(f"run {state.run} can keep no more signals '{name}'")
    return ev.SignalReceived(at=now, name=name, data=data, id=signal_id, actor=actor)


def _waiting_nodes(state: RunState, name: str) -> list[Node]:
    tasks = state.graph.nodes[: state.graph.tasks]
    return [
        node
        for node in tasks
        if node.control_flow and node.control_flow.wait and node.control_flow.wait.signal == name
    ]


def _signal_names(state: RunState) -> list[str]:
    tasks = state.graph.nodes[: state.graph.tasks]
    return sorted(
        {
            node.control_flow.wait.signal
            for node in tasks
            if node.control_flow and node.control_flow.wait
        }
    )


def task_resolved_event(
    state: RunState, resolution: TaskResolution, now: Micros
) -> ev.TaskResolved:
    """The event that records an outcome. Raises NotFound, Conflict."""
    key, outcome = resolution.task, resolution.outcome
    task = _find_task(state, key)
    if outcome not in OUTCOMES:
        raise Conflict(f"'{outcome}' is not an outcome; use one of: {', '.join(OUTCOMES)}")
    if state.state[task] is not TaskState.UNKNOWN_OUTCOME:
        raise Conflict(f"task '{key}' is {state.state[task]}: its outcome is not unknown")
    if state.graph.nodes[task].compensates is not None:
        raise Conflict(
            f"'{key}' is a compensation: the run does not wait for its outcome, and none can be "
            "recorded"
        )
    return ev.TaskResolved(
        at=now,
        task=key,
        attempt=state.attempts[task],
        outcome=outcome,
        result=resolution.result,
        actor=resolution.actor,
        reason=resolution.reason,
    )


def _find_task(state: RunState, key: str) -> int:
    task = state.graph.index.get(key)
    if task is None:
        raise NotFound(
            f"run {state.run} has no task '{key}'", hint="`agenthive show` lists the tasks."
        )
    return task
