"""Guards and choosers of control flow: steps, items, iterations, turns, approvals, child runs.

The guards ``at_...`` lead a task from PREPARING to the state of its step; the choosers
``after_...`` return where an event leads to. `state_actions` and `event_handlers` change what they
read.
"""

from __future__ import annotations

from agenthive.core.graph.nodes import Step
from agenthive.core.journal import run_events as ev
from agenthive.core.machine.flow_state import Iterations, MappedItems, ModelTurns
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.control_flow import OnDeadline, OnReject
from agenthive.core.model.states import TaskState

_CHILD_SUCCESSES = frozenset({"completed", "partially_completed"})
"""Statuses of a child run with which its task succeeds; events hold the status as text."""

# Steps without an expression, and the state that each leads to. Steps with one
# (`nodes.EVALUATED`) leave PREPARING by an event of the engine.


def at_call(state: RunState, task: int) -> bool:
    """The task has passed its waits and is at its call."""
    return state.current_step(task) is Step.CALL


def at_signal(state: RunState, task: int) -> bool:
    """The task is at its wait for a signal."""
    return state.current_step(task) is Step.SIGNAL


def at_iterations(state: RunState, task: int) -> bool:
    """The task is at its iterations."""
    return state.current_step(task) is Step.REPEAT


def at_turns(state: RunState, task: int) -> bool:
    """The task is at its model turns."""
    return state.current_step(task) is Step.TURNS


def at_end(state: RunState, task: int) -> bool:
    """The task calls no agent and has passed its waits."""
    return state.current_step(task) is Step.END


def signal_received(state: RunState, task: int) -> bool:
    """The signal that the task waits for was received."""
    flow = state.flow
    return flow is not None and task in flow.received and at_signal(state, task)


def dependencies_bypassed(state: RunState, task: int) -> bool:
    """Dead path: the task has dependencies, and every one of them was bypassed."""
    deps = state.graph.deps[task]
    if not state.counts[TaskState.BYPASSED] or not deps:
        return False
    return all(state.state[dep] is TaskState.BYPASSED for dep in deps)


# Choosers.


def after_decision(state: RunState, task: int, event: ev.RunEvent) -> TaskState | None:
    """The condition was false: the task is bypassed. Else it stays, and its next step begins."""
    assert isinstance(event, ev.TaskDecided)
    return None if event.go else TaskState.BYPASSED


def after_wake(state: RunState, task: int, event: ev.RunEvent) -> TaskState | None:
    """The time has come: the end of a timer, or the deadline of a signal or an approval."""
    step = state.current_step(task)
    if step is Step.APPROVAL:
        return _after_approval_deadline(state, task, state.last_at)
    if step is Step.SIGNAL:
        node = state.graph.nodes[task]
        return TaskState.PREPARING if node.wait.has_default else TaskState.FAILED
    return TaskState.PREPARING


def _after_approval_deadline(state: RunState, task: int, at: int) -> TaskState | None:
    assert state.flow is not None
    approval = state.flow.approvals[task]
    # Only the escalation was due; the approval is still pending.
    if approval.deadline is None or approval.deadline > at:
        return None
    if approval.spec.on_deadline is OnDeadline.APPROVE:
        return TaskState.PREPARING
    return state_after_rejection(state, task)


def after_approval(state: RunState, task: int, event: ev.RunEvent) -> TaskState | None:
    """One rejection decides; approvals decide once there are as many as the quorum."""
    assert isinstance(event, ev.ApprovalGiven)
    assert state.flow is not None
    approval = state.flow.approvals[task]
    if not event.approved:
        return state_after_rejection(state, task)
    # Choosers come before handlers: this approval is not in ``agreed`` yet.
    quorum_reached = len(approval.agreed) + 1 >= approval.spec.quorum
    return TaskState.PREPARING if quorum_reached else None


def state_after_rejection(state: RunState, task: int) -> TaskState:
    """The state that a rejection leads to, by ``on_reject``."""
    assert state.flow is not None
    if state.flow.approvals[task].spec.on_reject is OnReject.FAIL:
        return TaskState.FAILED
    approval_only = state.graph.nodes[task].steps[-1] is Step.END
    return TaskState.SUCCEEDED if approval_only else TaskState.BYPASSED


