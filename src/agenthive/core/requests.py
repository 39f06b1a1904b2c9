"""What a call is told beside its parameters, and the name its result is kept under for others."""

from __future__ import annotations

from hashlib import sha256

import msgspec

from agenthive.core.nodes import Node
from agenthive.core.ports import Cached, Reply
from agenthive.core.rules.outcome import INVALID
from agenthive.core.run_state import RunState
from agenthive.core.values import JSONObject, JSONValue, Micros, micros

_sorted = msgspec.json.Encoder(order="sorted")


def complaint(state: RunState, task: int) -> str:
    """What was wrong with the last result of this task; empty if nothing was."""
    fault = state.faults.get(task)
    return fault.message if fault is not None and fault.kind == INVALID else ""


def usable(cached: Cached | None, now: Micros) -> Reply | None:
    """The reply that a kept result is, unless its time is over."""
    if cached is None or (cached.expires is not None and cached.expires < now):
        return None
    return Reply(result=msgspec.json.decode(cached.result), cached=cached.origin)


def to_cache(node: Node, key: str, origin: str, result: JSONValue, now: Micros) -> Cached:
    """What is kept of a result, for equal calls."""
    assert node.task is not None
    assert node.task.cache is not None
    ttl = node.task.cache.ttl
    expires = None if ttl is None else now + micros(ttl)
    body = msgspec.json.encode(result)
    return Cached(key=key, origin=origin, result=body, at=now, expires=expires)


def cache_key(node: Node, parameters: JSONObject) -> str:
    """The name of what this call gives: equal for equal agents, actions and parameters."""
    assert node.task is not None
    assert node.task.cache is not None
    what = (node.agent, node.action, parameters, node.schema, node.task.cache.version)
    return sha256(_sorted.encode(what)).hexdigest()
