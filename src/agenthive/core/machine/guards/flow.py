"""Steps, items, rounds, approvals, signals, children: when a task goes on, and where to."""

from __future__ import annotations

from agenthive.core.graph.nodes import Step
from agenthive.core.journal import run_events as ev
from agenthive.core.machine.flow_state import Iterations, MappedItems, ModelTurns
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.control_flow import OnDeadline, OnReject
from agenthive.core.model.states import TaskState

_CHILD_SUCCESSES = frozenset({"completed", "partially_completed"})

# Steps that need no evaluation: where they lead.


def at_call(state: RunState, task: int) -> bool:
    """All that stood before the call is passed."""
    return state.current_step(task) is Step.CALL


def at_signal(state: RunState, task: int) -> bool:
    """It waits for a signal now."""
    return state.current_step(task) is Step.SIGNAL


def at_iterations(state: RunState, task: int) -> bool:
    """Its rounds begin."""
    return state.current_step(task) is Step.REPEAT


def at_turns(state: RunState, task: int) -> bool:
    """A model has its turns now."""
    return state.current_step(task) is Step.TURNS


def at_end(state: RunState, task: int) -> bool:
    """It calls nobody and has passed all it waited for."""
    return state.current_step(task) is Step.END


def signal_received(state: RunState, task: int) -> bool:
    """The signal it waits for has come."""
    flow = state.flow
    return flow is not None and task in flow.received and at_signal(state, task)


def dependencies_bypassed(state: RunState, task: int) -> bool:
    """Dead path: it depends on others, and every one of them was bypassed."""
    deps = state.graph.deps[task]
    if not state.counts[TaskState.BYPASSED] or not deps:
        return False
    return all(state.state[dep] is TaskState.BYPASSED for dep in deps)


# Facts that lead to one state or another.


def after_decision(state: RunState, task: int, event: ev.RunEvent) -> TaskState | None:
    """The condition holds (its next step has begun already), or the task is bypassed."""
    assert isinstance(event, ev.TaskDecided)
    return None if event.go else TaskState.BYPASSED


def after_wake(state: RunState, task: int, event: ev.RunEvent) -> TaskState | None:
    """The time has come: it waited for just that, or for something that did not come."""
    step = state.current_step(task)
    if step is Step.APPROVAL:
        return _after_approval_deadline(state, task, event.at)
    if step is Step.SIGNAL:
        node = state.graph.nodes[task]
        return TaskState.PREPARING if node.wait.has_default else TaskState.FAILED
    return TaskState.PREPARING


def _after_approval_deadline(state: RunState, task: int, at: int) -> TaskState | None:
    assert state.flow is not None
    approval = state.flow.approvals[task]
    if approval.deadline is None or approval.deadline > at:
        return None
    if approval.spec.on_deadline is OnDeadline.APPROVE:
        return TaskState.PREPARING
    return state_after_rejection(state, task)


def after_approval(state: RunState, task: int, event: ev.RunEvent) -> TaskState | None:
    """Enough people agreed, somebody rejected, or more are asked."""
    assert isinstance(event, ev.ApprovalGiven)
    assert state.flow is not None
    approval = state.flow.approvals[task]
    if not event.approved:
        return state_after_rejection(state, task)
    quorum_reached = len(approval.agreed) + 1 >= approval.spec.quorum
    return TaskState.PREPARING if quorum_reached else None


def state_after_rejection(state: RunState, task: int) -> TaskState:
    """What a rejection means for this task."""
    assert state.flow is not None
    if state.flow.approvals[task].spec.on_reject is OnReject.FAIL:
        return TaskState.FAILED
    approval_only = state.graph.nodes[task].steps[-1] is Step.END
    return TaskState.SUCCEEDED if approval_only else TaskState.BYPASSED


def after_iteration(state: RunState, task: int, event: ev.RunEvent) -> TaskState | None:
    """Another round, or that was the last."""
    assert isinstance(event, ev.RoundEnded)
    if event.done:
        return TaskState.SUCCEEDED
    return TaskState.FAILED if iterations_exhausted(state, task) else None


def iterations_exhausted(state: RunState, task: int) -> bool:
    """There have been as many rounds as there may be."""
    node = state.graph.nodes[task]
    assert state.flow is not None
    return len(state.flow.rounds[task].members) >= node.repeat.max_rounds


