"""State actions: what follows at once when a task enters a state, leaves it, or stays in it.

One function for each state that has consequences, named after it and looked up by `machine`. An
action pushes the tasks that may move now to ``touched``, and what the outside world must do
to ``commands``. It never changes the state of a task: `machine` moves the touched tasks by the
tables. To add an action: a function here and a line in the table at the end of this file.
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
"""Reconcile calls for one call of unknown outcome, at most; then a user has to record it."""

_SUCCESS_STATES: Final = frozenset({TaskState.SUCCEEDED, TaskState.BYPASSED})


# Before a task begins.


def enter_preparing(state: RunState, task: int, touched: list[int], commands: Commands) -> None:
    """Begin the next step: one without an expression leads to its state by the tables alone."""
    position = state.ensure_flow().position
    position[task] = step_index = position.get(task, -1) + 1
    if state.graph.nodes[task].steps[step_index] in EVALUATED:
        commands.append(cmd.PrepareTask(state.seq, task))
    else:
        touched.append(task)


def enter_ready(state: RunState, task: int, touched: list[int], commands: Commands) -> None:
    """Put the task into the ready queue."""
    commands.append(cmd.OfferTask(state.seq, task))
    # An event may lead here after the run began to stop (a user records "retry" for an unknown
    # outcome, for example); a guard of READY ends the task then.
    if state.stopping:
        touched.append(task)


def enter_blocked(state: RunState, task: int, touched: list[int], commands: Commands) -> None:
    """Wait for a time, a signal or an approval, or for what `TaskBlocked` says is missing."""
    # The handler of `TaskBlocked` has recorded the reason already.
    if task in state.blocked:
        return
    step, flow = state.current_step(task), state.ensure_flow()
    if step is Step.TIMER:
        state.blocked[task] = ("timer", "waits for its time")
        # A run that waits for timers alone needs no help from outside.
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
    # The signal came first: the task passes through BLOCKED without waiting.
    if kept_signals:
        flow.received[task] = flow.passed[task] = kept_signals.pop(0)
        touched.append(task)
        return
    flow.listening.setdefault(name, {})[task] = None
    if node.wait.timeout is not None:
        state.wake_at[task] = state.last_at + round(node.wait.timeout * 1_000_000)


def leave_blocked(state: RunState, task: int) -> None:
    """Remove every trace of the wait, whether it was fulfilled or given up."""
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


# While it is running.


def enter_running(state: RunState, task: int, touched: list[int], commands: Commands) -> None:
    """Make the call."""
    commands.append(cmd.CallAgent(state.seq, task, state.attempts[task]))


def enter_backing_off(state: RunState, task: int, touched: list[int], commands: Commands) -> None:
    """Wait for the time of the next attempt, which the event handler has computed."""
    commands.append(cmd.WakeTask(state.seq, task, state.wake_at[task]))


def enter_expanded(state: RunState, task: int, touched: list[int], commands: Commands) -> None:
    """Begin the first items, the first iteration or the first turn; a child run began before."""
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
        # ``touched`` is a stack: reversed, the items begin in their order. The task itself is
        # touched too, as an empty list of items has succeeded already.
        touched += [task, *reversed(first_items)]


def _release_next_item(state: RunState, each: MappedItems, touched: list[int]) -> None:
    if each.released < len(each.items):
        member = each.first + each.released
        each.released += 1
        state.pending[member] = 0
        touched.append(member)


def begin_iteration(state: RunState, task: int, touched: list[int], commands: Commands) -> None:
    """Generate and begin the next iteration of a repeated task."""
    assert state.flow is not None
    rounds, inner = state.flow.rounds[task], state.graph.nodes[task].inner
    assert inner is not None
    key = f"{state.graph.keys[task]}~{len(rounds.members) + 1}"
    # This iteration reads the result of the one before it (``previous``). The results of earlier
    # ones have no reader left, unless a compensation of theirs may still read them.
    if len(rounds.members) > 1 and inner.undo is None and not state.keep:
        state.results.pop(rounds.members[-2], None)
    rounds.members.append(state.add_task(task, inner, key))
    touched.append(rounds.members[-1])


# When it has ended.


def enter_succeeded(state: RunState, task: int, touched: list[int], commands: Commands) -> None:
    """Derive the result if the task called no agent, then unblock what waits for the task."""
    graph = state.graph
    node = graph.nodes[task]
    if node.steps is not PLAIN and node.steps[-1] is not Step.CALL:
        _derive_result(state, task, node)
    if node.undo is not None:
        state.ended.append(task)
        if state.status is RunStatus.COMPENSATING:
            # A call of unknown outcome turned out to have acted while the run compensates: it is
            # compensated next.
            state.to_undo.append(compensation_of(state, task))
    free_dependents(state, task, touched)
    forget_task(state, task)
    if task >= graph.tasks:
        state.extra += 1
        settle_generated_task(state, task, touched, commands)


def free_dependents(state: RunState, task: int, touched: list[int]) -> None:
    """Count one dependency less for each dependent of a task."""
    pending = state.pending
    for dependent in state.graph.dependents[task]:
        pending[dependent] -= 1
        # A dependent with other open dependencies cannot move: no guard of WAITING holds now that
        # did not hold before. Touching it would only cost time.
        if not pending[dependent]:
            touched.append(dependent)


def _derive_result(state: RunState, task: int, node: Node) -> None:
    """Keep the result of a task that calls no agent itself; its iterations keep their own."""
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
        # The list holds the results now; only a compensation of an item would read them apart.
        if inner is not None and not state.keep and not _has_compensation(inner):
            for member in members:
                state.results.pop(member, None)


def _has_compensation(node: Node) -> bool:
    return node.undo is not None or (node.inner is not None and _has_compensation(node.inner))


def enter_bypassed(state: RunState, task: int, touched: list[int], commands: Commands) -> None:
    """Unblock the dependents as after a success; `guards.flow` decides whether they run."""
    free_dependents(state, task, touched)
    forget_task(state, task)
    if task >= state.graph.tasks:
        settle_generated_task(state, task, touched, commands)


def end_without_result(state: RunState, task: int, touched: list[int], commands: Commands) -> None:
    """The task ended without a usable result: its dependents never start."""
    for dependent in state.graph.dependents[task]:
        state.pending[dependent] -= 1
        state.broken.add(dependent)
        touched.append(dependent)
    forget_task(state, task)
    if task >= state.graph.tasks:
        settle_generated_task(state, task, touched, commands)


def end_tolerated(state: RunState, task: int, touched: list[int], commands: Commands) -> None:
    """A task of the author failed and has ``continue_on_failure``: its dependents start."""
    free_dependents(state, task, touched)
    forget_task(state, task)


def explain_failure(state: RunState, task: int) -> None:
    """Record why a task failed that calls no agent itself, unless an event said why."""
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
        message = "no model completed the task"
        if rounds is not None:
            count = len(rounds.members)
            message = f"the condition of repeat_until did not hold after {count} iterations"
        if fault is not None:
            message = f"{state.graph.keys[last_member]}: {fault.message}"
    state.faults[task] = Fault(kind="parts", message=message, retriable=False, counts=False)


def _member_range(each: MappedItems) -> range:
    return range(each.first, each.first + len(each.items))


def enter_unknown_outcome(
    state: RunState, task: int, touched: list[int], commands: Commands
) -> None:
    """It is unknown whether the call acted: make a reconcile call if the task declares one.

    A reconcile call that fails or cannot tell leaves the task here, for a user to record the
    outcome. Each new unknown outcome of the task gets a reconcile call, up to the bound.
    """
    graph = state.graph
    # The handler of the failure has set a time for a retry, which must not come by itself.
    state.wake_at.pop(task, None)
    if task >= graph.tasks:
        each = _find_items(state, task)
        if each is not None:
            each.unknown += 1
        if graph.nodes[task].compensates is not None:
            _settle_compensation(state, task, touched, ended_well=False)
        elif state.stopping:
            # The owner of a generated task may end now: an unknown outcome keeps no stopping run
            # open.
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
    """The outcome is known: a user recorded it, or the reconcile call returned it."""
    each = _find_items(state, task)
    if each is not None:
        each.unknown -= 1
    if state.flow is None or task not in state.flow.reconciling:
        return
    reconcile_task = state.flow.reconciling[task]
    # The state of the task has changed already; the guards read only that of the reconcile call.
    if call_acted(state, task):
        result = state.results.get(reconcile_task)
        keep_result(state, task, result.get("result") if isinstance(result, dict) else None)
    elif call_did_not_act(state, task):
        # A call that did not act does not count as an attempt of the retry policy.
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
    """A generated task or a compensation has ended: continue with the task it was made for."""
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
    """A turn, a tool call, an item, an iteration or a reconcile call of ``owner`` has ended."""
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
            # The first failure: the items that have not begun never begin.
            touched.extend(range(each.first + each.released, each.first + len(each.items)))
    rounds = None if state.flow is None else state.flow.rounds.get(owner)
    if rounds is not None and state.state[task] is TaskState.SUCCEEDED and not state.stopping:
        # Until the engine has evaluated the condition no task is ready or running; the run must
        # not come to WAITING for that. `RoundEnded` or `TaskFaulted` takes the count back.
        state.ensure_flow().moving += 1
        commands.append(cmd.PrepareTask(state.seq, owner))
    else:
        touched.append(owner)


def forget_task(state: RunState, task: int) -> None:
    """Drop the results that only this task still needed, and its entries of a wait."""
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
    """The index of the compensation of a task.

    Compensations of the author's tasks are part of the graph; that of an item, an iteration or a
    nested one is generated here, when it is needed.
    """
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
    """Begin the compensation of the task that ended last, of those still to be compensated.

    Both tables move by guards on ``undoing``: the task to COMPENSATING, its compensation to READY.
    """
    state.undoing = state.to_undo.pop() if state.to_undo else None
    if state.undoing is not None:
        owner = state.graph.nodes[state.undoing].compensates
        assert owner is not None
        touched.extend((owner, state.undoing))


# Events after which a task stays in its state.


def schedule_next_wake(state: RunState, task: int, touched: list[int], commands: Commands) -> None:
    """An approval was escalated: wake at its deadline, if it has one."""
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
"""Entry actions by state. `machine` adds the one of FAILED, which may stop the run."""

EXIT_ACTIONS: Final[dict[TaskState, Callable[[RunState, int], None]]] = {
    TaskState.BLOCKED: leave_blocked,
    TaskState.UNKNOWN_OUTCOME: leave_unknown_outcome,
}
"""Exit actions by state; they run after the state has changed and before the entry action."""

STAY_ACTIONS: Final[dict[type[ev.TaskEvent], EntryAction]] = {
    ev.TaskDecided: enter_preparing,
    ev.RoundEnded: begin_iteration,
    ev.TaskWoke: schedule_next_wake,
}
"""Actions by event, for an event with a row and a chooser that left the task in its state."""
