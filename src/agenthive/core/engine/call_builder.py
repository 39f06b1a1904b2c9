"""Builds calls, and the keys and entries of the result cache.

Pure functions of a run's state and an intent. Nothing here makes a call or reads the cache.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import msgspec

from agenthive.core.engine.active_run import ActiveRun
from agenthive.core.graph.nodes import Node
from agenthive.core.journal.records import CachedResult
from agenthive.core.journal.run_events import TaskStarted
from agenthive.core.machine.guards.outcome import INVALID_OUTPUT
from agenthive.core.machine.model_turns import build_history
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Call, Reply
from agenthive.core.values import SECOND, JSONValue, Micros, to_micros

CACHE_FORM: Final = "call"
"""What a cache key is made of. Results under keys of another form are never found again."""
CALLER_FIELDS: Final = frozenset({"run", "task", "attempt", "key"})
"""The fields of a call that say who makes it; its result does not depend on them."""
# Derived, so that a new field of a call counts unless it is listed above.
_CACHED_FIELDS: Final = tuple(sorted(set(Call.__struct_fields__) - CALLER_FIELDS))

_sorted_encoder = msgspec.json.Encoder(order="sorted")


def build_call(run: ActiveRun, task: int, intent: TaskStarted) -> Call:
    """The call of an intent. Raises ExpressionError if its parameters cannot be evaluated."""
    state = run.state
    node = state.graph.nodes[task]
    # In Python 3.11 sixteen keywords and more take five times as long: rare fields come after.
    call = Call(
        run=state.run,
        task=intent.task,
        attempt=intent.attempt,
        key=intent.key,
        agent=node.agent.name,
        action=node.action,
        parameters=run.evaluate_parameters(task),
        dependencies=run.dependency_results(task),
        description=node.description,
        references=node.references,
        timeout=None if node.timeout is None else node.timeout / SECOND,
        output_schema=node.schema,
        complaint=find_complaint(state, task) if node.schema is not None else "",
        progress=state.progress.get(task) if state.progress else None,
        max_tokens=intent.max_tokens,
    )
    if not node.offers:
        return call
    return msgspec.structs.replace(call, tools=node.offers, turns=build_history(state, task))


def find_complaint(state: RunState, task: int) -> str:
    """Why the last result of the task did not match its schema; empty if it did."""
    fault = state.faults.get(task)
    return fault.message if fault is not None and fault.kind == INVALID_OUTPUT else ""


def without_tool_calls(reply: Reply) -> Reply:
    """The reply without its tool calls, for an agent that was offered no tools."""
    return msgspec.structs.replace(reply, asks=())


def reply_from_cache(cached: CachedResult | None, now: Micros) -> Reply | None:
    """The reply that a cached result gives; None if there is none, or it expired or is damaged."""
    if cached is None:
        return None
    if cached.expires is not None:
        # One from the future was stored by a clock that was ahead: its age is not known.
        is_from_future = cached.at > now + SECOND
        if cached.expires < now or is_from_future:
            return None
    try:
        result = msgspec.json.decode(cached.result)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return Reply(result=result, cached=cached.origin)


def build_cache_entry(
    node: Node, key: str, origin: str, result: JSONValue, now: Micros
) -> CachedResult:
    """The entry of the result cache for a call's result. ``origin`` is run and task."""
    assert node.task is not None
    assert node.task.cache is not None
    ttl = node.task.cache.ttl
    expires = None if ttl is None else now + to_micros(ttl)
    body = msgspec.json.encode(result)
    return CachedResult(key=key, origin=origin, result=body, at=now, expires=expires)


def cache_key(node: Node, call: Call) -> str:
    """The cache key of a call: equal for equal calls of an equal agent, and equal version.

    SHA-256 of the canonical JSON of the agent and of the whole call as the agent receives it, in
    hex. Agent and call hold references to secrets, never their values.
    """
    assert node.task is not None
    assert node.task.cache is not None
    received = [getattr(call, name) for name in _CACHED_FIELDS]
    identity = (CACHE_FORM, node.agent, _CACHED_FIELDS, received, node.task.cache.version)
    return sha256(_sorted_encoder.encode(identity)).hexdigest()
