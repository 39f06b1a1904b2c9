"""What a call is told beside its parameters, and the name its result is kept under for others."""

from __future__ import annotations

from hashlib import sha256

import msgspec

from agenthive.core.engine.active_run import ActiveRun
from agenthive.core.graph.nodes import Node
from agenthive.core.journal.records import CachedResult
from agenthive.core.journal.run_events import TaskStarted
from agenthive.core.machine.guards.outcome import INVALID_OUTPUT
from agenthive.core.machine.model_turns import build_history
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.calls import Call, Reply
from agenthive.core.values import SECOND, JSONObject, JSONValue, Micros, to_micros

_sorted_encoder = msgspec.json.Encoder(order="sorted")


def build_call(run: ActiveRun, task: int, intent: TaskStarted) -> Call:
    """The call that an intent is to make. Raises ExpressionError."""
    state = run.state
    node = state.graph.nodes[task]
    # Sixteen keywords and more take five times as long: what few calls have comes after.
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
    """What was wrong with the last result of this task; empty if nothing was."""
    fault = state.faults.get(task)
    return fault.message if fault is not None and fault.kind == INVALID_OUTPUT else ""


def without_tool_calls(reply: Reply) -> Reply:
    """The reply of an agent that has nothing to ask for."""
    return msgspec.structs.replace(reply, asks=())


def reply_from_cache(cached: CachedResult | None, now: Micros) -> Reply | None:
    """The reply that a kept result is, unless its time is over."""
    if cached is None or (cached.expires is not None and cached.expires < now):
        return None
    return Reply(result=msgspec.json.decode(cached.result), cached=cached.origin)


def build_cache_entry(
    node: Node, key: str, origin: str, result: JSONValue, now: Micros
) -> CachedResult:
    """What is kept of a result, for equal calls."""
    assert node.task is not None
    assert node.task.cache is not None
    ttl = node.task.cache.ttl
    expires = None if ttl is None else now + to_micros(ttl)
    body = msgspec.json.encode(result)
    return CachedResult(key=key, origin=origin, result=body, at=now, expires=expires)


def cache_key(node: Node, parameters: JSONObject) -> str:
    """The name of what this call gives: equal for equal agents, actions and parameters."""
    assert node.task is not None
    assert node.task.cache is not None
    identity = (node.agent, node.action, parameters, node.schema, node.task.cache.version)
    return sha256(_sorted_encoder.encode(identity)).hexdigest()
