"""For agents: the kit that says when a new kind is done, and an agent that answers as it is told.

    await check_agent(make, good=call, bad=call, hanging=call, keys=server.keys, secrets=["s3cret"])

Never measures speed and never mocks: give it the real thing, talking to a real other side. A new
check is a function of a `AgentCase` and a line in `CHECKS`, with a planted bad agent in the tests.
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
from agenthive.core.ports import Agent
from agenthive.core.values import JSONObject

T = TypeVar("T")

AT_ONCE: Final = 8
"""How many calls the kit makes at the same time."""
STRANGE_PARAMETERS: Final[tuple[JSONObject, ...]] = (
    {},
    {"": None, "endpoint": [1], "arguments": "x", "headers": 7, "uri": {}, "messages": 1},
)
"""Parameters that fit no action."""
FAULT_KINDS: Final = frozenset(
    [
        *("timeout", "rate_limited", "overloaded", "unavailable", "connection", "refused"),
        *("invalid_reply", "agent_error", "cancelled", "lost", "breaker_open", "unregistered"),
        "expression",
    ]
)


class NotConforming(AssertionError):
    """The agent breaks the contract of `core.ports.Agent`; the message says how."""


@dataclass
class AgentCase:
    """An agent under the kit: how to make one, what to ask it, and every reply it gave."""

    make: Callable[[], Agent]
    good: Call
    bad: Call
    hanging: Call | None
    keys: Callable[[], Sequence[str]] | None
    large: Call | None = None
    secrets: Sequence[str] = ()
    stopped: Callable[[], bool] | None = None
    within: float = 10.0
    replies: list[Reply] = field(default_factory=list)

    async def perform_call(self, agent: Agent, call: Call) -> Reply:
        """One attempt that must end in time, with a reply."""
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
        """The good call must succeed."""
        reply = await self.perform_call(agent, self.good)
        require(reply.fault is None, f"the good call failed {when}: {reply.fault}")
        return reply

    async def run_in_time(self, work: Awaitable[T], label: str) -> T:
        """The outcome of ``work``, which must come within the bound."""
        task = asyncio.ensure_future(work)
        await asyncio.wait({task}, timeout=self.within)
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=self.within)
            raise NotConforming(f"{label} did not end within {self.within} s")
        return task.result()


def require(holds: bool, message: str) -> None:
    """Raise NotConforming unless it holds."""
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
    """Check an agent against the contract. Raises NotConforming, which is an AssertionError.

    ``make`` makes a fresh agent. ``good`` succeeds; ``bad`` fails for a reason outside; ``hanging``
    does not end by itself (None if nothing can); ``large`` asks for more than the agent may take.
    ``keys`` gives the idempotency keys that have reached the other side (None if there is none).
    ``stopped`` says whether the other side saw the hanging call go away. ``secrets`` are values
    that must never show. Nothing may take longer than ``within`` seconds.
    """
    case = AgentCase(make, good, bad, hanging, keys, large, secrets, stopped, within)
    for check in CHECKS:
        agent = make()
        try:
            await check(case, agent)
        finally:
            await case.run_in_time(agent.close(), "close()")


async def _check_success(case: AgentCase, agent: Agent) -> None:
    """A good call gives a result that a journal can hold, and no fault."""
    reply = await case.answer(agent, "at first")
    try:
        decoded = json.loads(json.dumps(reply.result, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise NotConforming(f"the result is not JSON: {error}") from error
    require(decoded == reply.result, "the result is not plain JSON: it changes on the way")


async def _check_failure(case: AgentCase, agent: Agent) -> None:
    """A failure of the outside world is a fault in full, and spoils nothing."""
    fault = (await case.perform_call(agent, case.bad)).fault
    if fault is None:
        raise NotConforming("the bad call succeeded")
    require(fault.kind in FAULT_KINDS, f"there is no kind of fault '{fault.kind}'")
    require(bool(fault.message.strip()), "the fault does not say what happened")
    wait = fault.retry_after
    require(wait is None or 0 <= wait < math.inf, f"retry_after is {wait}")
    await case.answer(agent, "after a bad one")


async def _check_unknown_requests(case: AgentCase, agent: Agent) -> None:
    """What it has never heard of it answers or refuses; it does not raise."""
    for parameters in STRANGE_PARAMETERS:
        strange = msgspec.structs.replace(case.bad, action="no such action", parameters=parameters)
        await case.perform_call(agent, strange)
        await case.perform_call(agent, msgspec.structs.replace(case.bad, parameters=parameters))


async def _check_cancellation(case: AgentCase, agent: Agent) -> None:
    """Cancelling ends a call for real, and the agent still answers."""
    if case.hanging is None:
        return
    call = asyncio.ensure_future(agent.perform(case.hanging))
    await case.answer(agent, "while another hangs")
    await asyncio.sleep(min(0.3, case.within / 4))
    require(not call.done(), "the hanging call does not hang")
    call.cancel()
    await asyncio.wait({call}, timeout=case.within)
    require(call.done(), f"a cancelled call did not end within {case.within} s")
    require(call.cancelled(), "a cancelled call must end with CancelledError, not with an answer")
    await _wait_until(case, case.stopped, "the other side never saw that the call was given up")
    await case.answer(agent, "after a cancelled one")


async def _wait_until(case: AgentCase, condition: Callable[[], bool] | None, message: str) -> None:
    for _ in range(50):
        if condition is None or condition():
            return
        await asyncio.sleep(case.within / 50)
    raise NotConforming(message)


async def _check_concurrency(case: AgentCase, agent: Agent) -> None:
    """Several calls at once, good and bad, each get their own answer."""
    calls = [case.good, case.bad] * (AT_ONCE // 2)
    replies = await asyncio.gather(*(case.perform_call(agent, call) for call in calls))
    mixed = [call is case.bad for call in calls]
    require([reply.fault is not None for reply in replies] == mixed, "calls at once are mixed up")


async def _check_idempotency_key(case: AgentCase, agent: Agent) -> None:
    """The idempotency key reaches the other side, the same for both attempts of one call."""
    if case.keys is None:
        return
    for key, attempt in (("kit-one", 1), ("kit-one", 2), ("kit-two", 1)):
        before = list(case.keys())
        call = msgspec.structs.replace(case.good, key=key, attempt=attempt)
        await case.perform_call(agent, call)
        received = list(case.keys())[len(before) :]
        require(
            received == [key], f"the key '{key}' should have arrived, once; there came {received}"
        )


async def _check_oversized_reply(case: AgentCase, agent: Agent) -> None:
    """An answer that is too large is refused, neither swallowed nor cut."""
    if case.large is None:
        return
    reply = await case.perform_call(agent, case.large)
    require(reply.fault is not None, "too large an answer was taken")
    await case.answer(agent, "after too large an answer")


async def _check_closing(case: AgentCase, agent: Agent) -> None:
    """Closing is quick, may be repeated, and may come before anything was asked."""
    await case.run_in_time(agent.close(), "close() before any call")
    fresh = case.make()
    await case.answer(fresh, "before close()")
    await case.run_in_time(fresh.close(), "close()")
    await case.run_in_time(fresh.close(), "close() for the second time")


async def _check_secrets(case: AgentCase, agent: Agent) -> None:
    """No reply of all that the kit has seen shows a secret, nor does the agent itself."""
    texts = [repr(agent), *(repr(reply) for reply in case.replies)]
    shown = sum(_contains_secret(text, case.secrets) for text in texts)
    require(not shown, f"a secret shows in {shown} of {len(texts)} replies and descriptions")


def _contains_secret(text: str, secrets: Collection[str]) -> bool:
    return any(secret in text for secret in secrets)


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
"""In this order: the last one looks at what all the others were told."""


class After:
    """An answer that takes ``seconds`` (`math.inf`: it never comes)."""

    def __init__(self, seconds: float, answer: Any = None) -> None:
        self.seconds, self.answer = seconds, answer


HANG: Final = After(math.inf)
"""An answer that never comes."""


class ScriptedAgent(BaseAgent):
    """Answers what it is told, in order, and goes on with the last answer for ever.

    An answer is a result (any JSON), a `Reply`, a `Fault`, an exception (raised), `After` some
    time another one, or a function of the call, sync or async, whose answer is taken likewise.

        agent = ScriptedAgent(Fault(kind="unavailable", message="busy"), {"title": "Bees"})
        hive.agents.register("writer", agent)              # custom://writer
        hive.agents.register_kind("http_api", agent.named)  # stands in for every http_api

    ``calls`` holds what came in, ``cancelled`` the calls that were given up.
    """

    def __init__(self, *answers: Any, name: str = "scripted") -> None:
        super().__init__(AgentSpec(name=name, type="custom", endpoint=f"custom://{name}"))
        self._answers = list(answers) or [None]
        self.calls: list[Call] = []
        self.cancelled: list[Call] = []
        self.closed = 0

    @property
    def keys(self) -> list[str]:
        """The idempotency keys that came in."""
        return [call.key for call in self.calls]

    def named(self, spec: AgentSpec) -> ScriptedAgent:
        """This agent, whatever the spec: for `register_kind`."""
        return self

    async def __call__(self, call: Call) -> Reply:
        """The same as `perform`: for `register`."""
        return await self.perform(call)

    async def execute(self, action: str, parameters: dict[str, Any]) -> AgentResponse:
        """Answer outside any run."""
        return await execute_via_perform(self, action, parameters)

    async def perform(self, call: Call) -> Reply:
        """Give the next answer."""
        answer = self._answers[min(len(self.calls), len(self._answers) - 1)]
        self.calls.append(call)
        try:
            return await _evaluate_answer(answer, call)
        except asyncio.CancelledError:
            self.cancelled.append(call)
            raise

    async def close(self) -> None:
        """Count how often it was closed."""
        self.closed += 1


async def _evaluate_answer(answer: Any, call: Call) -> Reply:
    if isinstance(answer, After):
        # `inf` has no place in a timer.
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
