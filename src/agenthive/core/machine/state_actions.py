"""What follows at once when a task comes into a state: for those that depend on it, and outside.

One function for each state that something follows from, looked up by `machine`, which moves what is
``touched``. ``out`` takes the commands. Called by nobody else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from agenthive.core.graph.nodes import EVALUATED, PLAIN, RECONCILE, UNDO, Node, Step
from agenthive.core.journal import run_events as ev
from agenthive.core.machine import commands as cmd
from agenthive.core.machine import model_turns
from agenthive.core.machine.event_handlers import keep_result
from agenthive.core.machine.flow_state import Each, Rounds
from agenthive.core.machine.guards.flow import it_did_not, it_happened
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Fault
from agenthive.core.model.states import RunStatus, TaskState

Out: TypeAlias = "list[cmd.RunCommand]"
Entry: TypeAlias = Callable[[RunState, int, list[int], Out], None]

MOST_QUESTIONS: Final = 10
"""How often the outside world is asked what came of one call."""

_GOOD: Final = frozenset({TaskState.SUCCEEDED, TaskState.BYPASSED})


# Before a task begins.


def preparing(state: RunState, task: int, touched: list[int], out: Out) -> None:
    """The next step begins."""
    position = state.begin_flow().position
    position[task] = at = position.get(task, -1) + 1
    if state.graph.nodes[task].steps[at] in EVALUATED:
        out.append(cmd.Prepare(state.seq, task))
    else:
        touched.append(task)


def ready(state: RunState, task: int, touched: list[int], out: Out) -> None:
    """It waits for a slot."""
    out.append(cmd.OfferTask(state.seq, task))
    if state.stopping:
        touched.append(task)


def blocked(state: RunState, task: int, touched: list[int], out: Out) -> None:
    """It waits for an agent, a time, a signal or people."""
    if task in state.blocked:
        return
    step, flow = state.step_of(task), state.begin_flow()
    if step is Step.TIMER:
        state.blocked[task] = ("timer", "waits for its time")
        flow.timed += 1
    elif step is Step.APPROVAL:
        approval = flow.approvals[task]
        state.blocked[task] = ("approval", approval.message or "needs an approval")
    else:
        _listen(state, task, touched)
    if task in state.wake_at:
        out.append(cmd.WakeTask(state.seq, task, state.wake_at[task]))


def _listen(state: RunState, task: int, touched: list[int]) -> None:
    node, flow = state.graph.nodes[task], state.begin_flow()
    name = node.wait.signal
    state.blocked[task] = ("signal", f"waits for the signal '{name}'")
    kept = flow.kept.get(name)
    if kept:
        flow.received[task] = flow.passed[task] = kept.pop(0)
        touched.append(task)
        return
    flow.listening.setdefault(name, {})[task] = None
    if node.wait.timeout is not None:
        state.wake_at[task] = state.last_at + round(node.wait.timeout * 1_000_000)


def leave_blocked(state: RunState, task: int) -> None:
    """What it waited for is over, one way or the other."""
    kind, _ = state.blocked.pop(task, ("", ""))
    state.wake_at.pop(task, None)
    state.lacks.pop(task, None)
    if state.flow is None:
        return
    if kind == "timer":
        state.flow.timed -= 1
    elif kind == "signal":
        node = state.graph.nodes[task]
        listening = state.flow.listening.get(node.wait.signal)
        if listening is not None:
            listening.pop(task, None)
    elif kind == "approval":
        state.flow.approvals.pop(task, None)


# While it is under way.


def running(state: RunState, task: int, touched: list[int], out: Out) -> None:
    """Its call is made."""
    out.append(cmd.CallAgent(state.seq, task, state.attempts[task]))


def backing_off(state: RunState, task: int, touched: list[int], out: Out) -> None:
    """It is tried again later."""
    out.append(cmd.WakeTask(state.seq, task, state.wake_at[task]))


def expanded(state: RunState, task: int, touched: list[int], out: Out) -> None:
    """Its first items, its first round or its first turn begin."""
    flow = state.begin_flow()
    step = state.step_of(task)
    if step is Step.TURNS:
        model_turns.begin(state, task, touched)
    elif step is Step.REPEAT:
        flow.rounds[task] = Rounds(members=[])
        next_round(state, task, touched, out)
    elif step is Step.EACH:
        each, node = flow.each[task], state.graph.nodes[task]
        first: list[int] = []
        for _ in range(node.each.max_parallel or len(each.items)):
            _release(state, each, first)
        # What is touched last moves first: items begin in their order.
        touched += [task, *reversed(first)]


def _release(state: RunState, each: Each, touched: list[int]) -> None:
    if each.released < len(each.items):
        member = each.first + each.released
        each.released += 1
        state.pending[member] = 0
        touched.append(member)


def next_round(state: RunState, task: int, touched: list[int], out: Out) -> None:
    """Another round of a repeated task."""
    assert state.flow is not None
    rounds, inner = state.flow.rounds[task], state.graph.nodes[task].inner
    assert inner is not None
    key = f"{state.graph.keys[task]}~{len(rounds.members) + 1}"
    # The result of the round before is still read by this one, those of earlier ones by nobody.
    if len(rounds.members) > 1 and inner.undo is None and not state.keep:
        state.results.pop(rounds.members[-2], None)
    rounds.members.append(state.grow(task, inner, key))
    touched.append(rounds.members[-1])


# When it has ended.


def succeeded(state: RunState, task: int, touched: list[int], out: Out) -> None:
    """What depends on it may begin."""
    graph = state.graph
    node = graph.nodes[task]
    if node.steps is not PLAIN and node.steps[-1] is not Step.CALL:
        _derive_result(state, task, node)
    if node.undo is not None:
        state.ended.append(task)
        if state.status is RunStatus.COMPENSATING:
            # Somebody found out only now that it has acted: it is undone next.
            state.to_undo.append(undo_of(state, task))
    free_dependents(state, task, touched)
    forget(state, task)
    if task >= graph.tasks:
        state.extra += 1
        other_ended(state, task, touched, out)


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
        model_turns.keep_last(state, task)
    elif node.steps[-1] is Step.EACH:
        each = flow.each[task]
        members = range(each.first, each.first + len(each.items))
        keep_result(state, task, [state.results.get(member) for member in members])
        inner = node.inner
        if inner is not None and not state.keep and not _undoable(inner):
            for member in members:
                state.results.pop(member, None)


def _undoable(node: Node) -> bool:
    return node.undo is not None or (node.inner is not None and _undoable(node.inner))


def bypassed(state: RunState, task: int, touched: list[int], out: Out) -> None:
    """As if it had ended well, without a result; whether others follow it is their own question."""
    free_dependents(state, task, touched)
    forget(state, task)
    if task >= state.graph.tasks:
        other_ended(state, task, touched, out)


def given_up(state: RunState, task: int, touched: list[int], out: Out) -> None:
    """It ended without a result: what depends on it never starts."""
    for dependent in state.graph.dependents[task]:
        state.pending[dependent] -= 1
        state.broken.add(dependent)
        touched.append(dependent)
    forget(state, task)
    if task >= state.graph.tasks:
        other_ended(state, task, touched, out)


def tolerated(state: RunState, task: int, touched: list[int], out: Out) -> None:
    """A task of the author's failed where that is no harm."""
    free_dependents(state, task, touched)
    forget(state, task)