def after_iteration(state: RunState, task: int, event: ev.RunEvent) -> TaskState | None:
    """The last iteration decides; None: another iteration begins."""
    assert isinstance(event, ev.RoundEnded)
    if event.done:
        return TaskState.SUCCEEDED
    return TaskState.FAILED if iterations_exhausted(state, task) else None


def iterations_exhausted(state: RunState, task: int) -> bool:
    """The task has had ``max_rounds`` iterations."""
    node = state.graph.nodes[task]
    assert state.flow is not None
    return len(state.flow.rounds[task].members) >= node.repeat.max_rounds


def after_child(state: RunState, task: int, event: ev.RunEvent) -> TaskState:
    """The child run ended, and its task with it."""
    assert isinstance(event, ev.ChildEnded)
    if event.status in _CHILD_SUCCESSES:
        return TaskState.SUCCEEDED
    return TaskState.CANCELLED if state.cancelling else TaskState.FAILED


# Items, iterations and turns: the parts of a task.


def turns_done(state: RunState, task: int) -> bool:
    """The last turn requested no tools."""
    return state.flow is not None and task in state.flow.turns and state.flow.turns[task].done


def all_items_succeeded(state: RunState, task: int) -> bool:
    """Every item has ended, and none badly where that is not tolerated."""
    each = _find_items(state, task)
    return (
        each is not None and not each.left and not each.failed and not _has_unreleased_items(each)
    )


def parts_cancelled(state: RunState, task: int) -> bool:
    """The run was cancelled, and every part of the task that began has ended."""
    return state.cancelling and _parts_ended(state, task)


def parts_failed(state: RunState, task: int) -> bool:
    """Every part of the task that began has ended, and the task did not succeed."""
    return _parts_ended(state, task)


def sibling_item_failed(state: RunState, task: int) -> bool:
    """The task is an item that has not begun, and another item ended badly."""
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
        # Items of unknown outcome keep their task open only while the run is not stopping.
        stopped = state.stopping and each.left == each.unknown
        return not each.left or stopped
    turns = None if state.flow is None else state.flow.turns.get(task)
    if turns is not None:
        return _last_turn_ended(state, turns)
    rounds = _find_iterations(state, task)
    if rounds is None or not rounds.members:
        return False
    last = state.state[rounds.members[-1]]
    # After a success the engine evaluates the condition, or nothing does if the run is stopping.
    if last is TaskState.SUCCEEDED:
        return state.stopping
    return not state.counts_as_open(last)


def _last_turn_ended(state: RunState, turns: ModelTurns) -> bool:
    """No further turn begins, and the last one and its tool calls have ended."""
    last = turns.had[-1]
    parts = [last.node, *[call for call in last.calls if call is not None]]
    if any(state.counts_as_open(state.state[part]) for part in parts):
        return False
    ended_well = state.state[last.node] is TaskState.SUCCEEDED
    return state.stopping or turns.stopped or not ended_well


def awaits_loop_condition(state: RunState, task: int) -> bool:
    """An iteration succeeded, and the condition has not been evaluated yet."""
    rounds = _find_iterations(state, task)
    if rounds is None or state.state[task] is not TaskState.EXPANDED or rounds.done:
        return False
    return bool(rounds.members) and state.state[rounds.members[-1]] is TaskState.SUCCEEDED


# Calls of unknown outcome.


def call_acted(state: RunState, task: int) -> bool:
    """The reconcile call returned that the call acted."""
    return _reconcile_verdict(state, task) is True


def call_did_not_act(state: RunState, task: int) -> bool:
    """The reconcile call returned that the call did not act."""
    return _reconcile_verdict(state, task) is False


def _reconcile_verdict(state: RunState, task: int) -> bool | None:
    """What the reconcile call returned; None if it has not ended, failed, or cannot tell."""
    flow = state.flow
    reconcile_task = None if flow is None else flow.reconciling.get(task)
    if reconcile_task is None or state.state[reconcile_task] is not TaskState.SUCCEEDED:
        return None
    result = state.results.get(reconcile_task)
    happened = result.get("happened") if isinstance(result, dict) else result
    return happened if isinstance(happened, bool) else None


def after_resolution(state: RunState, task: int, event: ev.RunEvent) -> TaskState:
    """A user recorded the outcome."""
    assert isinstance(event, ev.TaskResolved)
    return {
        "succeeded": TaskState.SUCCEEDED,
        "failed": TaskState.FAILED,
        "retry": TaskState.READY,
    }[event.outcome]
