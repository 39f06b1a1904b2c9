"""Why a run stands where it stands: one reason for every open task."""

from __future__ import annotations

import msgspec

from agenthive.core.budget.holds import BUDGET_REASONS
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import CLOSED, OPEN, Reason, ReasonKind, RunStatus, TaskState
from agenthive.core.values import SECOND, Micros


def list_reasons(
    state: RunState, breakers: dict[str, Micros] | None = None, store_error: str = ""
) -> list[Reason]:
    """The reason of every open task of a run, in task order; empty when the run has ended.

    ``breakers`` maps endpoints (`AgentSpec.endpoint_key`) whose breaker is open to when a probe may
    go; ``store_error`` is why the journal takes no writes, if it takes none.
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
    """Nothing goes on that cannot be written down; what waits for another task still does."""
    if reason.kind is ReasonKind.DEPENDENCY:
        return reason
    return msgspec.structs.replace(
        reason,
        kind=ReasonKind.STORE,
        detail=store_error,
        until=None,
        unblock="make room for the journal; it is tried again by itself",
    )


def _find_reason(state: RunState, task: int, breakers: dict[str, Micros]) -> Reason:
    kind = state.state[task]
    if state.status is RunStatus.QUEUED:
        return _build_reason(state, task, ReasonKind.RUN, "the run waits for a free run slot")
    match kind:
        case TaskState.WAITING:
            return _dependency_reason(state, task)
        case TaskState.RUNNING:
            agent = state.graph.nodes[task].agent.name
            detail = f"attempt {state.attempts[task]} is under way at agent '{agent}'"
            return _build_reason(state, task, ReasonKind.CALL, detail, "its answer or its time-out")
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
    unblock = "supply it, then resume the run"
    if reason == "timer" and until is not None:
        unblock = f"its time, in {max(0, until - state.last_at) / SECOND:.1f} s"
    elif reason == "signal":
        signal = state.graph.nodes[task].wait.signal
        unblock = f"agenthive signal {state.run} {_quote_word(signal)}"
    elif reason == "approval" and state.flow is not None:
        approval = state.flow.approvals[task]
        approvers = ", ".join(approval.approvers) or "anybody"
        detail = f"{detail} (asked: {approvers}; {len(approval.agreed)} of {approval.spec.quorum})"
        unblock = f"agenthive approve {name}, or agenthive reject {name}"
    return _build_reason(state, task, ReasonKind(reason), detail, unblock, until)


def _budget_reason(state: RunState, task: int) -> Reason:
    reason, detail = state.blocked[task]
    name = f"{state.run} {_quote_word(state.graph.keys[task])}"
    unblock = "more money: agenthive budget show, then agenthive budget top-up SCOPE DOLLARS"
    if reason == BUDGET_REASONS[1]:
        unblock = f"agenthive approve {name}, or agenthive reject {name}"
    return _build_reason(state, task, ReasonKind.BUDGET, detail, unblock)


def _quote_word(text: str) -> str:
    """A name as one word of a command."""
    plain = all(char.isalnum() or char in "-_.~@+:" for char in text)
    return text if plain else "'" + text.replace("'", "'\\''") + "'"


def _parts_reason(state: RunState, task: int) -> Reason:
    flow = state.flow
    assert flow is not None
    if task in flow.children:
        run = flow.children[task]
        child_status = flow.waiting_children.get(task, "moving")
        detail = (
            f"its own run {run} is under way"
            if child_status == "moving"
            else f"its run {run} waits"
        )
        return _build_reason(
            state, task, ReasonKind.CHILD, detail, f"agenthive why {run} says more"
        )
    if task in flow.each:
        each = flow.each[task]
        detail = f"{len(each.items) - each.left} of {len(each.items)} items have ended"
    elif task in flow.turns:
        detail = f"turn {len(flow.turns[task].had)} is under way"
    else:
        detail = f"round {len(flow.rounds[task].members)} is under way"
    return _build_reason(state, task, ReasonKind.PARTS, detail, "the end of what is made of it")


def _unknown_outcome_reason(state: RunState, task: int) -> Reason:
    detail = "it may or may not have acted, and must not act twice"
    if state.flow is not None and task in state.flow.reconciling:
        reconciliation = state.flow.reconciling[task]
        if state.state[reconciliation] in OPEN:
            return _build_reason(
                state,
                task,
                ReasonKind.OUTCOME,
                detail,
                f"the answer of {state.graph.keys[reconciliation]}",
            )
    name = f"{state.run} {_quote_word(state.graph.keys[task])}"
    unblock = f"find out, then: agenthive resolve {name} --succeeded, --failed or --retry"
    return _build_reason(state, task, ReasonKind.OUTCOME, detail, unblock)


def _dependency_reason(state: RunState, task: int) -> Reason:
    owner = state.graph.owner_of(task)
    if owner is not None:
        detail = f"waits for its turn among the items of '{state.graph.keys[owner]}'"
        return _build_reason(state, task, ReasonKind.SLOT, detail, "the end of another item")
    waiting = [dep for dep in state.graph.deps[task] if state.state[dep] in OPEN]
    names = ", ".join(f"'{state.graph.keys[dep]}' ({state.state[dep]})" for dep in waiting[:5])
    more = f" and {len(waiting) - 5} more" if len(waiting) > 5 else ""
    return _build_reason(
        state, task, ReasonKind.DEPENDENCY, f"waits for {names}{more}", "their end"
    )


def _timer_reason(state: RunState, task: int) -> Reason:
    fault = state.faults.get(task)
    detail = f"attempt {state.attempts[task]} failed: {fault.message if fault else 'unknown'}"
    until = state.wake_at[task]
    seconds = max(0, until - state.last_at) / SECOND
    limited = fault is not None and fault.kind == "rate_limited"
    kind = ReasonKind.RATE_LIMIT if limited else ReasonKind.TIMER
    return _build_reason(state, task, kind, detail, f"the next attempt in {seconds:.1f} s", until)


def _ready_reason(state: RunState, task: int, breakers: dict[str, Micros]) -> Reason:
    agent = state.graph.nodes[task].agent
    until = breakers.get(agent.endpoint_key)
    if until is not None:
        detail = f"the circuit breaker of agent '{agent.name}' is open"
        return _build_reason(
            state, task, ReasonKind.BREAKER, detail, "a probe that goes well", until
        )
    detail = "waits for a free slot"
    if state.holds:
        detail += ", or for what other calls hold of the budget"
    return _build_reason(state, task, ReasonKind.SLOT, detail, "the end of another call")


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
