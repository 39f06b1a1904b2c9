"""Whether a result is what its task's schema says, and what tools are asked what theirs say.

A result that is not becomes a fault. Of a tool that is asked something else, nobody is called, and
the model is told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from agenthive.core.engine.reply_validation import vetted
from agenthive.core.machine.guards.outcome import INVALID
from agenthive.core.model.calls import Asked, Call, Fault, Reply

MOST: Final = 1000
"""Schemas that are kept compiled."""

_compiled: dict[bytes, Callable[[Any], str]] = {}


def conforming(reply: Reply, call: Call) -> Reply:
    """The reply, or a fault that says what is wrong with its result; what was used stays."""
    reply = vetted(reply)
    if reply.asks:
        schemas = {tool.name: tool.schema for tool in call.tools}
        asks = tuple([_checked(one, schemas) for one in reply.asks])
        return msgspec.structs.replace(reply, asks=asks)
    if reply.fault is not None or call.output_schema is None:
        return reply
    wrong = _checker(call.output_schema)(reply.result)
    if not wrong:
        return reply
    message = f"the result is not what output_schema says: {wrong}"
    return Reply(fault=Fault(kind=INVALID, message=message, counts=False), usage=reply.usage)


def _checked(asked: Asked, schemas: dict[str, dict[str, Any]]) -> Asked:
    if asked.problem:
        return asked
    if asked.name not in schemas:
        known = ", ".join(schemas) or "none"
        return msgspec.structs.replace(asked, problem=f"there is no such tool; there are: {known}")
    wrong = _checker(schemas[asked.name])(asked.arguments)
    problem = f"the arguments are not what the tool's schema says: {wrong}" if wrong else ""
    return msgspec.structs.replace(asked, problem=problem)


def _checker(schema: dict[str, Any]) -> Callable[[Any], str]:
    from agenthive.infra.schemas import compile

    name = msgspec.json.encode(schema)
    found = _compiled.get(name)
    if found is None:
        if len(_compiled) >= MOST:
            _compiled.clear()
        found = _compiled[name] = compile(schema)
    return found
