"""For agents: the kit that checks a new kind of agent, and an agent with prepared responses.

    await check_agent(make, good=call, bad=call, hanging=call, keys=server.keys, secrets=["s3cret"])

The kit never measures speed and never mocks: pass it the real agent, connected to a real server. To
add a check: a function of an `AgentCase` and a line in `CHECKS`, with a planted bad agent in the
tests.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import math
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec

from agenthive.agents.base import AgentResponse, BaseAgent, execute_via_perform
from agenthive.core.model.calls import Call, Fault, Reply
from agenthive.core.model.workflow import AgentSpec
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.ports import Agent
from agenthive.core.values import JSONObject

T = TypeVar("T")

#: How many calls the kit makes at the same time.
AT_ONCE: Final = 8
#: Parameters that fit no action.
STRANGE_PARAMETERS: Final[tuple[JSONObject, ...]] = (
    {},
    {"": None, "endpoint": [1], "arguments": "x", "headers": 7, "uri": {}, "messages": 1},
)
FAULT_KINDS: Final = frozenset(
    [
        *("timeout", "rate_limited", "overloaded", "unavailable", "connection", "refused"),
        *("invalid_reply", "agent_error", "cancelled", "lost", "breaker_open", "unregistered"),
        "expression",
    ]
)


class NotConforming(AssertionError):
    """The implementation breaks its contract; the message says how."""


@dataclass
class AgentCase:
    """An agent under test: how to make one, the calls to make, and every reply it gave."""

    make: Callable[[], Agent]
    #: A call that succeeds.
    good: Call
    #: A call that fails for a reason outside the agent.
    bad: Call
    #: A call that does not end by itself; None if there is none.
    hanging: Call | None
    #: Returns the idempotency keys that the server received; None if there is no server.
    keys: Callable[[], Sequence[str]] | None
    #: A call with a larger response than the agent may accept.
    large: Call | None = None
    #: Values that must not appear in any reply.
    secrets: Sequence[str] = ()
    #: Whether the server saw that the hanging call was cancelled.
    stopped: Callable[[], bool] | None = None
    #: Seconds that no operation may exceed.
    within: float = 10.0
    replies: list[Reply] = field(default_factory=list)

    async def perform_call(self, agent: Agent, call: Call) -> Reply:
        """Make one attempt, which must end in time and return a reply."""
        try:
            reply = await self.run_in_time(agent.perform(call), f"the call of '{call.action}'")
        except Exception as error:
            if isinstance(error, NotConforming):
                raise
            raise NotConforming(f"'{call.action}' raised {error!r} instead of a fault") from error
        require(isinstance(reply, Reply), f"'{call.action}' gave {reply!r}, which is no Reply")
        self.replies.append(reply)
        return reply

    async def answer(self, agent: Agent, when: str) -> Reply:
        """Make the good call, which must succeed."""
        reply = await self.perform_call(agent, self.good)
        require(reply.fault is None, f"the good call failed {when}: {reply.fault}")
        return reply

    async def run_in_time(self, work: Awaitable[T], label: str) -> T:
        """The result of ``work``, which must end within ``within`` seconds."""
        task = asyncio.ensure_future(work)
        await asyncio.wait({task}, timeout=self.within)
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=self.within)
            raise NotConforming(f"{label} did not end within {self.within} s")
        return task.result()


def require(holds: bool, message: str) -> None:
    """Raise NotConforming unless the condition holds."""
    if not holds:
        raise NotConforming(message)


async def check_agent(
    make: Callable[[], Agent],
    *,
    good: Call,
    bad: Call,
    hanging: Call | None,
    keys: Callable[[], Sequence[str]] | None,
    large: Call | None = None,
    secrets: Sequence[str] = (),
    stopped: Callable[[], bool] | None = None,
    within: float = 10.0,
) -> None:
    """Check an agent against its contract. Raises NotConforming, which is an AssertionError.

    ``make`` makes a fresh agent. ``good`` succeeds; ``bad`` fails for a reason outside the agent;
    ``hanging`` does not end by itself (None if no call can hang); ``large`` requests a larger
    response than the agent may accept. ``keys`` returns the idempotency keys that reached the
    server (None if there is no server). ``stopped`` returns whether the server saw that the hanging
    call was cancelled. ``secrets`` are values that must never appear in a reply. No operation may
    take longer than ``within`` seconds.
    """
    case = AgentCase(make, good, bad, hanging, keys, large, secrets, stopped, within)
    for check in CHECKS:
        agent = make()
        try:
            await check(case, agent)
        finally:
            await case.run_in_time(agent.close(), "close()")


async def _check_success(case: AgentCase, agent: Agent) -> None:
    """A good call returns a result that a journal can store, and no fault."""
    reply = await case.answer(agent, "at first")
    try:
        decoded = json.loads(json.dumps(reply.result, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise NotConforming(f"the result is not JSON: {error}") from error
    require(
        decoded == reply.result, "the result is not plain JSON: encoding and decoding changes it"
    )


async def _check_failure(case: AgentCase, agent: Agent) -> None:
    """A failure of the outside world is a complete fault, and the agent stays usable."""
    fault = (await case.perform_call(agent, case.bad)).fault
    if fault is None:
        raise NotConforming("the bad call succeeded")
    require(fault.kind in FAULT_KINDS, f"unknown kind of fault '{fault.kind}'")
    require(bool(fault.message.strip()), "the fault does not say what happened")
    require(
        isinstance(fault.class_, FaultClass),
        f"the fault has no class: say which of {', '.join(FaultClass)} is certain",
    )
    wait = fault.retry_after
    require(wait is None or 0 <= wait < math.inf, f"retry_after is {wait}")
    await case.answer(agent, "after a bad one")


async def _check_unknown_requests(case: AgentCase, agent: Agent) -> None:
    """An unknown action or parameter gives a reply or a fault, not an exception."""
    for parameters in STRANGE_PARAMETERS:
        strange = msgspec.structs.replace(case.bad, action="no such action", parameters=parameters)
        await case.perform_call(agent, strange)
        await case.perform_call(agent, msgspec.structs.replace(case.bad, parameters=parameters))


async def _check_cancellation(case: AgentCase, agent: Agent) -> None:
    """Cancelling really ends a call, and the agent stays usable."""
    if case.hanging is None:
        return
    call = asyncio.ensure_future(agent.perform(case.hanging))
    await case.answer(agent, "while another hangs")
    await asyncio.sleep(min(0.3, case.within / 4))
    require(not call.done(), "the hanging call does not hang")
    call.cancel()
    await asyncio.wait({call}, timeout=case.within)
    require(call.done(), f"a cancelled call did not end within {case.within} s")
    require(call.cancelled(), "a cancelled call must end with CancelledError, not with a reply")
    await _wait_until(case, case.stopped, "the server never saw that the call was cancelled")
    await case.answer(agent, "after a cancelled one")


async def _wait_until(case: AgentCase, condition: Callable[[], bool] | None, message: str) -> None:
    for _ in range(50):
        if condition is None or condition():
            return
        await asyncio.sleep(case.within / 50)
    raise NotConforming(message)


async def _check_concurrency(case: AgentCase, agent: Agent) -> None:
    """Concurrent calls, good and bad, each get their own reply."""
    calls = [case.good, case.bad] * (AT_ONCE // 2)
    replies = await asyncio.gather(*(case.perform_call(agent, call) for call in calls))
    mixed = [call is case.bad for call in calls]
    require(
        [reply.fault is not None for reply in replies] == mixed,
        "replies of concurrent calls are mixed up",
    )


async def _check_idempotency_key(case: AgentCase, agent: Agent) -> None:
    """The idempotency key reaches the server, the same for both attempts of one call."""
    if case.keys is None:
        return
    for key, attempt in (("kit-one", 1), ("kit-one", 2), ("kit-two", 1)):
        before = list(case.keys())
        call = msgspec.structs.replace(case.good, key=key, attempt=attempt)
        await case.perform_call(agent, call)
        received = list(case.keys())[len(before) :]
        require(
            received == [key],
            f"the key '{key}' should have arrived once; the server received {received}",
        )


async def _check_oversized_reply(case: AgentCase, agent: Agent) -> None:
    """A response that is too large is refused, neither dropped nor truncated."""
    if case.large is None:
        return
    reply = await case.perform_call(agent, case.large)
    require(reply.fault is not None, "a response that is too large was accepted")
    await case.answer(agent, "after a response that was too large")


async def _check_closing(case: AgentCase, agent: Agent) -> None:
    """Closing is quick, may be repeated, and may happen before any call."""
    await case.run_in_time(agent.close(), "close() before any call")
    fresh = case.make()
    await case.answer(fresh, "before close()")
    await case.run_in_time(fresh.close(), "close()")
    await case.run_in_time(fresh.close(), "close() for the second time")


async def _check_secrets(case: AgentCase, agent: Agent) -> None:
    """No reply that the kit received contains a secret, nor does the agent's description."""
    texts = [repr(agent), *(repr(reply) for reply in case.replies)]
    shown = sum(_contains_secret(text, case.secrets) for text in texts)
    require(not shown, f"a secret appears in {shown} of {len(texts)} replies and descriptions")


