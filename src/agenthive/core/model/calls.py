"""Calls and replies: what is requested of an agent, and what it returns.

`Call` and `Reply` cross the port `core.ports.Agent` and are never journaled themselves; `Fault`,
`Usage` and `ToolCall` are parts of journaled events, so their field names are stored names. To add
a field: with a default, so that old records stay readable.
"""

from __future__ import annotations

from typing import Final

import msgspec

from agenthive.core.policies.fault_classes import FaultClass, class_of_kind
from agenthive.core.values import JSONObject, JSONValue, NanoUSD

MOST_TOKENS: Final = 10**9
"""Tokens of one call. A larger count that a server or an agent reports is an error of its own."""
MOST_CALL_COST: Final[NanoUSD] = 10**15
"""Nano-dollars of one call, a million US dollars. A larger cost is an error of its reporter."""


class Usage(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """What one call used, as the provider reports it. Tokens are counts."""

    #: The model that answered, as the provider names it.
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    #: Those of the input tokens that were read from the provider's cache.
    cache_read_tokens: int = 0
    #: Those of the input tokens that were written to the provider's cache.
    cache_write_tokens: int = 0
    #: Those of the output tokens that the model used for reasoning.
    reasoning_tokens: int = 0
    #: Nano-dollars; None where the cost is unknown.
    cost: NanoUSD | None = None
    #: The price list that ``cost`` was computed from, with its date.
    prices: str = ""
    #: Which part of the report could not be read, and what was done about it; empty if all was.
    problem: str = ""
    #: Whether the counts and the cost are the least that the call used, and it may have used more.
    at_least: bool = False

    @property
    def is_unknown(self) -> bool:
        """Whether the tokens are unknown: reported, but not readable. They are 0 then."""
        return bool(self.problem) and not (self.input_tokens or self.output_tokens)


class Fault(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """Why an attempt did not succeed."""

    #: One of: timeout, rate_limited, overloaded, unavailable, connection, refused, invalid_reply,
    #: invalid_output, agent_error, cancelled, lost, breaker_open, unregistered, expression,
    #: budget_exceeded, unpriced. A task that calls no agent itself also has: parts, rejected,
    #: resolved, child, trajectory, max_turns.
    kind: str
    #: What went wrong, for users; never holds a secret.
    message: str
    #: False if another attempt would certainly fail in the same way, whatever the class says.
    retriable: bool = True
    #: Seconds after which the other side wants the next attempt at the earliest.
    retry_after: float | None = None
    #: Whether the circuit breaker of the endpoint counts it; it does not count rate limits.
    counts: bool = True
    #: What is certain about the call; None: not set, see `known_class`. Stored as ``class``.
    class_: FaultClass | None = msgspec.field(name="class", default=None)

    @property
    def known_class(self) -> FaultClass:
        """The class; that of its kind if none was set."""
        return class_of_kind(self.kind) if self.class_ is None else self.class_


class Tool(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A tool that a model may request."""

    name: str
    description: str = ""
    #: JSON Schema of the arguments.
    schema: JSONObject = {}


class ToolCall(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A model's request to call a tool."""

    #: The provider's name for the request; the result is returned under it.
    id: str
    #: Name of the tool.
    name: str
    arguments: JSONObject = {}
    #: Why the request cannot be called (arguments that are not JSON, for example); empty if it can.
    problem: str = ""


class ToolResult(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a model receives for a tool call that it requested."""

    #: The request.
    asked: ToolCall
    #: The result as text, cut to `ToolSpec.max_result`; or why there is none.
    content: str
    #: Whether ``content`` is an error message.
    failed: bool = False


class ModelTurn(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An earlier turn, as a part of the history that a model receives."""

    #: What the model returned.
    said: JSONValue
    #: The results of the tools that the model requested, in the order of its requests.
    outcomes: tuple[ToolResult, ...]
    #: A warning for the model, such as that it repeats itself; empty for none.
    note: str = ""


class Call(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One attempt of one task, as an agent sees it."""

    run: str
    #: Key of the task, such as ``fetch`` or ``fetch[2]``.
    task: str
    #: Number of the attempt, from 1.
    attempt: int
    #: Idempotency key: the same for every attempt of one logical call.
    key: str
    #: Name of the agent in the workflow.
    agent: str
    action: str
    #: Parameters with their expressions evaluated; secret references are not resolved yet.
    parameters: JSONObject
    #: Results of the tasks that this one depends on, by name.
    dependencies: JSONObject = {}
    description: str = ""
    #: The secret references that the definition itself holds in the parameters. Only these may be
    #: resolved, never one that came in with an input or a result.
    references: frozenset[str] = frozenset()
    #: Seconds; None without a bound. The runtime enforces it by cancelling the call.
    timeout: float | None = None
    #: JSON Schema that the result must match.
    output_schema: JSONObject | None = None
    #: Why the result of the previous attempt was invalid; empty on a first attempt.
    complaint: str = ""
    #: The last progress that an earlier attempt reported.
    progress: JSONValue = None
    #: The bound that the answer of a model was cut to, so that its worst case fits the budget.
    max_tokens: int | None = None
    #: Tools that the model may request.
    tools: tuple[Tool, ...] = ()
    #: Earlier turns of the same task, oldest first.
    turns: tuple[ModelTurn, ...] = ()


class Headroom(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """What the other side reports as left of its rate limit."""

    #: Requests that it still accepts; None if it did not report them.
    requests: int | None = None
    #: Tokens that it still accepts; None if it did not report them.
    tokens: int | None = None
    #: Seconds until its limit is reset.
    within: float = 0.0


class Reply(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The outcome of a call: a result or a fault, and what the call used."""

    #: Any JSON; ignored if there is a ``fault``.
    result: JSONValue = None
    fault: Fault | None = None
    #: None if the agent does not report its usage.
    usage: Usage | None = None
    #: The ``run/task`` that this result is from, if it is from the result cache.
    cached: str = ""
    #: For the rate limit of the endpoint; never journaled.
    headroom: Headroom | None = None
    #: Tools of `Call.tools` that the model wants called before its next turn.
    asks: tuple[ToolCall, ...] = ()
