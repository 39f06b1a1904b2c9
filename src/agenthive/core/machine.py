"""The machine: `step(state, event)` applies one fact and says what must be done about it.

The only place where a `RunState` changes. Pure: the same events give the same state and the same
commands on every machine. What it may do is in the tables of `transitions.py`; what it must never
do is read a clock, draw a number, or skip the tables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Never, TypeAlias

from agenthive.core import commands as cmd
from agenthive.core import events as ev
from agenthive.core.rules import stopping
from agenthive.core.run_state import INPUTS, RunState
from agenthive.core.spec import Effect, FailureStrategy
from agenthive.core.states import CLOSED, OPEN, UNSTARTED, RunStatus, TaskState
from agenthive.core.transitions import (
    EVENT_MOVES,
    RUN_EVENT_MOVES,
    RUN_STATE_MOVES,
    STATE_MOVES,
    Chooser,
)
from agenthive.errors import InvalidTransition

RULES: Final = 1
"""The version of these rules; every record carries the one it was written under."""

Out: TypeAlias = "list[cmd.RunCommand]"
Note: TypeAlias = Callable[[RunState, int, Never], None]
_Fact: TypeAlias = tuple[dict[TaskState, TaskState | Chooser], Note | None, int | None]

# Looked up once: in Python 3.11 that costs more than what is done with them.
_READY, _RUNNING, _RUN_RUNNING = TaskState.READY, TaskState.RUNNING, RunStatus.RUNNING


def step(state: RunState, event: ev.RunEvent) -> list[cmd.RunCommand]:
    """Apply one fact. Raises InvalidTransition if the tables have no row for it."""
    out: list[cmd.RunCommand] = []
    state.seq += 1
    state.last_at = event.at
    fact = _FACTS.get(type(event))  # type: ignore[arg-type]
    if fact is not None:
        _task_event(state, event, fact, out)  # type: ignore[arg-type]
    elif isinstance(event, ev.LateReply):
        _late(state, event)
    else:
        _run_event(state, event, out)
    # The common case first: while something is under way or ready, no row of RUNNING can hold.
    counts = state.counts
    busy = counts[_RUNNING] or counts[_READY]
    if not (busy and state.open and state.status is _RUN_RUNNING):
        _settle_run(state, event.at, out)
    return out


def _task_event(state: RunState, event: ev.TaskEvent, fact: _Fact, out: Out) -> None:
    task = _index(state, event)
    moves, note, ahead = fact
    target = moves.get(state.state[task])
    current = ahead is None or event.attempt == state.attempts[task] + ahead  # type: ignore[attr-defined]
    if target is None or not current:
        raise InvalidTransition(_refusal(state, task, event))
    if not isinstance(target, TaskState):
        target = target(state, task, event)  # type: ignore[arg-type]
    if note is not None:
        note(state, task, event)  # type: ignore[arg-type]
    touched: list[int] = []
    _enter(state, task, target, event.at, touched, out)
    if touched:
        _settle_tasks(state, touched, event.at, out)


def _late(state: RunState, event: ev.LateReply) -> None:
    """An answer that no longer counts settles what its call cost, once."""
    task = _index(state, event)
    if (task, event.attempt) not in state.unpaid:
        raise InvalidTransition(_refusal(state, task, event))
    state.unpaid.discard((task, event.attempt))


def _index(state: RunState, event: ev.TaskEvent) -> int:
    task = state.graph.index.get(event.task)
    if task is None:
        raise InvalidTransition(f"run {state.run}: no task '{event.task}' for {_name(event)}")
    return task


def _refusal(state: RunState, task: int, event: ev.TaskEvent) -> str:
    return (
        f"run {state.run}: task '{event.task}' is {state.state[task]} after attempt "
        f"{state.attempts[task]} (since event time {state.since[task]}); {_name(event)} "
        f"of attempt {getattr(event, 'attempt', '-')} at event {state.seq} has no row"
    )


def _name(event: ev.Event) -> str:
    return str(event.__struct_config__.tag)


# What a fact adds to the state, besides moving the task.


def _note_started(state: RunState, task: int, event: ev.TaskStarted) -> None:
    state.attempts[task] = event.attempt


def _note_succeeded(state: RunState, task: int, event: ev.TaskSucceeded) -> None:
    state.faults.pop(task, None)
    if state.readers[task]:
        if event.blob is None:
            state.results[task] = event.result
        else:
            state.blobs[task] = event.blob
    if task in state.graph.undo:
        state.ended.append(task)


def _note_failed(state: RunState, task: int, event: ev.TaskFailed) -> None:
    state.faults[task] = event.fault
    retry = state.graph.nodes[task].retry
    wait = retry.delay(event.attempt, event.draw, event.fault.retry_after)
    state.wake_at[task] = event.at + wait
    if event.usage is None:
        state.unpaid.add((task, event.attempt))


def _note_lost(state: RunState, task: int, event: ev.TaskLost) -> None:
    state.losses[task] = state.losses.get(task, 0) + 1
    state.unpaid.add((task, event.attempt))


def _note_cancelled(state: RunState, task: int, event: ev.TaskCancelled) -> None:
    state.unpaid.add((task, event.attempt))


def _note_blocked(state: RunState, task: int, event: ev.TaskBlocked) -> None:
    state.blocked[task] = (event.reason, event.detail)


def _note_unblocked(state: RunState, task: int, event: ev.TaskUnblocked) -> None:
    state.blocked.pop(task, None)


_NOTES: Final[dict[type[ev.TaskEvent], Note]] = {
    ev.TaskStarted: _note_started,
    ev.TaskSucceeded: _note_succeeded,
    ev.TaskFailed: _note_failed,
    ev.TaskLost: _note_lost,
    ev.TaskCancelled: _note_cancelled,
    ev.TaskBlocked: _note_blocked,
    ev.TaskUnblocked: _note_unblocked,
}


def _facts() -> dict[type[ev.TaskEvent], _Fact]:
    """The event-triggered table turned around: what each kind of fact does in each state.

    With it the fact's note, and how far its attempt is ahead of the one that is known: 1 for the
    start of a new one, 0 for what is about the current one, None for what is about none.
    """
    kinds = {kind for row in EVENT_MOVES.values() for kind in row}
    return {
        kind: (
            {state: row[kind] for state, row in EVENT_MOVES.items() if kind in row},
            _NOTES.get(kind),
            int(kind is ev.TaskStarted) if "attempt" in kind.__struct_fields__ else None,
        )
        for kind in kinds
    }


_FACTS: Final = _facts()


# Moving a task.


def _enter(
    state: RunState, task: int, new: TaskState, at: int, touched: list[int], out: Out
) -> None:
    old = state.state[task]
    state.state[task] = new
    state.since[task] = at
    state.counts[old] -= 1
    state.counts[new] += 1
    if (old in OPEN) is not (new in OPEN) or state.stopping:
        state.open += state.counts_as_open(new) - state.counts_as_open(old)
    entered = _ON_ENTRY.get(new)
    if entered is not None:
        entered(state, task, touched, out)


def _settle_tasks(state: RunState, touched: list[int], at: int, out: Out) -> None:
    """State-triggered moves, to a fixed point. Last in, first out; order does not matter here."""
    while touched:
        task = touched.pop()
        moves = STATE_MOVES if state.stopping else _MOVES_WHILE_GOING
        for guard, target in moves.get(state.state[task], ()):
            if guard(state, task):
                _enter(state, task, target, at, touched, out)
                touched.append(task)
                break


_STOPPING: Final = (stopping.cancelled, stopping.stopped)
_MOVES_WHILE_GOING: Final = {
    state: tuple(row for row in rows if row[0] not in _STOPPING)
    for state, rows in STATE_MOVES.items()
}
"""The same table for a run that is not stopping, without the guards that ask for just that."""


def _on_ready(state: RunState, task: int, touched: list[int], out: Out) -> None:
    out.append(cmd.OfferTask(state.seq, task))
    if state.stopping:
        touched.append(task)


def _on_running(state: RunState, task: int, touched: list[int], out: Out) -> None:
    out.append(cmd.CallAgent(state.seq, task, state.attempts[task]))


def _on_backing_off(state: RunState, task: int, touched: list[int], out: Out) -> None:
    out.append(cmd.WakeTask(state.seq, task, state.wake_at[task]))


def _on_succeeded(state: RunState, task: int, touched: list[int], out: Out) -> None:
    graph, pending = state.graph, state.pending
    for dependent in graph.dependents[task]:
        pending[dependent] -= 1
        # One that waits for more cannot move yet: no guard of WAITING has come true.
        if not pending[dependent]:
            touched.append(dependent)
    _forget(state, task)
    if task >= graph.tasks:
        _undo_ended(state, task, touched)


def _on_failed(state: RunState, task: int, touched: list[int], out: Out) -> None:
    if task >= state.graph.tasks:
        state.undo_failures += 1
        _undo_ended(state, task, touched)
        return
    if state.graph.nodes[task].tolerated:
        _on_succeeded(state, task, touched, out)
        return
    state.hard_failures += 1
    _on_given_up(state, task, touched, out)
    if state.strategy is FailureStrategy.STOP and not state.stopping:
        _stop(state, touched, out, cancel_all=False)


def _on_given_up(state: RunState, task: int, touched: list[int], out: Out) -> None:
    """It ended without a result: what depends on it never starts."""
    for dependent in state.graph.dependents[task]:
        state.pending[dependent] -= 1
        state.broken.add(dependent)
        touched.append(dependent)
    _forget(state, task)


def _on_unknown(state: RunState, task: int, touched: list[int], out: Out) -> None:
    if task >= state.graph.tasks:
        state.undo_failures += 1
        _undo_ended(state, task, touched)


def _forget(state: RunState, task: int) -> None:
    """Let go of the results that only this task still needed."""
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


_ON_ENTRY: Final[dict[TaskState, Callable[[RunState, int, list[int], Out], None]]] = {
    TaskState.READY: _on_ready,
    TaskState.RUNNING: _on_running,
    TaskState.BACKING_OFF: _on_backing_off,
    TaskState.SUCCEEDED: _on_succeeded,
    TaskState.FAILED: _on_failed,
    TaskState.SKIPPED: _on_given_up,
    TaskState.CANCELLED: _on_given_up,
    TaskState.UNKNOWN_OUTCOME: _on_unknown,
}


# Moving the run.


def _run_event(state: RunState, event: ev.RunEvent, out: Out) -> None:
    if isinstance(event, ev.RunSubmitted):
        _submitted(state, event)
        return
    new = RUN_EVENT_MOVES.get(state.status, {}).get(type(event))
    if new is None:
        raise InvalidTransition(f"run {state.run} is {state.status}: {_name(event)} has no row")
    state.status = new
    touched: list[int] = []
    if isinstance(event, ev.RunStarted):
        state.started = event.at
        touched.extend(i for i in range(state.graph.tasks) if not state.pending[i])
        touched.reverse()
        _set_deadline(state, out)
    elif isinstance(event, ev.RunResumed):
        # Who waited for somebody before the process ended has waited all the time since.
        state.away += event.away if state.parked is None else _waited(state, event.at)
        _set_deadline(state, out)
    elif isinstance(event, ev.CancelRequested):
        state.cancelling = True
        _stop(state, touched, out, cancel_all=True)
    else:
        state.timed_out = True
        _stop(state, touched, out, cancel_all=True)
    _settle_tasks(state, touched, event.at, out)


def _submitted(state: RunState, event: ev.RunSubmitted) -> None:
    if state.seq != 1:
        raise InvalidTransition(f"run {event.run}: submitted twice")
    state.run, state.name, state.inputs = event.run, event.name, event.inputs
    state.tenant, state.owner, state.created = event.tenant, event.owner, event.at
    if event.blob is not None:
        state.blobs[INPUTS] = event.blob


def _waited(state: RunState, at: int) -> int:
    """How long the run has waited for somebody; counted anew from here."""
    began = at if state.parked is None else state.parked
    state.parked = at
    return at - began


def _set_deadline(state: RunState, out: Out) -> None:
    if state.deadline is not None:
        out.append(cmd.SetDeadline(state.seq, state.deadline))


def _stop(state: RunState, touched: list[int], out: Out, *, cancel_all: bool) -> None:
    """Nothing new starts; pure reads under way are stopped, and all calls if ``cancel_all``."""
    if not state.stopping:
        state.stopping = True
        state.open -= state.counts[TaskState.UNKNOWN_OUTCOME]
    for task in range(state.graph.tasks):
        if state.state[task] in UNSTARTED:
            touched.append(task)
        elif state.state[task] is TaskState.RUNNING and (
            cancel_all or state.graph.nodes[task].effect is Effect.NONE
        ):
            out.append(cmd.StopCall(state.seq, task, state.attempts[task]))


def _settle_run(state: RunState, at: int, out: Out) -> None:
    for guard, target in RUN_STATE_MOVES.get(state.status, ()):
        if guard(state):
            state.status = target
            _enter_run(state, at, out)
            break
    if state.status is RunStatus.COMPENSATING:
        _park_undoing(state, at)


def _park_undoing(state: RunState, at: int) -> None:
    """While undoing, the one open task is the compensation whose turn it is."""
    blocked = state.counts[TaskState.BLOCKED] > 0
    if blocked and state.parked is None:
        state.parked = at
    elif not blocked:
        state.parked = None


def _enter_run(state: RunState, at: int, out: Out) -> None:
    if state.parked is not None:
        state.away += _waited(state, at)
        state.parked = None
        _set_deadline(state, out)
    if state.status in CLOSED:
        state.finished = at
        out.append(cmd.CloseRun(state.seq, state.status))
    elif state.status is RunStatus.WAITING:
        state.parked = None if state.counts[TaskState.BACKING_OFF] else at
    elif state.status is RunStatus.COMPENSATING:
        # The author's tasks are over: what a compensation leaves unknown keeps nothing open.
        state.stopping = True
        undo = state.graph.undo
        state.to_undo = [undo[i] for i in state.ended if state.state[i] is TaskState.SUCCEEDED]
        touched: list[int] = []
        _next_undo(state, touched)
        _settle_tasks(state, touched, at, out)


def _undo_ended(state: RunState, task: int, touched: list[int]) -> None:
    owner = state.graph.nodes[task].undoes
    assert owner is not None
    touched.append(owner)
    _next_undo(state, touched)


def _next_undo(state: RunState, touched: list[int]) -> None:
    state.undoing = state.to_undo.pop() if state.to_undo else None
    if state.undoing is not None:
        owner = state.graph.nodes[state.undoing].undoes
        assert owner is not None
        touched.extend((owner, state.undoing))
