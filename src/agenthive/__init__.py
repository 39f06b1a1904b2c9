"""agenthive: durable orchestration of AI agents.

    from agenthive import Hive, load

    async with Hive.open("my-home") as hive:
        report = await hive.run(load("workflow.yaml").spec, {"topic": "bees"})

The names in `__all__` are the public API. A module is imported when one of its names is first
used, so `import agenthive` loads no vendor's package and no database. The packages behind the API
(`agenthive.core`, `agenthive.agents`, ...) may be imported, too, but their names may change with
any version. To add a name: a line in `_WHERE`, in `__all__` and under `TYPE_CHECKING`; at most 25.
"""

from __future__ import annotations

import importlib as _importlib
import typing as _typing

__version__ = "0.1.0"

if _typing.TYPE_CHECKING:
    from agenthive.agents.base import AgentResponse, AgentType, BaseAgent
    from agenthive.agents.python import NonRetryableError
    from agenthive.agents.registry import AgentRegistry
    from agenthive.authoring import Workflow, load, loads
    from agenthive.core.history.report import RunReport
    from agenthive.core.model.calls import Call, Fault, Reply
    from agenthive.core.model.states import RunStatus, TaskState
    from agenthive.core.model.workflow import Effect, FailureStrategy, WorkflowSpec
    from agenthive.core.policies.retry import RetryPolicy
    from agenthive.errors import AgentHiveError, AgentUnavailable, ConfigurationError
    from agenthive.facades.lead_agent import LeadAgent
    from agenthive.hive import Hive
    from agenthive.infra.heartbeat import heartbeat
    from agenthive.settings import Settings

#: Public name -> the module below `agenthive` that defines it.
_WHERE = {
    "AgentHiveError": "errors",
    "AgentRegistry": "agents.registry",
    "AgentResponse": "agents.base",
    "AgentType": "agents.base",
    "AgentUnavailable": "errors",
    "BaseAgent": "agents.base",
    "Call": "core.model.calls",
    "ConfigurationError": "errors",
    "Effect": "core.model.workflow",
    "FailureStrategy": "core.model.workflow",
    "Fault": "core.model.calls",
    "Hive": "hive",
    "LeadAgent": "facades.lead_agent",
    "NonRetryableError": "agents.python",
    "Reply": "core.model.calls",
    "RetryPolicy": "core.policies.retry",
    "RunReport": "core.history.report",
    "RunStatus": "core.model.states",
    "Settings": "settings",
    "TaskState": "core.model.states",
    "Workflow": "authoring",
    "WorkflowSpec": "core.model.workflow",
    "heartbeat": "infra.heartbeat",
    "load": "authoring",
    "loads": "authoring",
}

__all__ = [
    "AgentHiveError",
    "AgentRegistry",
    "AgentResponse",
    "AgentType",
    "AgentUnavailable",
    "BaseAgent",
    "Call",
    "ConfigurationError",
    "Effect",
    "FailureStrategy",
    "Fault",
    "Hive",
    "LeadAgent",
    "NonRetryableError",
    "Reply",
    "RetryPolicy",
    "RunReport",
    "RunStatus",
    "Settings",
    "TaskState",
    "Workflow",
    "WorkflowSpec",
    "heartbeat",
    "load",
    "loads",
]


def __getattr__(name: str) -> object:
    module = _WHERE.get(name)
    if module is None:
        raise AttributeError(f"module 'agenthive' has no attribute {name!r}")
    value = getattr(_importlib.import_module(f"agenthive.{module}"), name)
    globals()[name] = value  # Python calls this function only for names that are not there.
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("_"))})
