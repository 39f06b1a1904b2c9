"""The machine: `step(state, event)` applies one event and returns the commands that follow.

Pure: the same events give the same state and the same commands on every computer. The moves that
it may make are in the tables of `transitions`; it never reads a clock, draws a random number or
makes a move that is not a row. The package's docstring has the theory of operation, and says where
to add a row.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from agenthive.core.journal import run_events as ev
from agenthive.core.machine import commands as cmd
from agenthive.core.machine.clock_steps import move_times
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

# Looked up once: in Python 3.11 the look-up of an enum member costs more than its comparison.
_READY, _RUNNING, _RUN_RUNNING = TaskState.READY, TaskState.RUNNING, RunStatus.RUNNING
_BLOCKED, _UNKNOWN = TaskState.BLOCKED, TaskState.UNKNOWN_OUTCOME


def step(state: RunState, event: ev.RunEvent) -> list[cmd.RunCommand]:
    """Apply one event to ``state`` and return the commands that follow, in order.

    Raises InvalidTransition if the tables have no row for the event in this state. The state is
    then not to be used any more: its ``seq`` and ``last_at`` already count the event.
    """
    commands: list[cmd.RunCommand] = []
    state.seq += 1
    # Inline: this is done for every event.
    if event.wall:
        state.last_at = event.wall
        state.ahead = event.at - event.wall
    else:
        state.last_at = event.at
        state.ahead = 0
    transition = _TRANSITIONS.get(type(event))  # type: ignore[arg-type]
    if transition is not None:
        _apply_task_event(state, event, transition, commands)  # type: ignore[arg-type]
    elif type(event) in STATIONARY_HANDLERS:
        STATIONARY_HANDLERS[type(event)](state, _find_task(state, event), event)  # type: ignore[arg-type, index]
    else:
        _apply_run_event(state, event, commands)
    # The common case first: while a task is running or ready, no guard of RUNNING can hold.
    counts = state.counts
    busy = counts[_RUNNING] or counts[_READY]
    if not (busy and state.open and state.status is _RUN_RUNNING):
        _settle_run(state, state.last_at, commands)
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
    # After the chooser, before the move: choosers see what was so before the event, and entry
    # actions see what the event brought.
    if handler is not None:
        handler(state, task, event)  # type: ignore[arg-type]
    touched: list[int] = []
    if new_state is not None:
        _enter_state(state, task, new_state, state.last_at, touched, commands)
    elif type(event) in STAY_ACTIONS:
        STAY_ACTIONS[type(event)](state, task, touched, commands)
    if touched:
        _settle_tasks(state, touched, state.last_at, commands)


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


# Events after which the task stays in its state.


def _on_late_reply(state: RunState, task: int, event: ev.LateReply) -> None:
    """A reply that no longer counts settles the cost of its call, at most one time."""
    if (task, event.attempt) not in state.unpaid:
        raise InvalidTransition(_describe_invalid_move(state, task, event))
    state.unpaid.discard((task, event.attempt))
    state.holds.pop((task, event.attempt), None)


def _on_hold_settled(state: RunState, task: int, event: ev.HoldSettled) -> None:
    # The hold of a call in flight is settled by its reply alone.
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
"""Events that are legal in every state of their task and never move it, with their handlers.

They have no rows in `EVENT_MOVES`; a handler that does not accept an event raises
InvalidTransition itself.
"""


def _build_transitions() -> dict[type[ev.TaskEvent], _Transition]:
    """`EVENT_MOVES` by event: for each kind of event its moves by state, its handler, its attempt.

    The last value is how far the event's attempt must be ahead of the task's: 1 for the start of
    a new attempt, 0 for an event about the current one, None for an event without an attempt. An
    event about another attempt is refused like one without a row.
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
    # Two comparisons are cheaper than a look-up for each move; only these states have exit actions.
    if old_state is _BLOCKED or old_state is _UNKNOWN:
        EXIT_ACTIONS[old_state](state, task)
    entry_action = _ENTRY_ACTIONS.get(new_state)
    if entry_action is not None:
        entry_action(state, task, touched, commands)


def _settle_tasks(state: RunState, touched: list[int], at: int, commands: Commands) -> None:
    """Apply state-triggered moves until no guard of a touched task holds (the fixed point).

    ``touched`` is a stack: entry actions push what they may have unblocked. A task that moved is
    pushed again, as a guard of its new state may hold at once.
    """
    while touched:
        task = touched.pop()
        # Looked up for every task: a failure may set ``stopping`` within this loop.
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
"""`STATE_MOVES` for a run that is not stopping: without the guards that cannot hold then."""


