"""What follows at once when a task comes into a state: for those that depend on it, and outside.

One function for each state that something follows from, looked up by `machine`, which moves what is
``touched``. ``commands`` takes the commands. Called by nobody else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from agenthive.core.graph.nodes import (
    COMPENSATION_SUFFIX,
    EVALUATED,
    PLAIN,
    RECONCILE_SUFFIX,
    Node,
    Step,
)
from agenthive.core.journal import run_events as ev
from agenthive.core.machine import commands as cmd
from agenthive.core.machine import model_turns
from agenthive.core.machine.event_handlers import keep_result
from agenthive.core.machine.flow_state import Iterations, MappedItems
from agenthive.core.machine.guards.flow import call_acted, call_did_not_act
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Fault
from agenthive.core.model.states import RunStatus, TaskState

Commands: TypeAlias = "list[cmd.RunCommand]"
EntryAction: TypeAlias = Callable[[RunState, int, list[int], Commands], None]

MAX_RECONCILE_CALLS: Final = 10
"""How often the outside world is asked what came of one call."""

_SUCCESS_STATES: Final = frozenset({TaskState.SUCCEEDED, TaskState.BYPASSED})


# Before a task begins.


def enter_preparing(state: RunState, task: int, touched: list[int], commands: Commands) -> None:
    """The next step begins."""
    position = state.ensure_flow().position
    position[task] = step_index = position.get(task, -1) + 1
    if state.graph.nodes[task].steps[step_index] in EVALUATED:
        commands.append(cmd.PrepareTask(state.seq, task))
    else:
        touched.append(task)


def enter_ready(state: RunState, task: int, touched: list[int], commands: Commands) -> None:
    """It waits for a slot."""
    commands.append(cmd.OfferTask(state.seq, task))
    if state.stopping:
        touched.append(task)


def enter_blocked(state: RunState, task: int, touched: list[int], commands: Commands) -> None:
    """It waits for an agent, a time, a signal or people."""
    if task in state.blocked:
        return
    step, flow = state.current_step(task), state.ensure_flow()
    if step is Step.TIMER:
        state.blocked[task] = ("timer", "waits for its time")
        flow.timed += 1
    elif step is Step.APPROVAL:
        approval = flow.approvals[task]
        state.blocked[task] = ("approval", approval.message or "needs an approval")
    else:
        _listen_for_signal(state, task, touched)
    if task in state.wake_at:
        commands.append(cmd.WakeTask(state.seq, task, state.wake_at[task]))


def _listen_for_signal(state: RunState, task: int, touched: list[int]) -> None:
    node, flow = state.graph.nodes[task], state.ensure_flow()
    name = node.wait.signal
    state.blocked[task] = ("signal", f"waits for the signal '{name}'")
    kept_signals = flow.kept.get(name)
    if kept_signals:
        flow.received[task] = flow.passed[task] = kept_signals.pop(0)
        touched.append(task)
        return
    flow.listening.setdefault(name, {})[task] = None
    if node.wait.timeout is not None:
        state.wake_at[task] = state.last_at + round(node.wait.timeout * 1_000_000)


def leave_blocked(state: RunState, task: int) -> None:
    """What it waited for is over, one way or the other."""
    reason, _ = state.blocked.pop(task, ("", ""))
    state.wake_at.pop(task, None)
    state.lacks.pop(task, None)
    if state.flow is None:
        return
    if reason == "timer":
        state.flow.timed -= 1
    elif reason == "signal":
        node = state.graph.nodes[task]
        listeners = state.flow.listening.get(node.wait.signal)
        if listeners is not None:
            listeners.pop(task, None)
    elif reason == "approval":
        state.flow.approvals.pop(task, None)


# While it is under way.


def enter_running(state: RunState, task: int, touched: list[int], commands: Commands) -> None:
    """Its call is made."""
    commands.append(cmd.CallAgent(state.seq, task, state.attempts[task]))


def enter_backing_off(state: RunState, task: int, touched: list[int], commands: Commands) -> None:
    """It is tried again later."""
    commands.append(cmd.WakeTask(state.seq, task, state.wake_at[task]))


def enter_expanded(state: RunState, task: int, touched: list[int], commands: Commands) -> None:
    """Its first items, its first round or its first turn begin."""
    flow = state.ensure_flow()
    step = state.current_step(task)
    if step is Step.TURNS:
        model_turns.begin_turns(state, task, touched)
    elif step is Step.REPEAT:
        flow.rounds[task] = Iterations(members=[])
        begin_iteration(state, task, touched, commands)
    elif step is Step.EACH:
        each, node = flow.each[task], state.graph.nodes[task]
        first_items: list[int] = []
        for _ in range(node.each.max_parallel or len(each.items)):
            _release_next_item(state, each, first_items)
        # What is touched last moves first: items begin in their order.
        touched += [task, *reversed(first_items)]


def _release_next_item(state: RunState, each: MappedItems, touched: list[int]) -> None:
    if each.released < len(each.items):
        member = each.first + each.released
        each.released += 1
        state.pending[member] = 0
        touched.append(member)


def begin_iteration(state: RunState, task: int, touched: list[int], commands: Commands) -> None:
    """Another round of a repeated task."""
    assert state.flow is not None
    rounds, inner = state.flow.rounds[task], state.graph.nodes[task].inner
    assert inner is not None
    key = f"{state.graph.keys[task]}~{len(rounds.members) + 1}"
    # The result of the round before is still read by this one, those of earlier ones by nobody.
    if len(rounds.members) > 1 and inner.undo is None and not state.keep:
        state.results.pop(rounds.members[-2], None)
    rounds.members.append(state.add_task(task, inner, key))
    touched.append(rounds.members[-1])


# When it has ended.


def enter_succeeded(state: RunState, task: int, touched: list[int], commands: Commands) -> None:
    """What depends on it may begin."""
    graph = state.graph
    node = graph.nodes[task]
    if node.steps is not PLAIN and node.steps[-1] is not Step.CALL:
        _derive_result(state, task, node)
    if node.undo is not None:
        state.ended.append(task)
        if state.status is RunStatus.COMPENSATING:
            # Somebody found out only now that it has acted: it is undone next.
            state.to_undo.append(compensation_of(state, task))
    free_dependents(state, task, touched)
    forget_task(state, task)
    if task >= graph.tasks:
        state.extra += 1
        settle_generated_task(state, task, touched, commands)


def free_dependents(state: RunState, task: int, touched: list[int]) -> None:
    """Those that wait for this task have one thing less to wait for."""
    pending = state.pending
    for dependent in state.graph.dependents[task]:
        pending[dependent] -= 1
        # One that waits for more cannot move yet: no guard of WAITING has come true.
        if not pending[dependent]:
            touched.append(dependent)


def _derive_result(state: RunState, task: int, node: Node) -> None:
    """The result of a task that calls nobody itself follows from what has happened."""
    flow = state.flow
    assert flow is not None
    if node.steps[-1] is Step.END:
        keep_result(state, task, flow.passed.get(task))
    elif node.steps[-1] is Step.TURNS:
        model_turns.keep_last_result(state, task)
    elif node.steps[-1] is Step.EACH:
        each = flow.each[task]
        members = range(each.first, each.first + len(each.items))
        keep_result(state, task, [state.results.get(member) for member in members])
        inner = node.inner
        if inner is not None and not state.keep and not _has_compensation(inner):
            for member in members:
                state.results.pop(member, None)


def _has_compensation(node: Node) -> bool:
    return node.undo is not None or (node.inner is not None and _has_compensation(node.inner))


def enter_bypassed(state: RunState, task: int, touched: list[int], commands: Commands) -> None:
    """As if it had ended well, without a result; whether others follow it is their own question."""
    free_dependents(state, task, touched)
    forget_task(state, task)
    if task >= state.graph.tasks:
        settle_generated_task(state, task, touched, commands)


def end_without_result(state: RunState, task: int, touched: list[int], commands: Commands) -> None:
    """It ended without a result: what depends on it never starts."""
    for dependent in state.graph.dependents[task]:
        state.pending[dependent] -= 1
        state.broken.add(dependent)
        touched.append(dependent)
    forget_task(state, task)
    if task >= state.graph.tasks:
        settle_generated_task(state, task, touched, commands)


def end_tolerated(state: RunState, task: int, touched: list[int], commands: Commands) -> None:
    """A task of the author's failed where that is no harm."""
    free_dependents(state, task, touched)
    forget_task(state, task)


