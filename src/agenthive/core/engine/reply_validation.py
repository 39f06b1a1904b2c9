"""What a journal can hold of a reply. An agent may be anybody's code: nothing it says is trusted.

The one door for replies: what leaves here is plain JSON of bounded depth, shares nothing with the
agent, and reads the same after a replay. It never raises. To refuse something else, do it here.
"""

from __future__ import annotations

import json
from typing import Final

import msgspec

from agenthive.core.model.calls import Asked, Fault, Headroom, Reply, Usage
from agenthive.core.values import JSONObject, JSONValue
from agenthive.errors import DefinitionError

_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder()
DEEPEST: Final = 100
"""Levels of nesting; far below what any reader of the journal can take."""
MOST_ASKS: Final = 128
"""Tools that one answer may ask for."""
LONGEST_ASKS: Final = 1024 * 1024
"""Bytes of what it asks them."""
LONGEST_MESSAGE: Final = 10_000
"""Characters of a fault's message."""


def vetted(reply: Reply) -> Reply:
    """The reply as the journal will have it, or an ``invalid_reply`` fault with the same usage."""
    usage = None if reply.usage is None else _usage(reply)
    try:
        if reply.fault is not None:
            return Reply(fault=_fault(reply.fault), usage=usage, headroom=_headroom(reply))
        cached = _text(reply.cached) if reply.cached else ""
        return Reply(
            result=_plain(reply.result), usage=usage, cached=cached, headroom=_headroom(reply),
            asks=_asks(reply.asks) if reply.asks else (),
        )  # fmt: skip
    except Exception as error:
        what = f"the reply is not JSON: {type(error).__name__}: {_text(error)[:200]}"
        return Reply(fault=Fault(kind="invalid_reply", message=what, counts=False), usage=usage)


def _asks(asks: tuple[Asked, ...]) -> tuple[Asked, ...]:
    """What is asked for, read back from its JSON. Raises whatever is wrong with it."""
    if len(asks) > MOST_ASKS:
        raise ValueError(f"it asks for {len(asks)} tools at once, at most {MOST_ASKS} may be")
    found = tuple(
        [
            Asked(
                id=_text(one.id)[:200],
                name=_text(one.name)[:200],
                arguments=_arguments(one),
                problem=_text(one.problem)[:LONGEST_MESSAGE],
            )
            for one in asks
        ]
    )
    size = len(_encoder.encode(found))
    if size > LONGEST_ASKS:
        raise ValueError(f"what it asks tools is {size:,} bytes, at most {LONGEST_ASKS:,} may be")
    return found


def _arguments(asked: Asked) -> JSONObject:
    found = _plain(asked.arguments)
    if not isinstance(found, dict):
        raise TypeError(f"the arguments for '{_text(asked.name)[:80]}' are no object")
    return found


def plain_json(value: JSONValue) -> JSONValue:
    """The value as the journal will have it. Raises DefinitionError if it cannot hold it."""
    try:
        return _plain(value)
    except Exception as error:
        raise DefinitionError(f"this is not JSON: {_text(error)[:200]}") from None


def _plain(value: JSONValue) -> JSONValue:
    """The value, read back from its JSON. Raises whatever is wrong with it."""
    try:
        encoded = _encoder.encode(value)
    except UnicodeEncodeError:
        # Half of a surrogate pair: models cut them in two.
        encoded = json.dumps(value, allow_nan=False, ensure_ascii=False).encode("utf-8", "replace")
    found: JSONValue = _decoder.decode(encoded)
    if found != value:
        # NaN, bytes, keys that are no text: only the slower encoder is strict about them.
        json.dumps(value, allow_nan=False)
    # Whatever is so deep takes two characters a level.
    if len(encoded) > 2 * DEEPEST and _openings(encoded) > DEEPEST and _depth(found) > DEEPEST:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep")
    return found


def _openings(encoded: bytes) -> int:
    return encoded.count(b"[") + encoded.count(b"{")


def _depth(value: JSONValue) -> int:
    """How deep a value is nested, without going as deep."""
    level, depth = [value], 0
    while level:
        containers = [v for v in level if isinstance(v, dict | list)]
        level = [i for c in containers for i in (c.values() if isinstance(c, dict) else c)]
        depth += bool(containers)
    return depth


def _fault(fault: Fault) -> Fault:
    clean = msgspec.structs.replace(fault, message=_text(fault.message)[:LONGEST_MESSAGE])
    return msgspec.json.decode(msgspec.json.encode(clean), type=Fault)


def _usage(reply: Reply) -> Usage | None:
    """What was used, as far as it makes sense: it may not take anything back."""
    try:
        usage = msgspec.json.decode(msgspec.json.encode(reply.usage), type=Usage | None)
    except Exception:
        return None
    counts = (
        () if usage is None else tuple(getattr(usage, name) for name in usage.__struct_fields__)
    )
    negative = any(isinstance(count, int) and count < 0 for count in counts)
    return None if negative else usage


def _headroom(reply: Reply) -> Headroom | None:
    """What is left of a limit, as far as it makes sense."""
    said = reply.headroom
    if said is None:
        return None
    counts = (said.requests, said.tokens)
    sound = all(one is None or (type(one) is int and one >= 0) for one in counts)
    return said if sound and type(said.within) in (int, float) and 0 <= said.within < 1e6 else None


def _text(what: object) -> str:
    return str(what).encode("utf-8", "replace").decode()
