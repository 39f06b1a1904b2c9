"""Validates results against the schema of their task, and tool calls against those of the tools.

A result that does not match becomes a fault, which may be retried. A tool call that does not match
is not made: its ``problem`` goes back to the model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from agenthive.core.engine.reply_validation import validate_reply
from agenthive.core.machine.guards.outcome import INVALID_OUTPUT
from agenthive.core.model.calls import Call, Fault, Reply, ToolCall
from agenthive.core.policies.fault_classes import FaultClass

MAX_SCHEMAS: Final = 1000
"""Compiled schemas that are kept."""

#: JSON of a schema -> function that returns what is wrong with a value, empty if nothing is.
_checkers: dict[bytes, Callable[[Any], str]] = {}


def validate_output(reply: Reply, call: Call) -> Reply:
    """The reply, or a fault that says why its result does not match, with the same usage."""
    reply = validate_reply(reply)
    if reply.asks:
        schemas = {tool.name: tool.schema for tool in call.tools}
        tool_calls = tuple([_check_tool_call(tool_call, schemas) for tool_call in reply.asks])
        return msgspec.structs.replace(reply, asks=tool_calls)
    if reply.fault is not None or call.output_schema is None:
        return reply
    violation = _get_checker(call.output_schema)(reply.result)
    if not violation:
        return reply
    message = f"the result does not match output_schema: {violation}"
    fault = Fault(kind=INVALID_OUTPUT, message=message, counts=False, class_=FaultClass.BAD_END)
    return Reply(fault=fault, usage=reply.usage)


def _check_tool_call(tool_call: ToolCall, schemas: dict[str, dict[str, Any]]) -> ToolCall:
    if tool_call.problem:
        return tool_call
    if tool_call.name not in schemas:
        tool_names = ", ".join(schemas) or "none"
        return msgspec.structs.replace(
            tool_call, problem=f"there is no tool of this name; the tools are: {tool_names}"
        )
    violation = _get_checker(schemas[tool_call.name])(tool_call.arguments)
    problem = f"the arguments do not match the tool's schema: {violation}" if violation else ""
    return msgspec.structs.replace(tool_call, problem=problem)


def _get_checker(schema: dict[str, Any]) -> Callable[[Any], str]:
    from agenthive.infra.schemas import compile_schema

    key = msgspec.json.encode(schema)
    checker = _checkers.get(key)
    if checker is None:
        if len(_checkers) >= MAX_SCHEMAS:
            _checkers.clear()
        checker = _checkers[key] = compile_schema(schema)
    return checker
