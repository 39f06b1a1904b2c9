"""What a runtime carries out once the facts behind it are committed."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from agenthive.core.model.calls import Call
from agenthive.core.model.states import RunStatus
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.values import Micros


class PerformCall(msgspec.Struct, frozen=True, gc=False):
    """Make this call and report its reply.

    ``timeout`` (microseconds) bounds it; when it passes, the call is cancelled and the reply is a
    fault of kind ``timeout``. So does the call when ``heartbeat`` (microseconds) passes without a
    sign of life. ``cache`` names the result among those that may be used again.
    """

    call: Call
    agent: AgentSpec
    timeout: Micros | None
    heartbeat: Micros | None = None
    cache_key: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether nothing stands around the call."""
        call = self.call
        # In one piece, since it is asked of every call.
        return not (
            self.cache_key
            or self.heartbeat is not None
            or call.output_schema is not None
            or call.tools
            or call.parameters.get("stream") is True
        )

    @property
    def is_streamed(self) -> bool:
        """Whether its answer is to come in pieces."""
        return self.call.parameters.get("stream") is True

    @property
    def needs_validation(self) -> bool:
        """Whether the reply must be like some schema."""
        return self.call.output_schema is not None or bool(self.call.tools)


class CancelCall(msgspec.Struct, frozen=True, gc=False):
    """Cancel this call and report that it was stopped, unless it has answered by then."""

    run: str
    task: str
    attempt: int


class AcknowledgeRequest(msgspec.Struct, frozen=True, gc=False):
    """What was asked for under this token is on disk: say so to whoever asked.

    ``run`` is set when it is the acceptance of a new run; ``about`` when it was said to one, and is
    lost if that run is.
    """

    token: int
    run: str = ""
    about: str = ""


class RejectRequest(msgspec.Struct, frozen=True, gc=False):
    """What was asked for under this token does not count, and that is on disk: say why."""

    token: int
    reason: str
    run: str = ""


class RunEnded(msgspec.Struct, frozen=True, gc=False):
    """The run is closed: tell whoever waits for it."""

    run: str
    status: RunStatus


class RunParked(msgspec.Struct, frozen=True, gc=False):
    """Nothing of the run can move without somebody's help: tell whoever waits for it."""

    run: str


Action: TypeAlias = (
    PerformCall | CancelCall | AcknowledgeRequest | RejectRequest | RunEnded | RunParked
)


def run_of(action: Action) -> str:
    """The run an action is about."""
    if isinstance(action, AcknowledgeRequest):
        return action.run or action.about
    return action.call.run if isinstance(action, PerformCall) else action.run
