"""Why each open task of a run waits: exactly one reason, and what unblocks the task.

A reason has a kind, a detail in one sentence, the time since when it holds, and ``unblock``. The
latter is either a command to type, beginning with ``agenthive``, or a clause that completes
"unblocked when ...". Derived from the state of the run alone, with two values passed in: the open
circuit breakers, and the error of the store. Never changes anything.

To add a reason: a member of `ReasonKind`, a function here, a situation in tests/test_stuck.py.
"""

from __future__ import annotations

import msgspec

from agenthive.core.budget.holds import BUDGET_REASONS
from agenthive.core.history.fault_texts import describe_fault
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import CLOSED, OPEN, Reason, ReasonKind, RunStatus, TaskState
from agenthive.core.values import SECOND, Micros


def list_reasons(
    state: RunState, breakers: dict[str, Micros] | None = None, store_error: str = ""
) -> list[Reason]:
    """The reason of every open task of a run, in task order; empty when the run has ended.

    ``breakers`` maps endpoints (`AgentSpec.endpoint_key`) with an open circuit breaker to the time
    when it lets a probe pass. ``store_error`` is why the journal takes no writes; empty if it does.
    """
    if state.status in CLOSED:
        return []
    reasons = [
        _find_reason(state, i, breakers or {}) for i, kind in enumerate(state.state) if kind in OPEN
    ]
    return (
        [_blocked_by_store(reason, store_error) for reason in reasons] if store_error else reasons
    )


def _blocked_by_store(reason: Reason, store_error: str) -> Reason:
    """No task proceeds while the journal takes no writes, so that is the reason of all.

    Except of those that wait for another task: that one has the reason.
    """
    if reason.kind is ReasonKind.DEPENDENCY:
        return reason
    return msgspec.structs.replace(
        reason,
        kind=ReasonKind.STORE,
        detail=store_error,
        until=None,
        unblock="you have freed space for the journal or made it writable (agenthive then retries)",
    )


def _find_reason(state: RunState, task: int, breakers: dict[str, Micros]) -> Reason:
    kind = state.state[task]
    if state.status is RunStatus.QUEUED:
        detail = "the run is queued, because all run slots are in use"
        return _build_reason(state, task, ReasonKind.RUN, detail, "a run slot is free")
    match kind:
        case TaskState.WAITING:
            return _dependency_reason(state, task)
        case TaskState.RUNNING:
            agent = state.graph.nodes[task].agent.name
            detail = f"attempt {state.attempts[task]} is running on agent '{agent}'"
            cure = "the agent has replied, or the call has timed out"
            return _build_reason(state, task, ReasonKind.CALL, detail, cure)
        case TaskState.BACKING_OFF:
            return _timer_reason(state, task)
        case TaskState.BLOCKED:
            return _blocked_reason(state, task)
        case TaskState.EXPANDED:
            return _parts_reason(state, task)
        case TaskState.UNKNOWN_OUTCOME:
            return _unknown_outcome_reason(state, task)
    return _ready_reason(state, task, breakers)


def _blocked_reason(state: RunState, task: int) -> Reason:
    reason, detail = state.blocked[task]
    if reason in BUDGET_REASONS:
        return _budget_reason(state, task)
    key, until = state.graph.keys[task], state.wake_at.get(task)
    name = f"{state.run} {_quote_word(key)}"
    unblock = f"the agent is available and the run is resumed: agenthive resume {state.run}"
    if reason == "timer" and until is not None:
        unblock = f"its time has come, in {max(0, until - state.last_at) / SECOND:.1f} s"
    elif reason == "signal":
        signal = state.graph.nodes[task].wait.signal
        unblock = f"agenthive signal {state.run} {_quote_word(signal)}"
    elif reason == "approval" and state.flow is not None:
        approval = state.flow.approvals[task]
        approvers = ", ".join(approval.approvers) or "any user"
        count = f"{len(approval.agreed)} of {approval.spec.quorum} approvals"
        detail = f"{detail} (approvers: {approvers}; {count})"
        unblock = f"agenthive approve {name}, or agenthive reject {name}"
    return _build_reason(state, task, ReasonKind(reason), detail, unblock, until)


def _budget_reason(state: RunState, task: int) -> Reason:
    reason, detail = state.blocked[task]
    name = f"{state.run} {_quote_word(state.graph.keys[task])}"
    unblock = "agenthive budget top-up SCOPE DOLLARS (agenthive budget show lists the scopes)"
    if reason == BUDGET_REASONS[1]:
        unblock = f"agenthive approve {name}, or agenthive reject {name}"
    return _build_reason(state, task, ReasonKind.BUDGET, detail, unblock)


