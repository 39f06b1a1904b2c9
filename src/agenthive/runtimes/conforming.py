"""Whether a result is what its task's schema says. One that is not becomes a fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from agenthive.core.ports import Call, Fault, Reply
from agenthive.core.replies import vetted
from agenthive.core.rules.outcome import INVALID

MOST: Final = 1000
"""Schemas that are kept compiled."""

_compiled: dict[bytes, Callable[[Any], str]] = {}


def conforming(reply: Reply, call: Call) -> Reply:
    """The reply, or a fault that says what is wrong with its result; what was used stays."""
    reply = vetted(reply)
    if reply.fault is not None or call.output_schema is None:
        return reply
    wrong = _checker(call.output_schema)(reply.result)
    if not wrong:
        return reply
    message = f"the result is not what output_schema says: {wrong}"
    return Reply(fault=Fault(kind=INVALID, message=message, counts=False), usage=reply.usage)


def _checker(schema: dict[str, Any]) -> Callable[[Any], str]:
    from agenthive.infra.schemas import compile

    name = msgspec.json.encode(schema)
    found = _compiled.get(name)
    if found is None:
        if len(_compiled) >= MOST:
            _compiled.clear()
        found = _compiled[name] = compile(schema)
    return found