def explain_failure(state: RunState, task: int) -> None:
    """Why a task failed that calls nobody itself, where nothing has said so."""
    if task in state.faults or state.graph.nodes[task].steps[-1] is Step.CALL:
        return
    flow = state.flow
    assert flow is not None
    if task in flow.each:
        each = flow.each[task]
        failed_member = next(
            (member for member in _member_range(each) if member in state.faults), None
        )
        message = f"{each.failed} of {len(each.items)} items did not succeed"
        if failed_member is not None:
            message += f"; {state.graph.keys[failed_member]}: {state.faults[failed_member].message}"
    else:
        last_member = (
            flow.turns[task].had[-1].node if task in flow.turns else flow.rounds[task].members[-1]
        )
        fault = state.faults.get(last_member)
        rounds = flow.rounds.get(task)
        message = "it was given up"
        if rounds is not None:
            message = f"its condition did not hold after {len(rounds.members)} rounds"
        if fault is not None:
            message = f"{state.graph.keys[last_member]}: {fault.message}"
    state.faults[task] = Fault(kind="parts", message=message, retriable=False, counts=False)


def _member_range(each: MappedItems) -> range:
    return range(each.first, each.first + len(each.items))


def enter_unknown_outcome(
    state: RunState, task: int, touched: list[int], commands: Commands
) -> None:
    """Nobody knows whether it has acted: ask, if there is a way to."""
    graph = state.graph
    state.wake_at.pop(task, None)  # it is not tried again by itself
    if task >= graph.tasks:
        each = _find_items(state, task)
        if each is not None:
            each.unknown += 1
        if graph.nodes[task].compensates is not None:
            _settle_compensation(state, task, touched, ended_well=False)
        elif state.stopping:
            touched.append(graph.owner[task - graph.static])
    pattern = graph.nodes[task].reconcile
    if pattern is None or state.stopping:
        return
    flow = state.ensure_flow()
    flow.questions[task] = number = flow.questions.get(task, 0) + 1
    if number <= MAX_RECONCILE_CALLS:
        key = graph.keys[task] + RECONCILE_SUFFIX + (str(number) if number > 1 else "")
        flow.reconciling[task] = state.add_task(task, pattern, key)
        touched.append(flow.reconciling[task])


