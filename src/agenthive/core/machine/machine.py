"""The machine: `step(state, event)` applies one fact and says what must be done about it.

The only place where a `RunState` changes. Pure: the same events give the same state and the same
commands on every machine. What it may do is in the tables of `transitions.py`; what it must never
do is read a clock, draw a number, or skip the tables.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from agenthive.core.journal import run_events as ev
from agenthive.core.machine import commands as cmd
from agenthive.core.machine.event_handlers import (
    EVENT_HANDLERS,
    EventHandler,
    keep_result,
    on_child_waiting,
)
from agenthive.core.machine.guards import stopping
from agenthive.core.machine.run_state import INPUTS, RunState
from agenthive.core.machine.state_actions import (
    ENTRY_ACTIONS,
    EXIT_ACTIONS,
    STAY_ACTIONS,
    EntryAction,
    begin_next_compensation,
    compensation_of,
    end_tolerated,
    end_without_result,
    explain_failure,
    forget_task,
    free_dependents,
    settle_generated_task,
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

Commands: TypeAlias = "list[cmd.RunCommand]"
_Transition: TypeAlias = tuple[
    dict[TaskState, TaskState | Chooser], EventHandler | None, int | None
]

# Looked up once: in Python 3.11 that costs more than what is done with them.
_READY, _RUNNING, _RUN_RUNNING = TaskState.READY, TaskState.RUNNING, RunStatus.RUNNING
_BLOCKED, _UNKNOWN = TaskState.BLOCKED, TaskState.UNKNOWN_OUTCOME


def step(state: RunState, event: ev.RunEvent) -> list[cmd.RunCommand]:
    """Apply one fact. Raises InvalidTransition if the tables have no row for it."""
    commands: list[cmd.RunCommand] = []
    state.seq += 1
    state.last_at = event.at
    transition = _TRANSITIONS.get(type(event))  # type: ignore[arg-type]
    if transition is not None:
        _apply_task_event(state, event, transition, commands)  # type: ignore[arg-type]
    elif type(event) in STATIONARY_HANDLERS:
        STATIONARY_HANDLERS[type(event)](state, _find_task(state, event), event)  # type: ignore[arg-type, index]
    else:
        _apply_run_event(state, event, commands)
    # The common case first: while something is under way or ready, no row of RUNNING can hold.
    counts = state.counts
    busy = counts[_RUNNING] or counts[_READY]
    if not (busy and state.open and state.status is _RUN_RUNNING):
        _settle_run(state, event.at, commands)
    return commands


def _apply_task_event(
    state: RunState, event: ev.TaskEvent, transition: _Transition, commands: Commands
) -> None:
    task = _find_task(state, event)
    moves, handler, attempt_offset = transition
    target = moves.get(state.state[task])
    is_current = attempt_offset is None or event.attempt == state.attempts[task] + attempt_offset  # type: ignore[attr-defined]
    if target is None or not is_current:
        raise InvalidTransition(_describe_invalid_move(state, task, event))
    new_state: TaskState | None = target if isinstance(target, TaskState) else None
    if new_state is None:
        new_state = target(state, task, event)  # type: ignore[operator, arg-type]
    if handler is not None:
        handler(state, task, event)  # type: ignore[arg-type]
    touched: list[int] = []
    if new_state is not None:
        _enter_state(state, task, new_state, event.at, touched, commands)
    elif type(event) in STAY_ACTIONS:
        STAY_ACTIONS[type(event)](state, task, touched, commands)
    if touched:
        _settle_tasks(state, touched, event.at, commands)


def _find_task(state: RunState, event: ev.TaskEvent) -> int:
    task = state.graph.index.get(event.task)
    if task is None:
        raise InvalidTransition(f"run {state.run}: no task '{event.task}' for {_event_tag(event)}")
    return task


def _describe_invalid_move(state: RunState, task: int, event: ev.TaskEvent) -> str:
    return (
        f"run {state.run}: task '{event.task}' is {state.state[task]} after attempt "
        f"{state.attempts[task]} (since event time {state.since[task]}); {_event_tag(event)} "
        f"of attempt {getattr(event, 'attempt', '-')} at event {state.seq} has no row"
    )


def _event_tag(event: ev.Event) -> str:
    return str(event.__struct_config__.tag)


# Facts that move nothing.


def _on_late_reply(state: RunState, task: int, event: ev.LateReply) -> None:
    """An answer that no longer counts settles what its call cost, once."""
    if (task, event.attempt) not in state.unpaid:
        raise InvalidTransition(_describe_invalid_move(state, task, event))
    state.unpaid.discard((task, event.attempt))
    state.holds.pop((task, event.attempt), None)


def _on_hold_settled(state: RunState, task: int, event: ev.HoldSettled) -> None:
    if (task, event.attempt) not in state.holds or (
        state.state[task] is _RUNNING and event.attempt == state.attempts[task]
    ):
        raise InvalidTransition(_describe_invalid_move(state, task, event))
    del state.holds[task, event.attempt]
    state.unpaid.discard((task, event.attempt))


def _on_task_progressed(state: RunState, task: int, event: ev.TaskProgressed) -> None:
    state.progress[task] = event.progress


def _on_approval_refused(state: RunState, task: int, event: ev.ApprovalRefused) -> None:
    state.refusals += 1


STATIONARY_HANDLERS: Final[dict[type[ev.TaskEvent], EventHandler]] = {
    ev.LateReply: _on_late_reply,
    ev.HoldSettled: _on_hold_settled,
    ev.TaskProgressed: _on_task_progressed,
    ev.ApprovalRefused: _on_approval_refused,
    ev.ChildWaiting: on_child_waiting,
}
"""What each of these facts adds to the state, though its task stays where it is."""


def _build_transitions() -> dict[type[ev.TaskEvent], _Transition]:
    """The event-triggered table turned around: what each kind of fact does in each state.

    With it the fact's note, and how far its attempt is ahead of the one that is known: 1 for the
    start of a new one, 0 for what is about the current one, None for what is about none.
    """
    kinds = {kind for row in EVENT_MOVES.values() for kind in row}
    return {
        kind: (
            {state: row[kind] for state, row in EVENT_MOVES.items() if kind in row},
            EVENT_HANDLERS.get(kind),
            int(kind is ev.TaskStarted) if "attempt" in kind.__struct_fields__ else None,
        )
        for kind in kinds
    }


_TRANSITIONS: Final = _build_transitions()


# Moving a task.


def _enter_state(
    state: RunState,
    task: int,
    new_state: TaskState,
    at: int,
    touched: list[int],
    commands: Commands,
) -> None:
    old_state = state.state[task]
    state.state[task] = new_state
    state.since[task] = at
    state.counts[old_state] -= 1
    state.counts[new_state] += 1
    if state.stopping:
        state.open += state.counts_as_open(new_state) - state.counts_as_open(old_state)
    else:
        state.open += (new_state in OPEN) - (old_state in OPEN)
    if old_state is _BLOCKED or old_state is _UNKNOWN:
        EXIT_ACTIONS[old_state](state, task)
    entry_action = _ENTRY_ACTIONS.get(new_state)
    if entry_action is not None:
        entry_action(state, task, touched, commands)


def _settle_tasks(state: RunState, touched: list[int], at: int, commands: Commands) -> None:
    """State-triggered moves, to a fixed point. Last in, first out; order does not matter here."""
    while touched:
        task = touched.pop()
        moves = STATE_MOVES if state.stopping else _MOVES_WHILE_RUNNING
        for guard, target in moves.get(state.state[task], ()):
            if guard(state, task):
                _enter_state(state, task, target, at, touched, commands)
                touched.append(task)
                break


_STOP_GUARDS: Final = (stopping.run_is_cancelling, stopping.run_is_stopping)
_MOVES_WHILE_RUNNING: Final = {
    state: tuple(row for row in rows if row[0] not in _STOP_GUARDS)
    for state, rows in STATE_MOVES.items()
}
"""The same table for a run that is not stopping, without the guards that ask for just that."""


def _enter_failed(state: RunState, task: int, touched: list[int], commands: Commands) -> None:
    """The one end that may stop the run."""
    explain_failure(state, task)
    if task >= state.graph.tasks:
        forget_task(state, task)
        settle_generated_task(state, task, touched, commands)
    elif state.graph.nodes[task].tolerated:
        end_tolerated(state, task, touched, commands)
    else:
        state.hard_failures += 1
        end_without_result(state, task, touched, commands)
        if state.strategy is FailureStrategy.STOP and not state.stopping:
            _stop_run(state, touched, commands, cancel_all=False)


_ENTRY_ACTIONS: Final[dict[TaskState, EntryAction]] = ENTRY_ACTIONS | {
    TaskState.FAILED: _enter_failed
}


# Moving the run.


def _apply_run_event(state: RunState, event: ev.RunEvent, commands: Commands) -> None:
    if isinstance(event, ev.RunSubmitted):
        _on_run_submitted(state, event)
        return
    new_status = RUN_EVENT_MOVES.get(state.status, {}).get(type(event))
    if new_status is None:
        raise InvalidTransition(
            f"run {state.run} is {state.status}: {_event_tag(event)} has no row"
        )
    state.status = new_status
    touched: list[int] = []
    if isinstance(event, ev.RunStarted):
        state.started = event.at
        waiting = TaskState.WAITING
        startable = [i for i, count in enumerate(state.pending[: state.graph.tasks]) if not count]
        touched += [i for i in reversed(startable) if state.state[i] is waiting]
        _set_deadline(state, commands)
    elif isinstance(event, ev.RunResumed):
        # Who waited for somebody before the process ended has waited all the time since.
        state.away += event.away if state.parked is None else _take_wait_time(state, event.at)
        _set_deadline(state, commands)
    elif isinstance(event, ev.SignalReceived):
        _on_signal_received(state, event, touched)
    elif isinstance(event, ev.RunMigrated):
        # Who replays has taken the new graph from the beginning; only its time-out is new.
        state.definition = event.definition
        _set_deadline(state, commands)
    elif isinstance(event, ev.CancelRequested):
        state.cancelling = True
        _stop_run(state, touched, commands, cancel_all=True)
    else:
        state.timed_out = True
        _stop_run(state, touched, commands, cancel_all=True)
    _settle_tasks(state, touched, event.at, commands)


def _on_signal_received(state: RunState, event: ev.SignalReceived, touched: list[int]) -> None:
    """Whoever has waited for it longest takes it; else it is kept."""
    flow = state.ensure_flow()
    if event.id:
        flow.seen[event.id] = None
    listeners = flow.listening.get(event.name)
    if listeners:
        task = next(iter(listeners))
        flow.received[task] = flow.passed[task] = event.data
        touched.append(task)
    else:
        flow.kept.setdefault(event.name, []).append(event.data)


def _on_run_submitted(state: RunState, event: ev.RunSubmitted) -> None:
    if state.seq != 1:
        raise InvalidTransition(f"run {event.run}: submitted twice")
    state.run, state.name, state.inputs = event.run, event.name, event.inputs
    state.definition = event.definition
    state.tenant, state.owner, state.created = event.tenant, event.owner, event.at
    if event.blob is not None:
        state.blobs[INPUTS] = event.blob
    if event.fork is not None:
        _adopt_fork(state, event.fork)
    state.parent = event.parent
    if event.parent is not None:
        # Whoever waits for it reads what its result is made of.
        for task in state.graph.result_reads:
            state.readers[task] += 1


def _adopt_fork(state: RunState, fork: ev.Fork) -> None:
    """What another run has done counts as done here; undoing it is that run's business."""
    for entry in fork.taken:
        task = state.graph.index[entry.task]
        state.counts[state.state[task]] -= 1
        state.state[task] = TaskState.SUCCEEDED
        state.counts[TaskState.SUCCEEDED] += 1
        state.open -= 1
        keep_result(state, task, entry.result, entry.blob)
        free_dependents(state, task, [])
        forget_task(state, task)


