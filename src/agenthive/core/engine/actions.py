"""Actions: what a runtime carries out once the events behind them are committed.

Plain frozen values; `Driver.confirm_commit` returns them in order. To add an action: a struct here,
a place in `Action` and `run_of`, and a branch in each runtime.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from agenthive.core.model.calls import Call
from agenthive.core.model.states import RunStatus
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.values import Micros


class PerformCall(msgspec.Struct, frozen=True, gc=False):
    """Make this call and report its reply."""

    call: Call
    #: The agent to call.
    agent: AgentSpec
    #: Microseconds after which the call is cancelled; its reply is then a ``timeout`` fault.
    timeout: Micros | None
    #: Microseconds without a heartbeat of the agent after which the same happens.
    heartbeat: Micros | None = None
    #: Key of the result cache under which a result may exist already; empty: do not look.
    cache_key: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether the runtime only has to call the agent: no cache, heartbeat, schema or stream."""
        call = self.call
        # One expression without further calls, because every call evaluates it.
        return not (
            self.cache_key
            or self.heartbeat is not None
            or call.output_schema is not None
            or call.tools
            or call.parameters.get("stream") is True
        )

    @property
    def is_streamed(self) -> bool:
        """Whether the answer is to be streamed."""
        return self.call.parameters.get("stream") is True

    @property
    def needs_validation(self) -> bool:
        """Whether the reply must be validated against a schema."""
        return self.call.output_schema is not None or bool(self.call.tools)


class CancelCall(msgspec.Struct, frozen=True, gc=False):
    """Cancel this call and report the cancellation, unless it has replied by then."""

    run: str
    task: str
    attempt: int


class AcknowledgeRequest(msgspec.Struct, frozen=True, gc=False):
    """The request with this token is on disk: acknowledge it to its caller."""

    token: int
    #: Id of the run whose acceptance this acknowledges; else empty.
    run: str = ""
    #: Id of the run that the request was about: if that run is withdrawn, so is the request.
    about: str = ""


class RejectRequest(msgspec.Struct, frozen=True, gc=False):
    """The request with this token was refused, and that is on disk: report the reason."""

    token: int
    reason: str
    #: Id of the run that the request was about: if that run is withdrawn, so is the request.
    run: str = ""


class RunEnded(msgspec.Struct, frozen=True, gc=False):
    """The run is closed: notify the callers that wait for it."""

    run: str
    status: RunStatus


class RunParked(msgspec.Struct, frozen=True, gc=False):
    """The run waits for help from outside: notify the callers that wait for it."""

    run: str


class ReportUnusableRun(msgspec.Struct, frozen=True, gc=False):
    """The run was set apart: notify the callers that wait for it."""

    run: str
    reason: str


Action: TypeAlias = (
    PerformCall
    | CancelCall
    | AcknowledgeRequest
    | RejectRequest
    | RunEnded
    | RunParked
    | ReportUnusableRun
)


def run_of(action: Action) -> str:
    """Id of the run that an action is about; empty if it is about none."""
    if isinstance(action, AcknowledgeRequest):
        return action.run or action.about
    return action.call.run if isinstance(action, PerformCall) else action.run