def leave_unknown_outcome(state: RunState, task: int) -> None:
    """Somebody found out, or the outside world has said."""
    each = _find_items(state, task)
    if each is not None:
        each.unknown -= 1
    if state.flow is None or task not in state.flow.reconciling:
        return
    reconcile_task = state.flow.reconciling[task]
    if call_acted(state, task):
        result = state.results.get(reconcile_task)
        keep_result(state, task, result.get("result") if isinstance(result, dict) else None)
    elif call_did_not_act(state, task):
        # What has not acted is no attempt that was used up.
        state.losses[task] = state.losses.get(task, 0) + 1
    del state.flow.reconciling[task]


def _find_items(state: RunState, task: int) -> MappedItems | None:
    owner = state.graph.owner_of(task)
    if owner is None or state.flow is None:
        return None
    each = state.flow.each.get(owner)
    return each if each is not None and task in _member_range(each) else None


def settle_generated_task(
    state: RunState, task: int, touched: list[int], commands: Commands
) -> None:
    """A task that is none of the author's has ended: whoever it was made for moves."""
    owner = state.graph.owner_of(task)
    ended_well = state.state[task] in _SUCCESS_STATES
    if state.graph.nodes[task].compensates is not None:
        _settle_compensation(state, task, touched, ended_well=ended_well)
    else:
        assert owner is not None
        _settle_member(state, task, owner, touched, commands)


def _settle_member(
    state: RunState, task: int, owner: int, touched: list[int], commands: Commands
) -> None:
    if state.flow is not None and owner in state.flow.turns:
        model_turns.settle_member(state, task, owner, touched)
        return
    ended_well = state.state[task] in _SUCCESS_STATES or state.graph.nodes[task].tolerated
    each = _find_items(state, task)
    if each is not None:
        each.left -= 1
        each.failed += not ended_well
        if ended_well:
            _release_next_item(state, each, touched)
        elif each.failed == 1:
            touched.extend(range(each.first + each.released, each.first + len(each.items)))
    rounds = None if state.flow is None else state.flow.rounds.get(owner)
    if rounds is not None and state.state[task] is TaskState.SUCCEEDED and not state.stopping:
        state.ensure_flow().moving += 1
        commands.append(cmd.PrepareTask(state.seq, owner))
    else:
        touched.append(owner)


