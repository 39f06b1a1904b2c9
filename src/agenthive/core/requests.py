"""What a call is told beside its parameters, and the name its result is kept under for others."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import msgspec

from agenthive.core.nodes import Node
from agenthive.core.run_state import RunState
from agenthive.core.values import JSONObject

INVALID: Final = "invalid_output"
"""The kind of fault that a result is which is not as its schema says."""

_sorted = msgspec.json.Encoder(order="sorted")


def complaint(state: RunState, task: int) -> str:
    """What was wrong with the last result of this task; empty if nothing was."""
    fault = state.faults.get(task)
    return fault.message if fault is not None and fault.kind == INVALID else ""


def cache_key(node: Node, parameters: JSONObject) -> str:
    """The name of what this call gives: equal for equal agents, actions and parameters."""
    assert node.task is not None
    assert node.task.cache is not None
    what = (node.agent, node.action, parameters, node.schema, node.task.cache.version)
    return sha256(_sorted.encode(what)).hexdigest()
