"""Commands: what the machine wants the engine to do, in the imperative, as plain values.

A command is a consequence that needs the outside world; every other consequence stays inside the
machine. Commands are never journaled: a replay computes them again and drops them. Tasks are named
by their index in the graph. To add a command: a struct here, its place in `RunCommand`, and a
handler in `core.engine.command_handlers`.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from agenthive.core.model.states import RunStatus
from agenthive.core.values import Micros


class Command(msgspec.Struct, frozen=True, gc=False):
    """Base of all commands."""

    #: Number, within the run, of the event that led to the command.
    cause: int


class OfferTask(Command, frozen=True, tag="offer_task"):
    """Put a ready task into the ready queue."""

    task: int


class CallAgent(Command, frozen=True, tag="call_agent"):
    """Make the call; its intent has been recorded."""

    task: int
    attempt: int


class StopCall(Command, frozen=True, tag="stop_call"):
    """Cancel the call that is in flight."""

    task: int
    attempt: int


class WakeTask(Command, frozen=True, tag="wake_task"):
    """Deliver a `TaskWoke` event at a time, unless the task has left its state by then."""

    task: int
    #: Microseconds since the epoch.
    at: Micros


class PrepareTask(Command, frozen=True, tag="prepare"):
    """Evaluate the expressions of the task's current step and deliver the event that follows."""

    task: int


class StopChild(Command, frozen=True, tag="stop_child"):
    """Cancel the child run of this task, if it has one."""

    task: int


class SetDeadline(Command, frozen=True, tag="set_deadline"):
    """Deliver a `RunTimeoutReached` event at a time; replaces the deadline set before."""

    #: Microseconds since the epoch.
    at: Micros


class CloseRun(Command, frozen=True, tag="close_run"):
    """Close the run: free its slot and notify the callers that wait for its end."""

    status: RunStatus


RunCommand: TypeAlias = (
    OfferTask | CallAgent | StopCall | WakeTask | PrepareTask | StopChild | SetDeadline | CloseRun
)