def _quote_word(text: str) -> str:
    """A name as one word of a shell command."""
    plain = all(char.isalnum() or char in "-_.~@+:" for char in text)
    return text if plain else "'" + text.replace("'", "'\\''") + "'"


def _parts_reason(state: RunState, task: int) -> Reason:
    flow = state.flow
    assert flow is not None
    if task in flow.children:
        run = flow.children[task]
        child_status = flow.waiting_children.get(task, "moving")
        detail = f"its child run {run} is {'running' if child_status == 'moving' else 'waiting'}"
        cure = f"the child run has ended; agenthive why {run} explains what it waits for"
        return _build_reason(state, task, ReasonKind.CHILD, detail, cure)
    if task in flow.each:
        each = flow.each[task]
        detail = f"{len(each.items) - each.left} of {len(each.items)} mapped items have ended"
        cure = "all mapped items have ended"
    elif task in flow.turns:
        detail = f"model turn {len(flow.turns[task].had)} is running"
        cure = "the model has given its final answer"
    else:
        detail = f"iteration {len(flow.rounds[task].members)} is running"
        cure = "the last iteration has ended"
    return _build_reason(state, task, ReasonKind.PARTS, detail, cure)


def _unknown_outcome_reason(state: RunState, task: int) -> Reason:
    detail = "the call may or may not have acted, and must not act twice"
    if (fault := state.faults.get(task)) is not None:
        detail += f"; it ended with: {fault.message}"
    if state.flow is not None and task in state.flow.reconciling:
        reconciliation = state.flow.reconciling[task]
        if state.state[reconciliation] in OPEN:
            cure = f"the reconcile call '{state.graph.keys[reconciliation]}' has ended"
            return _build_reason(state, task, ReasonKind.OUTCOME, detail, cure)
    name = f"{state.run} {_quote_word(state.graph.keys[task])}"
    command = f"agenthive resolve {name} --succeeded, --failed or --retry"
    cure = f"you have found out whether it acted, and recorded the outcome: {command}"
    return _build_reason(state, task, ReasonKind.OUTCOME, detail, cure)


def _dependency_reason(state: RunState, task: int) -> Reason:
    owner = state.graph.owner_of(task)
    if owner is not None:
        detail = f"as many mapped items of '{state.graph.keys[owner]}' as allowed are running"
        return _build_reason(state, task, ReasonKind.SLOT, detail, "another of them has ended")
    waiting = [dep for dep in state.graph.deps[task] if state.state[dep] in OPEN]
    names = ", ".join(f"'{state.graph.keys[dep]}' ({state.state[dep]})" for dep in waiting[:5])
    more = f" and {len(waiting) - 5} more" if len(waiting) > 5 else ""
    cure = "all these tasks have ended"
    if len(waiting) == 1:
        cure = f"task '{state.graph.keys[waiting[0]]}' has ended"
    return _build_reason(
        state, task, ReasonKind.DEPENDENCY, f"the task waits for {names}{more}", cure
    )


def _timer_reason(state: RunState, task: int) -> Reason:
    fault = state.faults.get(task)
    cause = "unknown" if fault is None else describe_fault(fault)
    detail = f"attempt {state.attempts[task]} failed: {cause}"
    until = state.wake_at[task]
    seconds = max(0, until - state.last_at) / SECOND
    limited = fault is not None and fault.kind == "rate_limited"
    kind = ReasonKind.RATE_LIMIT if limited else ReasonKind.TIMER
    cure = f"the next attempt is due, in {seconds:.1f} s"
    return _build_reason(state, task, kind, detail, cure, until)


def _ready_reason(state: RunState, task: int, breakers: dict[str, Micros]) -> Reason:
    agent = state.graph.nodes[task].agent
    until = breakers.get(agent.endpoint_key)
    if until is not None:
        detail = f"the circuit breaker of agent '{agent.name}' is open"
        return _build_reason(
            state, task, ReasonKind.BREAKER, detail, "a probe call has succeeded", until
        )
    detail = "the task waits for a free slot"
    if state.holds:
        detail += ", or for budget that other calls have reserved"
    return _build_reason(state, task, ReasonKind.SLOT, detail, "another call has ended")


def _build_reason(
    state: RunState,
    task: int,
    kind: ReasonKind,
    detail: str,
    unblock: str = "",
    until: Micros | None = None,
) -> Reason:
    return Reason(
        task=state.graph.keys[task],
        kind=kind,
        detail=detail,
        since=state.since[task] or state.created,
        until=until,
        unblock=unblock,
    )