def after_child(state: RunState, task: int, event: ev.RunEvent) -> TaskState:
    """The task's own run ended, and the task with it."""
    assert isinstance(event, ev.ChildEnded)
    if event.status in _CHILD_SUCCESSES:
        return TaskState.SUCCEEDED
    return TaskState.CANCELLED if state.cancelling else TaskState.FAILED


# Items, rounds and turns, taken together.


def turns_done(state: RunState, task: int) -> bool:
    """The last turn asked for nothing more."""
    return state.flow is not None and task in state.flow.turns and state.flow.turns[task].done


def all_items_succeeded(state: RunState, task: int) -> bool:
    """Every item has ended, and none badly where that counts."""
    each = _find_items(state, task)
    return (
        each is not None and not each.left and not each.failed and not _has_unreleased_items(each)
    )


def parts_cancelled(state: RunState, task: int) -> bool:
    """The run was cancelled, and nothing of this task is under way any more."""
    return state.cancelling and _parts_ended(state, task)


def parts_failed(state: RunState, task: int) -> bool:
    """Nothing of this task is under way any more, and it was not enough."""
    return _parts_ended(state, task)


def sibling_item_failed(state: RunState, task: int) -> bool:
    """An item that has not begun, while another one has ended badly."""
    if state.flow is None:
        return False
    owner = state.graph.owner_of(task)
    each = None if owner is None else state.flow.each.get(owner)
    return each is not None and each.failed > 0


def _find_items(state: RunState, task: int) -> MappedItems | None:
    return None if state.flow is None else state.flow.each.get(task)


def _find_iterations(state: RunState, task: int) -> Iterations | None:
    return None if state.flow is None else state.flow.rounds.get(task)


def _has_unreleased_items(each: MappedItems) -> bool:
    return each.released < len(each.items)


def _parts_ended(state: RunState, task: int) -> bool:
    each = _find_items(state, task)
    if each is not None:
        stopped = state.stopping and each.left == each.unknown
        return not each.left or stopped
    turns = None if state.flow is None else state.flow.turns.get(task)
    if turns is not None:
        return _last_turn_ended(state, turns)
    rounds = _find_iterations(state, task)
    if rounds is None or not rounds.members:
        return False
    last = state.state[rounds.members[-1]]
    if last is TaskState.SUCCEEDED:
        return state.stopping
    return not state.counts_as_open(last)


def _last_turn_ended(state: RunState, turns: ModelTurns) -> bool:
    """No other turn comes, and what the last one asked for has ended."""
    last = turns.had[-1]
    parts = [last.node, *[call for call in last.calls if call is not None]]
    if any(state.counts_as_open(state.state[part]) for part in parts):
        return False
    ended_well = state.state[last.node] is TaskState.SUCCEEDED
    return state.stopping or turns.stopped or not ended_well


def awaits_loop_condition(state: RunState, task: int) -> bool:
    """A round has ended well, and nobody has said yet whether it was the last."""
    rounds = _find_iterations(state, task)
    if rounds is None or state.state[task] is not TaskState.EXPANDED or rounds.done:
        return False
    return bool(rounds.members) and state.state[rounds.members[-1]] is TaskState.SUCCEEDED


# What came of a call whose outcome is unknown.


def call_acted(state: RunState, task: int) -> bool:
    """The outside world says that the call has acted."""
    return _reconcile_verdict(state, task) is True


def call_did_not_act(state: RunState, task: int) -> bool:
    """The outside world says that the call has not acted."""
    return _reconcile_verdict(state, task) is False


def _reconcile_verdict(state: RunState, task: int) -> bool | None:
    flow = state.flow
    reconcile_task = None if flow is None else flow.reconciling.get(task)
    if reconcile_task is None or state.state[reconcile_task] is not TaskState.SUCCEEDED:
        return None
    result = state.results.get(reconcile_task)
    happened = result.get("happened") if isinstance(result, dict) else result
    return happened if isinstance(happened, bool) else None


def after_resolution(state: RunState, task: int, event: ev.RunEvent) -> TaskState:
    """As the person who found out says."""
    assert isinstance(event, ev.TaskResolved)
    return {
        "succeeded": TaskState.SUCCEEDED,
        "failed": TaskState.FAILED,
        "retry": TaskState.READY,
    }[event.outcome]
