"""The machine: `step(state, event)` applies one fact and says what must be done about it.

The only place where a `RunState` changes. Pure: the same events give the same state and the same
commands on every machine. What it may do is in the tables of `transitions.py`; what it must never
do is read a clock, draw a number, or skip the tables.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from agenthive.core.journal import run_events as ev
from agenthive.core.machine import commands as cmd
from agenthive.core.machine.event_handlers import NOTES, Note, child_waiting, keep_result
from agenthive.core.machine.guards import stopping
from agenthive.core.machine.run_state import INPUTS, RunState
from agenthive.core.machine.state_actions import (
    ENTRIES,
    LEAVING,
    STAYING,
    Entry,
    explain,
    forget,
    free_dependents,
    given_up,
    next_undo,
    other_ended,
    tolerated,
    undo_of,
)
from agenthive.core.machine.transitions import (
    EVENT_MOVES,
    RUN_EVENT_MOVES,
    RUN_STATE_MOVES,
    STATE_MOVES,
    Chooser,
)
from agenthive.core.model.states import CLOSED, OPEN, UNSTARTED, RunStatus, TaskState
from agenthive.core.model.workflow import Effect, FailureStrategy
from agenthive.errors import InvalidTransition

Out: TypeAlias = "list[cmd.RunCommand]"
_Fact: TypeAlias = tuple[dict[TaskState, TaskState | Chooser], Note | None, int | None]

# Looked up once: in Python 3.11 that costs more than what is done with them.
_READY, _RUNNING, _RUN_RUNNING = TaskState.READY, TaskState.RUNNING, RunStatus.RUNNING
_BLOCKED, _UNKNOWN = TaskState.BLOCKED, TaskState.UNKNOWN_OUTCOME


def step(state: RunState, event: ev.RunEvent) -> list[cmd.RunCommand]:
    """Apply one fact. Raises InvalidTransition if the tables have no row for it."""
    out: list[cmd.RunCommand] = []
    state.seq += 1
    state.last_at = event.at
    fact = _FACTS.get(type(event))  # type: ignore[arg-type]
    if fact is not None:
        _task_event(state, event, fact, out)  # type: ignore[arg-type]
    elif type(event) in STILL:
        STILL[type(event)](state, _index(state, event), event)  # type: ignore[arg-type, index]
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
    moved: TaskState | None = target if isinstance(target, TaskState) else None
    if moved is None:
        moved = target(state, task, event)  # type: ignore[operator, arg-type]
    if note is not None:
        note(state, task, event)  # type: ignore[arg-type]
    touched: list[int] = []
    if moved is not None:
        _enter(state, task, moved, event.at, touched, out)
    elif type(event) in STAYING:
        STAYING[type(event)](state, task, touched, out)
    if touched:
        _settle_tasks(state, touched, event.at, out)


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


# Facts that move nothing.


def _late(state: RunState, task: int, event: ev.LateReply) -> None:
    """An answer that no longer counts settles what its call cost, once."""
    if (task, event.attempt) not in state.unpaid:
        raise InvalidTransition(_refusal(state, task, event))
    state.unpaid.discard((task, event.attempt))
    state.holds.pop((task, event.attempt), None)


def _settled(state: RunState, task: int, event: ev.HoldSettled) -> None:
    if (task, event.attempt) not in state.holds or (
        state.state[task] is _RUNNING and event.attempt == state.attempts[task]
    ):
        raise InvalidTransition(_refusal(state, task, event))
    del state.holds[task, event.attempt]
    state.unpaid.discard((task, event.attempt))


def _progressed(state: RunState, task: int, event: ev.TaskProgressed) -> None:
    state.progress[task] = event.progress


def _refused(state: RunState, task: int, event: ev.ApprovalRefused) -> None:
    state.refusals += 1


STILL: Final[dict[type[ev.TaskEvent], Note]] = {
    ev.LateReply: _late,
    ev.HoldSettled: _settled,
    ev.TaskProgressed: _progressed,
    ev.ApprovalRefused: _refused,
    ev.ChildWaiting: child_waiting,
}
"""What each of these facts adds to the state, though its task stays where it is."""


def _facts() -> dict[type[ev.TaskEvent], _Fact]:
    """The event-triggered table turned around: what each kind of fact does in each state.

    With it the fact's note, and how far its attempt is ahead of the one that is known: 1 for the
    start of a new one, 0 for what is about the current one, None for what is about none.
    """
    kinds = {kind for row in EVENT_MOVES.values() for kind in row}
    return {
        kind: (
            {state: row[kind] for state, row in EVENT_MOVES.items() if kind in row},
            NOTES.get(kind),
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
    if state.stopping:
        state.open += state.counts_as_open(new) - state.counts_as_open(old)
    else:
        state.open += (new in OPEN) - (old in OPEN)
    if old is _BLOCKED or old is _UNKNOWN:
        LEAVING[old](state, task)
    entered = _ENTRIES.get(new)
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


def _on_failed(state: RunState, task: int, touched: list[int], out: Out) -> None:
    """The one end that may stop the run."""
    explain(state, task)
    if task >= state.graph.tasks:
        forget(state, task)
        other_ended(state, task, touched, out)
    elif state.graph.nodes[task].tolerated:
        tolerated(state, task, touched, out)
    else:
        state.hard_failures += 1
        given_up(state, task, touched, out)
        if state.strategy is FailureStrategy.STOP and not state.stopping:
            _stop(state, touched, out, cancel_all=False)


_ENTRIES: Final[dict[TaskState, Entry]] = ENTRIES | {TaskState.FAILED: _on_failed}


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
        waiting = TaskState.WAITING
        free = [i for i, count in enumerate(state.pending[: state.graph.tasks]) if not count]
        touched += [i for i in reversed(free) if state.state[i] is waiting]
        _set_deadline(state, out)
    elif isinstance(event, ev.RunResumed):
        # Who waited for somebody before the process ended has waited all the time since.
        state.away += event.away if state.parked is None else _waited(state, event.at)
        _set_deadline(state, out)
    elif isinstance(event, ev.SignalReceived):
        _signal(state, event, touched)
    elif isinstance(event, ev.RunMigrated):
        # Who replays has taken the new graph from the beginning; only its time-out is new.
        state.definition = event.definition
        _set_deadline(state, out)
    elif isinstance(event, ev.CancelRequested):
        state.cancelling = True
        _stop(state, touched, out, cancel_all=True)
    else:
        state.timed_out = True
        _stop(state, touched, out, cancel_all=True)
    _settle_tasks(state, touched, event.at, out)


def _signal(state: RunState, event: ev.SignalReceived, touched: list[int]) -> None:
    """Whoever has waited for it longest takes it; else it is kept."""
    flow = state.begin_flow()
    if event.id:
        flow.seen[event.id] = None
    listening = flow.listening.get(event.name)
    if listening:
        task = next(iter(listening))
        flow.received[task] = flow.passed[task] = event.data
        touched.append(task)
    else:
        flow.kept.setdefault(event.name, []).append(event.data)


def _submitted(state: RunState, event: ev.RunSubmitted) -> None:
    if state.seq != 1:
        raise InvalidTransition(f"run {event.run}: submitted twice")
    state.run, state.name, state.inputs = event.run, event.name, event.inputs
    state.definition = event.definition
    state.tenant, state.owner, state.created = event.tenant, event.owner, event.at
    if event.blob is not None:
        state.blobs[INPUTS] = event.blob
    if event.fork is not None:
        _take_over(state, event.fork)
    state.parent = event.parent
    if event.parent is not None:
        # Whoever waits for it reads what its result is made of.
        for task in state.graph.result_reads:
            state.readers[task] += 1


def _take_over(state: RunState, fork: ev.Fork) -> None:
    """What another run has done counts as done here; undoing it is that run's business."""
    for one in fork.taken:
        task = state.graph.index[one.task]
        state.counts[state.state[task]] -= 1
        state.state[task] = TaskState.SUCCEEDED
        state.counts[TaskState.SUCCEEDED] += 1
        state.open -= 1
        keep_result(state, task, one.result, one.blob)
        free_dependents(state, task, [])
        forget(state, task)


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
    graph = state.graph
    for task in range(len(graph.nodes)):
        kind = state.state[task]
        if graph.nodes[task].undoes is not None:
            continue
        if kind in UNSTARTED:
            touched.append(task)
        elif kind is TaskState.EXPANDED:
            touched.append(task)
            out.append(cmd.StopChild(state.seq, task))
        elif kind is TaskState.RUNNING and (cancel_all or graph.nodes[task].effect is Effect.NONE):
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
        undoable = [i for i in state.ended if state.state[i] is TaskState.SUCCEEDED]
        state.to_undo = [undo_of(state, i) for i in undoable]
        touched: list[int] = []
        next_undo(state, touched)
        _settle_tasks(state, touched, at, out)