def explain(state: RunState, task: int) -> None:
    """Why a task failed that calls nobody itself, where nothing has said so."""
    if task in state.faults or state.graph.nodes[task].steps[-1] is Step.CALL:
        return
    flow = state.flow
    assert flow is not None
    if task in flow.each:
        each = flow.each[task]
        bad = next((m for m in _members(each) if m in state.faults), None)
        message = f"{each.failed} of {len(each.items)} items did not succeed"
        if bad is not None:
            message += f"; {state.graph.keys[bad]}: {state.faults[bad].message}"
    else:
        last = (
            flow.turns[task].had[-1].node if task in flow.turns else flow.rounds[task].members[-1]
        )
        fault = state.faults.get(last)
        rounds = flow.rounds.get(task)
        message = "it was given up"
        if rounds is not None:
            message = f"its condition did not hold after {len(rounds.members)} rounds"
        if fault is not None:
            message = f"{state.graph.keys[last]}: {fault.message}"
    state.faults[task] = Fault(kind="parts", message=message, retriable=False, counts=False)


def _members(each: Each) -> range:
    return range(each.first, each.first + len(each.items))


def unknown(state: RunState, task: int, touched: list[int], out: Out) -> None:
    """Nobody knows whether it has acted: ask, if there is a way to."""
    graph = state.graph
    state.wake_at.pop(task, None)  # it is not tried again by itself
    if task >= graph.tasks:
        each = _each_of(state, task)
        if each is not None:
            each.unknown += 1
        if graph.nodes[task].undoes is not None:
            _undo_ended(state, task, touched, well=False)
        elif state.stopping:
            touched.append(graph.owner[task - graph.static])
    pattern = graph.nodes[task].reconcile
    if pattern is None or state.stopping:
        return
    flow = state.begin_flow()
    flow.questions[task] = number = flow.questions.get(task, 0) + 1
    if number <= MOST_QUESTIONS:
        key = graph.keys[task] + RECONCILE + (str(number) if number > 1 else "")
        flow.reconciling[task] = state.grow(task, pattern, key)
        touched.append(flow.reconciling[task])


def leave_unknown(state: RunState, task: int) -> None:
    """Somebody found out, or the outside world has said."""
    each = _each_of(state, task)
    if each is not None:
        each.unknown -= 1
    if state.flow is None or task not in state.flow.reconciling:
        return
    asked = state.flow.reconciling[task]
    if it_happened(state, task):
        answer = state.results.get(asked)
        keep_result(state, task, answer.get("result") if isinstance(answer, dict) else None)
    elif it_did_not(state, task):
        # What has not acted is no attempt that was used up.
        state.losses[task] = state.losses.get(task, 0) + 1
    del state.flow.reconciling[task]