def _contains_secret(text: str, secrets: Collection[str]) -> bool:
    return any(secret in text for secret in secrets)


#: In this order: the last check inspects the replies that all the others received.
CHECKS: Final[tuple[Callable[[AgentCase, Agent], Awaitable[None]], ...]] = (
    _check_success,
    _check_failure,
    _check_unknown_requests,
    _check_cancellation,
    _check_concurrency,
    _check_idempotency_key,
    _check_oversized_reply,
    _check_closing,
    _check_secrets,
)


class After:
    """A response that takes ``seconds`` (`math.inf`: it never arrives)."""

    def __init__(self, seconds: float, answer: Any = None) -> None:
        self.seconds, self.answer = seconds, answer


#: A response that never arrives.
HANG: Final = After(math.inf)


class ScriptedAgent(BaseAgent):
    """Returns prepared responses in order, and repeats the last one.

    A response is a result (any JSON), a `Reply`, a `Fault`, an exception (raised), `After` (another
    response after some seconds), or a function of the call, sync or async, that returns one of
    these.

        agent = ScriptedAgent(Fault(kind="unavailable", message="busy"), {"title": "Bees"})
        hive.agents.register("writer", agent)              # custom://writer
        hive.agents.register_kind("http_api", agent.named)  # replaces every http_api agent

    ``calls`` holds the calls received, ``cancelled`` those that were cancelled, ``closed`` how
    often it was closed.
    """

    def __init__(self, *answers: Any, name: str = "scripted") -> None:
        super().__init__(AgentSpec(name=name, type="custom", endpoint=f"custom://{name}"))
        self._answers = list(answers) or [None]
        self.calls: list[Call] = []
        self.cancelled: list[Call] = []
        self.closed = 0

    @property
    def keys(self) -> list[str]:
        """The idempotency keys of the calls received."""
        return [call.key for call in self.calls]

    def named(self, spec: AgentSpec) -> ScriptedAgent:
        """Return this agent for any spec: for `register_kind`."""
        return self

    async def __call__(self, call: Call) -> Reply:
        """The same as `perform`: for `register`."""
        return await self.perform(call)

    async def execute(self, action: str, parameters: dict[str, Any]) -> AgentResponse:
        """Respond outside any run."""
        return await execute_via_perform(self, action, parameters)

    async def perform(self, call: Call) -> Reply:
        """Return the next response."""
        answer = self._answers[min(len(self.calls), len(self._answers) - 1)]
        self.calls.append(call)
        try:
            return await _evaluate_answer(answer, call)
        except asyncio.CancelledError:
            self.cancelled.append(call)
            raise

    async def close(self) -> None:
        """Count the calls of this method."""
        self.closed += 1


async def _evaluate_answer(answer: Any, call: Call) -> Reply:
    if isinstance(answer, After):
        # Event loops do not accept a timer of `inf` seconds.
        await asyncio.sleep(min(answer.seconds, 1e8))
        return await _evaluate_answer(answer.answer, call)
    if isinstance(answer, BaseException):
        raise answer
    if callable(answer):
        result = answer(call)
        return await _evaluate_answer(await result if inspect.isawaitable(result) else result, call)
    if isinstance(answer, Fault):
        return Reply(fault=answer)
    return answer if isinstance(answer, Reply) else Reply(result=answer)
