"""Validates replies before they enter the engine. An agent may be any code: no reply is trusted.

Every runtime passes every reply through `validate_reply`. What leaves it is plain JSON of bounded
depth, shares no object with the agent, and is the same after a replay. It never raises: a reply
that cannot be journaled becomes a fault. To refuse anything else in replies: here.
"""

from __future__ import annotations

import json
from typing import Final

import msgspec

from agenthive.core.model.calls import Fault, Headroom, Reply, ToolCall, Usage
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.values import JSONObject, JSONValue
from agenthive.errors import DefinitionError

_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder()
MAX_DEPTH: Final = 100
"""Levels of nesting; far below what any JSON parser of a reader can take."""
MAX_TOOL_CALLS: Final = 128
"""Tool calls that one model turn may request."""
MAX_TOOL_CALL_BYTES: Final = 1024 * 1024
"""Bytes of the tool calls of one model turn, as JSON."""
MAX_MESSAGE_LENGTH: Final = 10_000
"""Characters of a fault's message."""


def validate_reply(reply: Reply) -> Reply:
    """The reply as it is journaled, or an ``invalid_reply`` fault with the same usage."""
    usage = None if reply.usage is None else _clean_usage(reply)
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
    shortened = msgspec.structs.replace(
        fault,
        message=_clean_text(fault.message)[:MAX_MESSAGE_LENGTH],
        class_=fault.known_class,
    )
    return msgspec.json.decode(msgspec.json.encode(shortened), type=Fault)


def _clean_usage(reply: Reply) -> Usage | None:
    """The usage of a reply; None if it is malformed or a count is negative."""
    try:
        usage = msgspec.json.decode(msgspec.json.encode(reply.usage), type=Usage | None)
    except Exception:
        return None
    # A loop, because a generator expression takes a Python call for each field of each reply.
    for field in usage.__struct_fields__ if usage is not None else ():
        count = getattr(usage, field)
        if isinstance(count, int) and count < 0:
            return None
    return usage


def _clean_headroom(reply: Reply) -> Headroom | None:
    """What is left of the endpoint's quota; None if it is malformed."""
    headroom = reply.headroom
    if headroom is None:
        return None
    counts = (headroom.requests, headroom.tokens)
    is_sound = all(count is None or (type(count) is int and count >= 0) for count in counts)
    return (
        headroom
        if is_sound and type(headroom.within) in (int, float) and 0 <= headroom.within < 1e6
        else None
    )


def _clean_text(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode()
