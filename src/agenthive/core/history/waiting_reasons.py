"""Why a run stands where it stands: one reason for every open task."""

from __future__ import annotations

import msgspec

from agenthive.core.budget.holds import MONEY
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import CLOSED, OPEN, Reason, ReasonKind, RunStatus, TaskState
from agenthive.core.values import SECOND, Micros


def why(
    state: RunState, breakers: dict[str, Micros] | None = None, trouble: str = ""
) -> list[Reason]:
    """The reason of every open task of a run, in task order; empty when the run has ended.

    ``breakers`` maps endpoints (`AgentSpec.where`) whose breaker is open to when a probe may
    go; ``trouble`` is why the journal takes no writes, if it takes none.
    """
    if state.status in CLOSED:
        return []
    found = [
        _reason(state, i, breakers or {}) for i, kind in enumerate(state.state) if kind in OPEN
    ]
    return [_held_up(one, trouble) for one in found] if trouble else found


def _held_up(reason: Reason, trouble: str) -> Reason:
    """Nothing goes on that cannot be written down; what waits for another task still does."""
    if reason.kind is ReasonKind.DEPENDENCY:
        return reason
    return msgspec.structs.replace(
        reason,
        kind=ReasonKind.STORE,
        detail=trouble,
        until=None,
        unblock="make room for the journal; it is tried again by itself",
    )


def _reason(state: RunState, task: int, breakers: dict[str, Micros]) -> Reason:
    kind = state.state[task]
    if state.status is RunStatus.QUEUED:
        return _make(state, task, ReasonKind.RUN, "the run waits for a free run slot")
    match kind:
        case TaskState.WAITING:
            return _dependency(state, task)
        case TaskState.RUNNING:
            agent = state.graph.nodes[task].agent.name
            detail = f"attempt {state.attempts[task]} is under way at agent '{agent}'"
            return _make(state, task, ReasonKind.CALL, detail, "its answer or its time-out")
        case TaskState.BACKING_OFF:
            return _timer(state, task)
        case TaskState.BLOCKED:
            return _blocked(state, task)
        case TaskState.EXPANDED:
            return _parts(state, task)
        case TaskState.UNKNOWN_OUTCOME:
            return _unknown(state, task)
    return _ready(state, task, breakers)


def _blocked(state: RunState, task: int) -> Reason:
    reason, detail = state.blocked[task]
    if reason in MONEY:
        return _short_of_money(state, task)
    key, until = state.graph.keys[task], state.wake_at.get(task)
    name = f"{state.run} {_quoted(key)}"
    unblock = "supply it, then resume the run"
    if reason == "timer" and until is not None:
        unblock = f"its time, in {max(0, until - state.last_at) / SECOND:.1f} s"
    elif reason == "signal":
        signal = state.graph.nodes[task].wait.signal
        unblock = f"agenthive signal {state.run} {_quoted(signal)}"
    elif reason == "approval" and state.flow is not None:
        approval = state.flow.approvals[task]
        people = ", ".join(approval.approvers) or "anybody"
        detail = f"{detail} (asked: {people}; {len(approval.agreed)} of {approval.spec.quorum})"
        unblock = f"agenthive approve {name}, or agenthive reject {name}"
    return _make(state, task, ReasonKind(reason), detail, unblock, until)


def _short_of_money(state: RunState, task: int) -> Reason:
    reason, detail = state.blocked[task]
    name = f"{state.run} {_quoted(state.graph.keys[task])}"
    unblock = "more money: agenthive budget show, then agenthive budget top-up SCOPE DOLLARS"
    if reason == MONEY[1]:
        unblock = f"agenthive approve {name}, or agenthive reject {name}"
    return _make(state, task, ReasonKind.BUDGET, detail, unblock)


def _quoted(text: str) -> str:
    """A name as one word of a command."""
    plain = all(char.isalnum() or char in "-_.~@+:" for char in text)
    return text if plain else "'" + text.replace("'", "'\\''") + "'"


def _parts(state: RunState, task: int) -> Reason:
    flow = state.flow
    assert flow is not None
    if task in flow.children:
        run = flow.children[task]
        how = flow.waiting_children.get(task, "moving")
        detail = f"its own run {run} is under way" if how == "moving" else f"its run {run} waits"
        return _make(state, task, ReasonKind.CHILD, detail, f"agenthive why {run} says more")
    if task in flow.each:
        each = flow.each[task]
        detail = f"{len(each.items) - each.left} of {len(each.items)} items have ended"
    elif task in flow.turns:
        detail = f"turn {len(flow.turns[task].had)} is under way"
    else:
        detail = f"round {len(flow.rounds[task].members)} is under way"
    return _make(state, task, ReasonKind.PARTS, detail, "the end of what is made of it")


def _unknown(state: RunState, task: int) -> Reason:
    detail = "it may or may not have acted, and must not act twice"
    if state.flow is not None and task in state.flow.reconciling:
        asked = state.flow.reconciling[task]
        if state.state[asked] in OPEN:
            return _make(
                state, task, ReasonKind.OUTCOME, detail, f"the answer of {state.graph.keys[asked]}"
            )
    name = f"{state.run} {_quoted(state.graph.keys[task])}"
    unblock = f"find out, then: agenthive resolve {name} --succeeded, --failed or --retry"
    return _make(state, task, ReasonKind.OUTCOME, detail, unblock)


def _dependency(state: RunState, task: int) -> Reason:
    owner = state.graph.owner_of(task)
    if owner is not None:
        detail = f"waits for its turn among the items of '{state.graph.keys[owner]}'"
        return _make(state, task, ReasonKind.SLOT, detail, "the end of another item")
    waiting = [dep for dep in state.graph.deps[task] if state.state[dep] in OPEN]
    names = ", ".join(f"'{state.graph.keys[dep]}' ({state.state[dep]})" for dep in waiting[:5])
    more = f" and {len(waiting) - 5} more" if len(waiting) > 5 else ""
    return _make(state, task, ReasonKind.DEPENDENCY, f"waits for {names}{more}", "their end")


def _timer(state: RunState, task: int) -> Reason:
    fault = state.faults.get(task)
    tried = f"attempt {state.attempts[task]} failed: {fault.message if fault else 'unknown'}"
    until = state.wake_at[task]
    wait = max(0, until - state.last_at) / SECOND
    limited = fault is not None and fault.kind == "rate_limited"
    kind = ReasonKind.RATE_LIMIT if limited else ReasonKind.TIMER
    return _make(state, task, kind, tried, f"the next attempt in {wait:.1f} s", until)


def _ready(state: RunState, task: int, breakers: dict[str, Micros]) -> Reason:
    agent = state.graph.nodes[task].agent
    until = breakers.get(agent.where)
    if until is not None:
        detail = f"the circuit breaker of agent '{agent.name}' is open"
        return _make(state, task, ReasonKind.BREAKER, detail, "a probe that goes well", until)
    detail = "waits for a free slot"
    if state.holds:
        detail += ", or for what other calls hold of the budget"
    return _make(state, task, ReasonKind.SLOT, detail, "the end of another call")


def _make(
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