def _take_wait_time(state: RunState, at: int) -> int:
    """How long the run has waited for somebody; counted anew from here."""
    wait_start = at if state.parked is None else state.parked
    state.parked = at
    return at - wait_start


def _set_deadline(state: RunState, commands: Commands) -> None:
    if state.deadline is not None:
        commands.append(cmd.SetDeadline(state.seq, state.deadline))


def _stop_run(state: RunState, touched: list[int], commands: Commands, *, cancel_all: bool) -> None:
    """Nothing new starts; pure reads under way are stopped, and all calls if ``cancel_all``."""
    if not state.stopping:
        state.stopping = True
        state.open -= state.counts[TaskState.UNKNOWN_OUTCOME]
    graph = state.graph
    for task in range(len(graph.nodes)):
        task_state = state.state[task]
        if graph.nodes[task].compensates is not None:
            continue
        if task_state in UNSTARTED:
            touched.append(task)
        elif task_state is TaskState.EXPANDED:
            touched.append(task)
            commands.append(cmd.StopChild(state.seq, task))
        elif task_state is TaskState.RUNNING and (
            cancel_all or graph.nodes[task].effect is Effect.NONE
        ):
            commands.append(cmd.StopCall(state.seq, task, state.attempts[task]))


def _settle_run(state: RunState, at: int, commands: Commands) -> None:
    for guard, target in RUN_STATE_MOVES.get(state.status, ()):
        if guard(state):
            state.status = target
            _enter_run_status(state, at, commands)
            break
    if state.status is RunStatus.COMPENSATING:
        _park_compensation(state, at)


def _park_compensation(state: RunState, at: int) -> None:
    """While undoing, the one open task is the compensation whose turn it is."""
    blocked = state.counts[TaskState.BLOCKED] > 0
    if blocked and state.parked is None:
        state.parked = at
    elif not blocked:
        state.parked = None


def _enter_run_status(state: RunState, at: int, commands: Commands) -> None:
    if state.parked is not None:
        state.away += _take_wait_time(state, at)
        state.parked = None
        _set_deadline(state, commands)
    if state.status in CLOSED:
        state.finished = at
        commands.append(cmd.CloseRun(state.seq, state.status))
    elif state.status is RunStatus.WAITING:
        state.parked = None if state.counts[TaskState.BACKING_OFF] else at
    elif state.status is RunStatus.COMPENSATING:
        # The author's tasks are over: what a compensation leaves unknown keeps nothing open.
        state.stopping = True
        compensable = [i for i in state.ended if state.state[i] is TaskState.SUCCEEDED]
        state.to_undo = [compensation_of(state, i) for i in compensable]
        touched: list[int] = []
        begin_next_compensation(state, touched)
        _settle_tasks(state, touched, at, commands)