def _enter_failed(state: RunState, task: int, touched: list[int], commands: Commands) -> None:
    """Entry action of FAILED, the one end that may stop the run; therefore it is defined here."""
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
        state.started = state.last_at
        waiting = TaskState.WAITING
        startable = [i for i, count in enumerate(state.pending[: state.graph.tasks]) if not count]
        touched += [i for i in reversed(startable) if state.state[i] is waiting]
        _set_deadline(state, commands)
    elif isinstance(event, ev.RunResumed):
        # A run that waited for help before the process ended has waited all the time since: its
        # wait includes the time that no process owned it, which must not count twice.
        waited = state.parked is not None
        state.away += _take_wait_time(state, state.last_at) if waited else event.away
        _set_deadline(state, commands)
    elif isinstance(event, ev.RunClockStepped):
        move_times(state, event, commands)
        _set_deadline(state, commands)
    elif isinstance(event, ev.SignalReceived):
        _on_signal_received(state, event, touched)
    elif isinstance(event, ev.RunMigrated):
        # A replay uses the new graph from its beginning; only the time-out changes at this event.
        state.definition = event.definition
        _set_deadline(state, commands)
    elif isinstance(event, ev.CancelRequested):
        state.cancelling = True
        _stop_run(state, touched, commands, cancel_all=True)
    else:
        state.timed_out = True
        _stop_run(state, touched, commands, cancel_all=True)
    _settle_tasks(state, touched, state.last_at, commands)


def _on_signal_received(state: RunState, event: ev.SignalReceived, touched: list[int]) -> None:
    """The task that has waited longest receives the signal; without one, the signal is kept."""
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
    state.tenant, state.owner, state.created = event.tenant, event.owner, state.last_at
    if event.blob is not None:
        state.blobs[INPUTS] = event.blob
    if event.fork is not None:
        _adopt_fork(state, event.fork)
    state.parent = event.parent
    if event.parent is not None:
        # The parent reads the result of this run at its end: one more reader of each task that
        # the result is built from.
        for task in state.graph.result_reads:
            state.readers[task] += 1


def _adopt_fork(state: RunState, fork: ev.Fork) -> None:
    """Take over tasks that succeeded in the run that this one is a fork of.

    They count as succeeded here. They are not added to ``ended``: compensating them is up to the
    run that called their agents.
    """
    for inherited in fork.taken:
        task = state.graph.index[inherited.task]
        state.counts[state.state[task]] -= 1
        state.state[task] = TaskState.SUCCEEDED
        state.counts[TaskState.SUCCEEDED] += 1
        state.open -= 1
        keep_result(state, task, inherited.result, inherited.blob)
        free_dependents(state, task, [])
        forget_task(state, task)


def _take_wait_time(state: RunState, at: int) -> int:
    """Microseconds that the run has waited for help; the count restarts at ``at``."""
    wait_start = at if state.parked is None else state.parked
    state.parked = at
    return at - wait_start


def _set_deadline(state: RunState, commands: Commands) -> None:
    if state.deadline is not None:
        commands.append(cmd.SetDeadline(state.seq, state.deadline))


def _stop_run(state: RunState, touched: list[int], commands: Commands, *, cancel_all: bool) -> None:
    """Let nothing new start; cancel pure reads in flight, and all calls if ``cancel_all``.

    Calls with an effect are awaited after a failure: their outcome is wanted, for a compensation.
    """
    if not state.stopping:
        state.stopping = True
        # From now on tasks of unknown outcome do not keep the run open: see `counts_as_open`.
        state.open -= state.counts[TaskState.UNKNOWN_OUTCOME]
    graph = state.graph
    for task in range(len(graph.nodes)):
        task_state = state.state[task]
        # Compensations are not stopped: they run after a run that stopped for a failure.
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
    """Apply at most one state-triggered move of the run: no guard of its new status holds yet."""
    for guard, target in RUN_STATE_MOVES.get(state.status, ()):
        if guard(state):
            state.status = target
            _enter_run_status(state, at, commands)
            break
    if state.status is RunStatus.COMPENSATING:
        _park_compensation(state, at)


def _park_compensation(state: RunState, at: int) -> None:
    """A run that compensates waits for help exactly while its current compensation is blocked.

    A run that does not compensate has the statuses RUNNING and WAITING for the two.
    """
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
        # The author's tasks have ended: a compensation of unknown outcome must not keep the run
        # open.
        state.stopping = True
        compensable = [i for i in state.ended if state.state[i] is TaskState.SUCCEEDED]
        state.to_undo = [compensation_of(state, i) for i in compensable]
        touched: list[int] = []
        begin_next_compensation(state, touched)
        _settle_tasks(state, touched, at, commands)
