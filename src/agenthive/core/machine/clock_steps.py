"""What a step of the clock moves in a run: the times that are counted from an earlier moment.

A time-out, a pause between attempts, the deadline of an approval: each is a length of time, stored
as the time of the clock at which it is over. When the clock is set, that time is set with it. A
date that a user wrote (``until``) is not a length and stays. `machine` calls `move_times` for
`RunClockStepped`; nothing here decides whether the clock was set. To add a time to `RunState`: if
it is counted from an earlier moment, a line in `move_times`.
"""

from __future__ import annotations

from agenthive.core.graph.nodes import Step
from agenthive.core.journal import run_events as ev
from agenthive.core.machine import commands as cmd
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import TaskState


def move_times(state: RunState, event: ev.RunClockStepped, commands: list[cmd.RunCommand]) -> None:
    """Move the times that count from after ``event.after`` by ``event.by``."""
    by, after = event.by, event.after
    state.away += event.away
    if state.parked is not None and state.parked > after:
        state.parked += by
    for key, hold in state.holds.items():
        if hold.at > after:
            state.expiries[key] = state.expiry_of(*key) + by
    # The holds that are settled by now need no entry any longer.
    state.expiries = {key: at for key, at in state.expiries.items() if key in state.holds}
    for task in list(state.wake_at):
        if state.since[task] > after and not _waits_for_date(state, task):
            state.wake_at[task] += by
            _move_approval(state, task, by)
            commands.append(cmd.WakeTask(state.seq, task, state.wake_at[task]))
    # No task has been in its state since a time that is still to come.
    state.since = [min(since, state.last_at) for since in state.since]


def _waits_for_date(state: RunState, task: int) -> bool:
    """Whether a task waits for a date that the workflow gives (``until``)."""
    control_flow = state.graph.nodes[task].control_flow
    return (
        state.state[task] is TaskState.BLOCKED
        and state.current_step(task) is Step.TIMER
        and control_flow is not None
        and control_flow.until is not None
    )


def _move_approval(state: RunState, task: int, by: int) -> None:
    """Move the times of the approval that a task waits for, if it does."""
    approval = None if state.flow is None else state.flow.approvals.get(task)
    if approval is None:
        return
    approval.asked += by
    if approval.deadline is not None:
        approval.deadline += by
    if approval.escalates is not None:
        approval.escalates += by
