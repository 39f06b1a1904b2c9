"""Instructions: what the machine wants done, in the imperative, as plain values.

A command is a consequence that needs the outside world; everything else stays inside the machine.
Each names its ``cause``: the number of the event, within the run, that led to it. Tasks are named
by their index in the graph. A new command needs a struct here and a line in `driver.py`.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from agenthive.core.model.states import RunStatus
from agenthive.core.values import Micros


class Command(msgspec.Struct, frozen=True, gc=False):
    """Base of all instructions."""

    cause: int


class OfferTask(Command, frozen=True, tag="offer_task"):
    """Put a ready task into the queue."""

    task: int


class CallAgent(Command, frozen=True, tag="call_agent"):
    """Make the call whose intent has been recorded."""

    task: int
    attempt: int


class StopCall(Command, frozen=True, tag="stop_call"):
    """Cancel the call that is under way."""

    task: int
    attempt: int


class WakeTask(Command, frozen=True, tag="wake_task"):
    """Say so when this time has come."""

    task: int
    at: Micros


class PrepareTask(Command, frozen=True, tag="prepare"):
    """Evaluate what the task's next step needs, and say what it is."""

    task: int


class StopChild(Command, frozen=True, tag="stop_child"):
    """Cancel the run that this task waits for."""

    task: int


class SetDeadline(Command, frozen=True, tag="set_deadline"):
    """Time the run out at this time."""

    at: Micros


class CloseRun(Command, frozen=True, tag="close_run"):
    """The run has ended: free its slot and tell whoever waits."""

    status: RunStatus


RunCommand: TypeAlias = (
    OfferTask | CallAgent | StopCall | WakeTask | PrepareTask | StopChild | SetDeadline | CloseRun
)