def _each_of(state: RunState, task: int) -> Each | None:
    owner = state.graph.owner_of(task)
    if owner is None or state.flow is None:
        return None
    each = state.flow.each.get(owner)
    return each if each is not None and task in _members(each) else None


def other_ended(state: RunState, task: int, touched: list[int], out: Out) -> None:
    """A task that is none of the author's has ended: whoever it was made for moves."""
    owner = state.graph.owner_of(task)
    well = state.state[task] in _GOOD
    if state.graph.nodes[task].undoes is not None:
        _undo_ended(state, task, touched, well=well)
    else:
        assert owner is not None
        _member_ended(state, task, owner, touched, out)


def _member_ended(state: RunState, task: int, owner: int, touched: list[int], out: Out) -> None:
    if state.flow is not None and owner in state.flow.turns:
        model_turns.member_ended(state, task, owner, touched)
        return
    well = state.state[task] in _GOOD or state.graph.nodes[task].tolerated
    each = _each_of(state, task)
    if each is not None:
        each.left -= 1
        each.failed += not well
        if well:
            _release(state, each, touched)
        elif each.failed == 1:
            touched.extend(range(each.first + each.released, each.first + len(each.items)))
    rounds = None if state.flow is None else state.flow.rounds.get(owner)
    if rounds is not None and state.state[task] is TaskState.SUCCEEDED and not state.stopping:
        state.begin_flow().moving += 1
        out.append(cmd.Prepare(state.seq, owner))
    else:
        touched.append(owner)


def forget(state: RunState, task: int) -> None:
    """Let go of the results that only this task still needed, and of what it waited for."""
    if task < state.graph.static and not state.keep:
        for read in state.graph.reads[task]:
            state.readers[read] -= 1
            if not state.readers[read]:
                state.results.pop(read, None)
                if state.blobs:
                    state.blobs.pop(read, None)
    if state.wake_at:
        state.wake_at.pop(task, None)
    if state.blocked:
        state.blocked.pop(task, None)
    if state.flow is not None:
        _forget_flow(state, task)


def _forget_flow(state: RunState, task: int) -> None:
    flow = state.flow
    assert flow is not None
    for kept in (flow.passed, flow.received, flow.approved):
        kept.pop(task, None)
    if task in flow.turns:
        model_turns.let_go(state, task)


# Compensations.


def _undo_ended(state: RunState, task: int, touched: list[int], *, well: bool) -> None:
    state.undo_failures += not well
    owner = state.graph.nodes[task].undoes
    assert owner is not None
    touched.append(owner)
    next_undo(state, touched)


def undo_of(state: RunState, task: int) -> int:
    """The compensation of a task; that of an item or a round is made now."""
    undo = state.graph.undo.get(task)
    if undo is None:
        pattern = state.graph.nodes[task].undo
        assert pattern is not None
        node = msgspec.structs.replace(pattern, undoes=task)
        undo = state.grow(task, node, state.graph.keys[task] + UNDO, new=TaskState.DORMANT)
        state.graph.undo[task] = undo
    return undo


def next_undo(state: RunState, touched: list[int]) -> None:
    """The latest thing that is still to be undone."""
    state.undoing = state.to_undo.pop() if state.to_undo else None
    if state.undoing is not None:
        owner = state.graph.nodes[state.undoing].undoes
        assert owner is not None
        touched.extend((owner, state.undoing))


# Facts after which a task stays where it is.


def escalated(state: RunState, task: int, touched: list[int], out: Out) -> None:
    """More people are asked; the deadline still stands."""
    assert state.flow is not None
    wake = state.flow.approvals[task].next_wake
    if wake is None:
        state.wake_at.pop(task, None)
    else:
        state.wake_at[task] = wake
        out.append(cmd.WakeTask(state.seq, task, wake))


ENTRIES: Final[dict[TaskState, Entry]] = {
    TaskState.PREPARING: preparing,
    TaskState.READY: ready,
    TaskState.BLOCKED: blocked,
    TaskState.RUNNING: running,
    TaskState.BACKING_OFF: backing_off,
    TaskState.EXPANDED: expanded,
    TaskState.SUCCEEDED: succeeded,
    TaskState.BYPASSED: bypassed,
    TaskState.SKIPPED: given_up,
    TaskState.CANCELLED: given_up,
    TaskState.UNKNOWN_OUTCOME: unknown,
}
"""What follows from a state; FAILED is `machine`'s, as it may stop the run."""

LEAVING: Final[dict[TaskState, Callable[[RunState, int], None]]] = {
    TaskState.BLOCKED: leave_blocked,
    TaskState.UNKNOWN_OUTCOME: leave_unknown,
}
"""What follows from leaving a state."""

STAYING: Final[dict[type[ev.TaskEvent], Entry]] = {
    ev.TaskDecided: preparing,
    ev.RoundEnded: next_round,
    ev.TaskWoke: escalated,
}
"""What follows from a fact after which a task stays where it is."""
