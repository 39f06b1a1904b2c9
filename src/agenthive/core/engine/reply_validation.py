"""Validates replies before they enter the engine. An agent may be any code: no reply is trusted.

Every runtime passes every reply through `validate_reply`. What leaves it is plain JSON of bounded
depth, shares no object with the agent, and is the same after a replay. It never raises: a reply
that cannot be journaled becomes a fault. To refuse anything else in replies: here.
"""

from __future__ import annotations

import json
import math
from typing import Final

import msgspec

from agenthive.core.model.calls import (
    MOST_CALL_COST,
    MOST_TOKENS,
    Fault,
    Headroom,
    Reply,
    ToolCall,
    Usage,
)
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.values import JSONObject, JSONValue
from agenthive.errors import DefinitionError

_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder()
# Made once: making a decoder takes several times as long as decoding a usage.
_usage_decoder: Final = msgspec.json.Decoder(Usage)
_fault_decoder: Final = msgspec.json.Decoder(Fault)
MAX_DEPTH: Final = 100
"""Levels of nesting; far below what any JSON parser of a reader can take."""
MAX_TOOL_CALLS: Final = 128
"""Tool calls that one model turn may request."""
MAX_TOOL_CALL_BYTES: Final = 1024 * 1024
"""Bytes of the tool calls of one model turn, as JSON."""
MAX_MESSAGE_LENGTH: Final = 10_000
"""Characters of a fault's message."""
MAX_USAGE_TEXT: Final = 500
"""Characters of a text in a usage: the model, the price list, the problem."""
MAX_RETRY_AFTER: Final = 86_400.0
"""Seconds that the other side can delay the next attempt, a day."""
MAX_QUOTA: Final = 10**12
"""Requests or tokens that are reported as left; more are as good as any number."""


def validate_reply(reply: Reply) -> Reply:
    """The reply as it is journaled, or an ``invalid_reply`` fault with the same usage."""
    usage = None if reply.usage is None else _clean_usage(reply.usage)
    try:
        if reply.fault is not None:
            return Reply(
                fault=_clean_fault(reply.fault), usage=usage, headroom=_clean_headroom(reply)
            )
        cached = _clean_text(reply.cached) if reply.cached else ""
        return Reply(
            result=_to_plain(reply.result),
            usage=usage,
            cached=cached,
            headroom=_clean_headroom(reply),
            asks=_clean_tool_calls(reply.asks) if reply.asks else (),
        )
    except Exception as error:
        message = (
            f"the reply cannot be recorded: {type(error).__name__}: {_clean_text(error)[:200]}"
        )
        # A result that cannot be kept is a bad end; an unreadable fault says nothing.
        class_ = FaultClass.BAD_END if reply.fault is None else FaultClass.UNKNOWN
        fault = Fault(kind="invalid_reply", message=message, counts=False, class_=class_)
        return Reply(fault=fault, usage=usage)


def _clean_tool_calls(tool_calls: tuple[ToolCall, ...]) -> tuple[ToolCall, ...]:
    """The tool calls, read back from their JSON. Raises any exception if they are not valid."""
    if len(tool_calls) > MAX_TOOL_CALLS:
        raise ValueError(
            f"the model requests {len(tool_calls)} tool calls at once; the limit is "
            f"{MAX_TOOL_CALLS}"
        )
    cleaned = tuple(
        [
            ToolCall(
                id=_clean_text(tool_call.id)[:200],
                name=_clean_text(tool_call.name)[:200],
                arguments=_clean_arguments(tool_call),
                problem=_clean_text(tool_call.problem)[:MAX_MESSAGE_LENGTH],
            )
            for tool_call in tool_calls
        ]
    )
    size = len(_encoder.encode(cleaned))
    if size > MAX_TOOL_CALL_BYTES:
        raise ValueError(
            f"the tool calls are {size:,} bytes; the limit is {MAX_TOOL_CALL_BYTES:,} bytes"
        )
    return cleaned


def _clean_arguments(tool_call: ToolCall) -> JSONObject:
    arguments = _to_plain(tool_call.arguments)
    if not isinstance(arguments, dict):
        raise TypeError(f"the arguments of '{_clean_text(tool_call.name)[:80]}' are not an object")
    return arguments


def to_plain_json(value: JSONValue) -> JSONValue:
    """The value as it is journaled. Raises DefinitionError if it is not JSON."""
    try:
        return _to_plain(value)
    except Exception as error:
        raise DefinitionError(f"the value is not valid JSON: {_clean_text(error)[:200]}") from None


