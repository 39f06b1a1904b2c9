"""Why a run stands where it stands: one reason for every open task."""

from __future__ import annotations

from agenthive.core.run_state import RunState
from agenthive.core.states import CLOSED, OPEN, Reason, ReasonKind, RunStatus, TaskState
from agenthive.core.values import SECOND, Micros


def why(state: RunState, breakers: dict[str, Micros] | None = None) -> list[Reason]:
    """The reason of every open task of a run, in task order; empty when the run has ended.

    ``breakers`` maps endpoints (`AgentSpec.where`) whose breaker is open to when a probe may
    go.
    """
    if state.status in CLOSED:
        return []
    return [_reason(state, i, breakers or {}) for i, kind in enumerate(state.state) if kind in OPEN]


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
            reason, detail = state.blocked[task]
            return _make(state, task, ReasonKind(reason), detail, "supply it, then resume the run")
        case TaskState.UNKNOWN_OUTCOME:
            detail = "it may or may not have acted, and must not act twice"
            return _make(state, task, ReasonKind.OUTCOME, detail, "find out and decide")
    return _ready(state, task, breakers)


def _dependency(state: RunState, task: int) -> Reason:
    waiting = [dep for dep in state.graph.deps[task] if state.state[dep] in OPEN]
    names = ", ".join(f"'{state.graph.keys[dep]}' ({state.state[dep]})" for dep in waiting[:5])
    more = f" and {len(waiting) - 5} more" if len(waiting) > 5 else ""
    return _make(state, task, ReasonKind.DEPENDENCY, f"waits for {names}{more}", "their end")


def _timer(state: RunState, task: int) -> Reason:
    fault = state.faults.get(task)
    tried = f"attempt {state.attempts[task]} failed: {fault.message if fault else 'unknown'}"
    until = state.wake_at[task]
    wait = max(0, until - state.last_at) / SECOND
    return _make(state, task, ReasonKind.TIMER, tried, f"the next attempt in {wait:.1f} s", until)


def _ready(state: RunState, task: int, breakers: dict[str, Micros]) -> Reason:
    agent = state.graph.nodes[task].agent
    until = breakers.get(agent.where)
    if until is not None:
        detail = f"the circuit breaker of agent '{agent.name}' is open"
        return _make(state, task, ReasonKind.BREAKER, detail, "a probe that goes well", until)
    return _make(state, task, ReasonKind.SLOT, "waits for a free slot", "the end of another call")


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
