"""Event handlers: what an event records in the state, besides the move of its task.

One function for each kind of event, named after it. `machine` calls it between the choice of the
next state and the move, so a handler sees the old state of its task and never moves a task itself.
To add an event: a struct in `journal.run_events`, a function here, a line in `EVENT_HANDLERS`, and
rows in `transitions`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Never, TypeAlias

from agenthive.core.budget.holds import Hold, cost_of
from agenthive.core.graph.nodes import Step
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Blob
from agenthive.core.machine.flow_state import Approval, MappedItems
from agenthive.core.machine.guards.outcome import is_put_back, is_repairable
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Fault, ToolCall, Usage
from agenthive.core.model.control_flow import OnDeadline, OnReject
from agenthive.core.model.states import TaskState
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.values import JSONObject, JSONValue, Micros, to_micros

EventHandler: TypeAlias = Callable[[RunState, int, Never], None]


def keep_result(state: RunState, task: int, result: JSONValue, blob: Blob | None = None) -> None:
    """Keep a result for as long as an open task will read it.

    In a replay a large result is not loaded: its ``blob`` takes its place, also in values that are
    built from it, and the replay fills in the values that are still kept at its end.
    """
    if blob is not None:
        state.blobs[task] = blob
        result = blob  # type: ignore[assignment]
    if state.readers[task] or task >= state.graph.static or state.keep:
        state.results[task] = result


def _on_task_started(state: RunState, task: int, event: ev.TaskStarted) -> None:
    state.attempts[task] = event.attempt
    # The hold of this attempt covers the attempts of ``over`` too; their cost is in doubt.
    for attempt in event.over:
        state.holds.pop((task, attempt), None)
        state.unpaid.discard((task, attempt))
    if event.hold:
        state.holds[task, event.attempt] = Hold(event.hold, state.last_at, bool(event.over))


def _settle_hold(
    state: RunState,
    task: int,
    attempt: int,
    usage: Usage | None,
    fault: Fault | None,
    *,
    cached: bool = False,
) -> None:
    """Release the hold of a call if its cost is certain; keep it while the cost is in doubt."""
    hold = state.holds.get((task, attempt))
    if cost_of(hold, usage, fault, cached=cached, rules=state.rules) is not None:
        state.holds.pop((task, attempt), None)


def _on_task_succeeded(state: RunState, task: int, event: ev.TaskSucceeded) -> None:
    state.faults.pop(task, None)
    keep_result(state, task, event.result, event.blob)
    if event.asks:
        _record_tool_calls(state, task, event.asks)
    if state.holds:
        _settle_hold(state, task, event.attempt, event.usage, None, cached=bool(event.cached))


def _record_tool_calls(state: RunState, task: int, tool_calls: tuple[ToolCall, ...]) -> None:
    owner = state.graph.owner_of(task)
    turns = None if owner is None or state.flow is None else state.flow.turns.get(owner)
    # Only a turn may request tools; requests in a reply of any other call have no meaning.
    if turns is not None and turns.had[-1].node == task:
        turns.had[-1].asks = tool_calls


def _on_task_failed(state: RunState, task: int, event: ev.TaskFailed) -> None:
    state.faults[task] = event.fault
    retry = state.graph.nodes[task].retry
    wait = retry.compute_delay(event.attempt, event.draw, event.fault.retry_after)
    if is_repairable(state, task, event.fault):
        # The one repair does not count as an attempt of the retry policy, and starts at once.
        state.ensure_flow().repaired.add(task)
        state.losses[task] = state.losses.get(task, 0) + 1
        wait = 0
    elif is_put_back(state, task, event):
        assert event.pause is not None
        # The other side refused the call because there were too many: not an attempt either.
        state.losses[task] = state.losses.get(task, 0) + 1
        wait = event.pause
    state.wake_at[task] = state.last_at + wait
    if event.usage is None:
        state.unpaid.add((task, event.attempt))
    if state.holds:
        _settle_hold(state, task, event.attempt, event.usage, event.fault)


def _on_task_lost(state: RunState, task: int, event: ev.TaskLost) -> None:
    state.losses[task] = state.losses.get(task, 0) + 1
    state.unpaid.add((task, event.attempt))


def _on_task_cancelled(state: RunState, task: int, event: ev.TaskCancelled) -> None:
    hold = state.holds.get((task, event.attempt))
    # A call that was never made costs nothing, unless its hold covers earlier attempts that were.
    if not event.unmade or (hold is not None and hold.inherited):
        state.unpaid.add((task, event.attempt))
    elif hold is not None:
        del state.holds[task, event.attempt]


def _on_task_blocked(state: RunState, task: int, event: ev.TaskBlocked) -> None:
    state.blocked[task] = (event.reason, event.detail)
    if event.scope:
        state.lacks[task] = (event.scope, event.amount)


def _on_task_faulted(state: RunState, task: int, event: ev.TaskFaulted) -> None:
    state.faults[task] = event.fault
    # The condition of an iteration could not be evaluated; it was counted when the iteration
    # succeeded.
    if state.state[task] is TaskState.EXPANDED:
        state.ensure_flow().moving -= 1


def _on_task_delayed(state: RunState, task: int, event: ev.TaskDelayed) -> None:
    state.wake_at[task] = event.until


def _on_task_expanded(state: RunState, task: int, event: ev.TaskExpanded) -> None:
    """Generate a task for every item; `state_actions.enter_expanded` releases the first ones.

    All of them are generated at once, so that their indexes are consecutive.
    """
    flow, node = state.ensure_flow(), state.graph.nodes[task]
    assert node.inner is not None
    first_index = len(state.graph.nodes)
    for number in range(len(event.items)):
        state.add_task(task, node.inner, f"{state.graph.keys[task]}[{number}]", held=True)
    flow.each[task] = MappedItems(
        first=first_index, items=event.items, labels=event.labels, left=len(event.items)
    )


def _on_approval_requested(state: RunState, task: int, event: ev.ApprovalRequested) -> None:
    node, flow = state.graph.nodes[task], state.ensure_flow()
    spec = node.approval
    # A request from READY is a second one: the payload changed after the approval, which is void.
    flow.approved.pop(task, None)
    flow.position[task] = state.graph.nodes[task].steps.index(Step.APPROVAL)
    approval = flow.approvals[task] = Approval(
        spec=spec,
        digest=event.digest,
        payload=event.payload,
        message=event.message,
        asked=state.last_at,
        deadline=_add_seconds(state.last_at, spec.deadline),
        escalates=_add_seconds(state.last_at, spec.escalate_after),
        agreed=[],
        comments={},
    )
    if approval.next_wake is not None:
        state.wake_at[task] = approval.next_wake


def _add_seconds(at: Micros, seconds: float | None) -> Micros | None:
    return None if seconds is None else at + to_micros(seconds)


def _on_approval_given(state: RunState, task: int, event: ev.ApprovalGiven) -> None:
    assert state.flow is not None
    approval = state.flow.approvals[task]
    if event.comment:
        approval.comments[event.actor] = event.comment
    if not event.approved:
        approval.rejected = event.actor
        _record_decision(state, task, f"rejected by {event.actor}", event.comment, approved=False)
        return
    approval.agreed.append(event.actor)
    if len(approval.agreed) >= approval.spec.quorum:
        _record_decision(state, task, "", "", approved=True)


def _record_decision(
    state: RunState, task: int, reason: str, comment: str, *, approved: bool
) -> None:
    flow = state.flow
    assert flow is not None
    approval = flow.approvals[task]
    decision: JSONObject = {
        "approved": approved,
        "by": list(approval.agreed) if approved else [approval.rejected],
        "payload": approval.payload,
    }
    if approval.comments:
        decision["comments"] = dict(approval.comments)
    flow.passed[task] = decision
    if approved:
        flow.approved[task] = approval.digest
    elif approval.spec.on_reject is OnReject.FAIL:
        message = f"{reason}: {comment}" if comment else reason
        state.faults[task] = _fault_before_call("rejected", message)


def _on_task_woke(state: RunState, task: int, event: ev.TaskWoke) -> None:
    if state.state[task] is not TaskState.BLOCKED:
        # The end of a back-off. Leaving BLOCKED has an exit action for this, BACKING_OFF has none.
        del state.wake_at[task]
        return
    step = state.current_step(task)
    if step is Step.APPROVAL:
        _on_approval_time(state, task, state.last_at)
    elif step is Step.SIGNAL:
        _on_signal_timeout(state, task)
    else:
        state.ensure_flow().passed[task] = {"at": state.last_at}


def _on_approval_time(state: RunState, task: int, at: Micros) -> None:
    assert state.flow is not None
    approval = state.flow.approvals[task]
    if approval.escalates is not None and approval.escalates <= at:
        approval.escalates = None
    if approval.deadline is None or approval.deadline > at:
        return
    if approval.spec.on_deadline is OnDeadline.APPROVE:
        _record_decision(state, task, "", "", approved=True)
    else:
        approval.rejected = "the deadline"
        _record_decision(state, task, "no approver decided in time", "", approved=False)


def _on_signal_timeout(state: RunState, task: int) -> None:
    node = state.graph.nodes[task]
    if node.wait.has_default:
        flow = state.ensure_flow()
        flow.passed[task] = flow.received[task] = node.wait.default
        return
    message = f"the signal '{node.wait.signal}' was not received in time"
    state.faults[task] = _fault_before_call("timeout", message)


def _fault_before_call(kind: str, message: str) -> Fault:
    """The fault of a task that ended before it called its agent."""
    return Fault(
        kind=kind, message=message, retriable=False, counts=False, class_=FaultClass.NOT_SENT
    )


def _on_round_ended(state: RunState, task: int, event: ev.RoundEnded) -> None:
    assert state.flow is not None
    rounds = state.flow.rounds[task]
    rounds.done = event.done
    # The evaluation of the condition is over; it was counted when the iteration succeeded.
    state.flow.moving -= 1
    if event.done:
        keep_result(state, task, state.results.get(rounds.members[-1]))


def _on_child_opened(state: RunState, task: int, event: ev.ChildOpened) -> None:
    flow = state.ensure_flow()
    flow.children[task] = event.run
    flow.moving += 1


def on_child_waiting(state: RunState, task: int, event: ev.ChildWaiting) -> None:
    """A child run began to wait, or continues: move it from one counter to the other."""
    _count_child(state, task, -1)
    state.ensure_flow().waiting_children[task] = event.how
    _count_child(state, task, 1)


def _count_child(state: RunState, task: int, delta: int) -> None:
    """Add ``delta`` to the counter for children that wait as this one does."""
    flow = state.ensure_flow()
    child_state = flow.waiting_children.get(task, "moving")
    flow.moving += delta * (child_state == "moving")
    flow.timed += delta * (child_state == "timed")


def _on_child_ended(state: RunState, task: int, event: ev.ChildEnded) -> None:
    _count_child(state, task, -1)
    state.ensure_flow().waiting_children.pop(task, None)
    keep_result(state, task, event.result)
    if event.error:
        message = f"run {event.run} {event.status}: {event.error}"
        state.faults[task] = Fault(kind=event.kind, message=message, retriable=False, counts=False)


def _on_task_resolved(state: RunState, task: int, event: ev.TaskResolved) -> None:
    if event.outcome == "succeeded":
        state.faults.pop(task, None)
        keep_result(state, task, event.result)
    elif event.outcome == "failed":
        message = f"{event.actor} recorded that it failed" + (
            f": {event.reason}" if event.reason else ""
        )
        state.faults[task] = Fault(kind="resolved", message=message, retriable=False, counts=False)
    else:
        # An attempt of unknown outcome does not count for the retry policy.
        state.losses[task] = state.losses.get(task, 0) + 1


EVENT_HANDLERS: Final[dict[type[ev.TaskEvent], EventHandler]] = {
    ev.TaskStarted: _on_task_started,
    ev.TaskSucceeded: _on_task_succeeded,
    ev.TaskFailed: _on_task_failed,
    ev.TaskLost: _on_task_lost,
    ev.TaskCancelled: _on_task_cancelled,
    ev.TaskBlocked: _on_task_blocked,
    ev.TaskFaulted: _on_task_faulted,
    ev.TaskDelayed: _on_task_delayed,
    ev.TaskExpanded: _on_task_expanded,
    ev.ApprovalRequested: _on_approval_requested,
    ev.ApprovalGiven: _on_approval_given,
    ev.TaskWoke: _on_task_woke,
    ev.RoundEnded: _on_round_ended,
    ev.ChildOpened: _on_child_opened,
    ev.ChildEnded: _on_child_ended,
    ev.TaskResolved: _on_task_resolved,
}
"""The handler of each kind of event that may move its task. One without it records nothing."""