def _to_plain(value: JSONValue) -> JSONValue:
    """The value, read back from its JSON. Raises any exception if it is not JSON."""
    try:
        encoded = _encoder.encode(value)
    except UnicodeEncodeError:
        # Half of a surrogate pair: models cut such characters in two.
        encoded = json.dumps(value, allow_nan=False, ensure_ascii=False).encode("utf-8", "replace")
    decoded: JSONValue = _decoder.decode(encoded)
    if decoded != value:
        # NaN, bytes, or keys that are not text: the slower encoder refuses them.
        json.dumps(value, allow_nan=False)
    # The cheap tests come first: each level of nesting takes two characters of the JSON.
    if (
        len(encoded) > 2 * MAX_DEPTH
        and _count_openings(encoded) > MAX_DEPTH
        and _measure_depth(decoded) > MAX_DEPTH
    ):
        raise ValueError(f"the value is nested more than {MAX_DEPTH} levels deep")
    return decoded


def _count_openings(encoded: bytes) -> int:
    return encoded.count(b"[") + encoded.count(b"{")


def _measure_depth(value: JSONValue) -> int:
    """How deep a value is nested; level by level, because a recursion could overflow."""
    level, depth = [value], 0
    while level:
        containers = [node for node in level if isinstance(node, dict | list)]
        level = [
            child
            for container in containers
            for child in (container.values() if isinstance(container, dict) else container)
        ]
        depth += bool(containers)
    return depth


def _clean_fault(fault: Fault) -> Fault:
    delay = fault.retry_after
    if delay is not None:
        is_delay = type(delay) in (int, float) and 0 <= delay < math.inf
        delay = float(min(delay, MAX_RETRY_AFTER)) if is_delay else None
    cleaned = msgspec.structs.replace(
        fault,
        message=_clean_text(fault.message)[:MAX_MESSAGE_LENGTH],
        retry_after=delay,
        class_=fault.known_class,
    )
    return _fault_decoder.decode(_encoder.encode(cleaned))


def _clean_usage(reported: Usage) -> Usage:
    """The usage of a reply. If a part of it cannot be recorded, all of it is unknown."""
    try:
        usage = _usage_decoder.decode(_encoder.encode(reported))
    except Exception as error:
        return Usage(problem=f"the reported usage is malformed: {_clean_text(error)[:200]}")
    # Written out, because a loop or a helper takes a Python call for each field of each reply.
    if (
        0 <= usage.input_tokens <= MOST_TOKENS
        and 0 <= usage.output_tokens <= MOST_TOKENS
        and 0 <= usage.cache_read_tokens <= MOST_TOKENS
        and 0 <= usage.cache_write_tokens <= MOST_TOKENS
        and 0 <= usage.reasoning_tokens <= MOST_TOKENS
        and (usage.cost is None or 0 <= usage.cost <= MOST_CALL_COST)
    ):
        if len(usage.model) + len(usage.prices) + len(usage.problem) <= MAX_USAGE_TEXT:
            return usage
        return msgspec.structs.replace(
            usage,
            model=usage.model[:200],
            prices=usage.prices[:200],
            problem=usage.problem[:MAX_USAGE_TEXT],
        )
    fields = [
        f"{field} is {value}"
        for field, value in msgspec.structs.asdict(usage).items()
        if isinstance(value, int)
        and not 0 <= value <= (MOST_CALL_COST if field == "cost" else MOST_TOKENS)
    ]
    return Usage(problem=f"of the reported usage, {', '.join(fields)}: the usage is unknown")


def _clean_headroom(reply: Reply) -> Headroom | None:
    """What is left of the endpoint's quota; None if it is malformed."""
    headroom = reply.headroom
    if headroom is None:
        return None
    counts = (headroom.requests, headroom.tokens)
    is_sound = all(count is None or (type(count) is int and count >= 0) for count in counts)
    if not (is_sound and type(headroom.within) in (int, float) and 0 <= headroom.within < 1e6):
        return None
    if all(count is None or count <= MAX_QUOTA for count in counts):
        return headroom
    requests, tokens = (None if count is None else min(count, MAX_QUOTA) for count in counts)
    return Headroom(requests=requests, tokens=tokens, within=headroom.within)


def _clean_text(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode()