def forget_task(state: RunState, task: int) -> None:
    """Let go of the results that only this task still needed, and of what it waited for."""
    if task < state.graph.static and not state.keep:
        for source in state.graph.reads[task]:
            state.readers[source] -= 1
            if not state.readers[source]:
                state.results.pop(source, None)
                if state.blobs:
                    state.blobs.pop(source, None)
    if state.wake_at:
        state.wake_at.pop(task, None)
    if state.blocked:
        state.blocked.pop(task, None)
    if state.flow is not None:
        _forget_flow(state, task)


def _forget_flow(state: RunState, task: int) -> None:
    flow = state.flow
    assert flow is not None
    for values in (flow.passed, flow.received, flow.approved):
        values.pop(task, None)
    if task in flow.turns:
        model_turns.release_results(state, task)


# Compensations.


def _settle_compensation(
    state: RunState, task: int, touched: list[int], *, ended_well: bool
) -> None:
    state.undo_failures += not ended_well
    owner = state.graph.nodes[task].compensates
    assert owner is not None
    touched.append(owner)
    begin_next_compensation(state, touched)


def compensation_of(state: RunState, task: int) -> int:
    """The compensation of a task; that of an item or a round is made now."""
    compensation = state.graph.compensations.get(task)
    if compensation is None:
        pattern = state.graph.nodes[task].undo
        assert pattern is not None
        node = msgspec.structs.replace(pattern, compensates=task)
        compensation = state.add_task(
            task,
            node,
            state.graph.keys[task] + COMPENSATION_SUFFIX,
            initial_state=TaskState.DORMANT,
        )
        state.graph.compensations[task] = compensation
    return compensation


def begin_next_compensation(state: RunState, touched: list[int]) -> None:
    """The latest thing that is still to be undone."""
    state.undoing = state.to_undo.pop() if state.to_undo else None
    if state.undoing is not None:
        owner = state.graph.nodes[state.undoing].compensates
        assert owner is not None
        touched.extend((owner, state.undoing))


# Facts after which a task stays where it is.


def schedule_next_wake(state: RunState, task: int, touched: list[int], commands: Commands) -> None:
    """More people are asked; the deadline still stands."""
    assert state.flow is not None
    wake_at = state.flow.approvals[task].next_wake
    if wake_at is None:
        state.wake_at.pop(task, None)
    else:
        state.wake_at[task] = wake_at
        commands.append(cmd.WakeTask(state.seq, task, wake_at))


ENTRY_ACTIONS: Final[dict[TaskState, EntryAction]] = {
    TaskState.PREPARING: enter_preparing,
    TaskState.READY: enter_ready,
    TaskState.BLOCKED: enter_blocked,
    TaskState.RUNNING: enter_running,
    TaskState.BACKING_OFF: enter_backing_off,
    TaskState.EXPANDED: enter_expanded,
    TaskState.SUCCEEDED: enter_succeeded,
    TaskState.BYPASSED: enter_bypassed,
    TaskState.SKIPPED: end_without_result,
    TaskState.CANCELLED: end_without_result,
    TaskState.UNKNOWN_OUTCOME: enter_unknown_outcome,
}
"""What follows from a state; FAILED is `machine`'s, as it may stop the run."""

EXIT_ACTIONS: Final[dict[TaskState, Callable[[RunState, int], None]]] = {
    TaskState.BLOCKED: leave_blocked,
    TaskState.UNKNOWN_OUTCOME: leave_unknown_outcome,
}
"""What follows from leaving a state."""

STAY_ACTIONS: Final[dict[type[ev.TaskEvent], EntryAction]] = {
    ev.TaskDecided: enter_preparing,
    ev.RoundEnded: begin_iteration,
    ev.TaskWoke: schedule_next_wake,
}
"""What follows from a fact after which a task stays where it is."""
