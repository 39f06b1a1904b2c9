"""Calls and replies: what is requested of an agent, and what it returns."""

from __future__ import annotations

import msgspec

from agenthive.core.values import JSONObject, JSONValue, NanoUSD


class Usage(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """What a model call used. Tokens are counts; ``cost`` is nano-dollars, None where unknown.

    ``prices`` is the list that the cost is by, and of when.
    """

    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost: NanoUSD | None = None
    prices: str = ""


class Fault(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """Why an attempt did not succeed.

    ``kind``: timeout, rate_limited, overloaded, unavailable, connection, refused, invalid_reply,
    agent_error, cancelled, lost, breaker_open, unregistered, expression, budget_exceeded,
    unpriced.
    ``retriable``: trying again may help. ``retry_after``: seconds the other side asked for.
    ``counts``: whether it says the endpoint is unwell (429 and overloaded do not).
    """

    kind: str
    message: str
    retriable: bool = True
    retry_after: float | None = None
    counts: bool = True


class Tool(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a model is told it may ask for. ``schema`` is the JSON Schema of the arguments."""

    name: str
    description: str = ""
    schema: JSONObject = {}


class ToolCall(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A tool that a model asks for. Nobody is called if there is a ``problem`` with it."""

    id: str
    name: str
    arguments: JSONObject = {}
    problem: str = ""


class ToolResult(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a model is told came of what it asked for."""

    asked: ToolCall
    content: str
    failed: bool = False


class ModelTurn(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A turn that a model has had: what it said, and what came of the tools it asked for.

    ``note`` is what it is told besides.
    """

    said: JSONValue
    outcomes: tuple[ToolResult, ...]
    note: str = ""


class Call(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One attempt, as an agent sees it.

    ``key`` is the idempotency key, the same for every attempt of one logical call.
    ``dependencies`` maps the names of the tasks this one depends on to their results.
    ``references`` are the secret references that the definition itself holds in the parameters:
    only those may be resolved, never one that came in with a result.
    ``timeout`` is seconds, None without a bound; the runtime enforces it by cancelling.
    ``output_schema`` is what the result must be like, ``complaint`` what was wrong with the last
    one; ``progress`` is what an earlier attempt said last about how far it was. ``max_tokens`` is
    what the answer of a model was cut to, so that its worst case fits the budget. ``tools`` are
    what it may ask for, ``turns`` what has been said so far.
    """

    run: str
    task: str
    attempt: int
    key: str
    agent: str
    action: str
    parameters: JSONObject
    dependencies: JSONObject = {}
    description: str = ""
    references: frozenset[str] = frozenset()
    timeout: float | None = None
    output_schema: JSONObject | None = None
    complaint: str = ""
    progress: JSONValue = None
    max_tokens: int | None = None
    tools: tuple[Tool, ...] = ()
    turns: tuple[ModelTurn, ...] = ()


class Headroom(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """What the other side says is left of its limit for the next ``within`` seconds."""

    requests: int | None = None
    tokens: int | None = None
    within: float = 0.0


class Reply(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What came of a call: a result (any JSON) or a fault, and what it used.

    ``cached`` names the ``run/task`` whose result this is, if nothing was called. ``headroom`` is
    for the rate limit, and is not recorded. ``asks`` are tools of the call's that are to be called
    before it can go on.
    """

    result: JSONValue = None
    fault: Fault | None = None
    usage: Usage | None = None
    cached: str = ""
    headroom: Headroom | None = None
    asks: tuple[ToolCall, ...] = ()
