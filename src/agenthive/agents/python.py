"""Python of the operator's: custom://NAME.

Custom agents are functions and classes that the operator has registered under a name; a workflow
names one of them and never brings code of its own. A function may have the arguments
``parameters``, ``action`` and ``call``, and receives those it names. An async function runs on the
event loop. A sync function runs in a thread, which Python cannot stop: after a time-out, the
runtime waits for the thread before it calls the task again. Prefer async. After an exception, the
function may have acted (`FaultClass.UNKNOWN`); `NonRetryableError` and NotImplementedError are a
bad end.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from agenthive.agents.base import (
    AgentResponse,
    AgentServices,
    BaseAgent,
    execute_via_perform,
    response_reply,
)
from agenthive.agents.faults import arguments_fault, exception_fault, fault_reply, read_text
from agenthive.agents.results import result_reply
from agenthive.core.model.calls import Call, Reply
from agenthive.core.model.workflow import AgentSpec, Effect
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.values import JSONObject
from agenthive.errors import AgentUnavailable, ConfigurationError
from agenthive.infra.thread_calls import run_in_thread

CUSTOM: Final = "custom://"

#: How many sync functions run at the same time; others wait for a thread.
THREADS = 64


class NonRetryableError(Exception):
    """A custom function raises this when another attempt cannot help."""


class FunctionAgent(BaseAgent):
    """An agent that performs every action by calling one function."""

    def __init__(self, config: AgentSpec, function: Callable[..., Any]) -> None:
        super().__init__(config)
        self._function = function
        self._is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - a callable object may be async
        )
        self._argument_names = _argument_names(function)

    async def execute(self, action: str, parameters: dict[str, Any]) -> AgentResponse:
        """Call the function outside any run."""
        return await execute_via_perform(self, action, parameters)

    async def perform(self, call: Call) -> Reply:
        """Call the function with the arguments that it names."""
        available: dict[str, Any] = {
            "call": call,
            "action": call.action,
            "parameters": call.parameters,
        }
        arguments = {name: available[name] for name in self._argument_names}
        try:
            if self._is_async:
                result = await self._function(**arguments)
            else:
                result = await _run_in_thread(self._function, arguments)
                if isinstance(result, _Raised):
                    return self._fault_reply(result.error, arguments)
                if inspect.isawaitable(result):
                    result = await result
            return _build_reply(result)
        except asyncio.CancelledError:
            raise  # The call is ended from outside.
        except BaseException as error:
            return self._fault_reply(error, arguments)

    def _fault_reply(self, error: BaseException, arguments: dict[str, Any]) -> Reply:
        """The reply to what the function raised.

        An exit() or a KeyboardInterrupt in it ends this call, not the process with all its runs.
        """
        if isinstance(error, NonRetryableError):
            return fault_reply("agent_error", read_text(error), FaultClass.BAD_END, retriable=False)
        fault = None
        if isinstance(error, TypeError):
            fault = arguments_fault(error, self._function, **arguments)
        return Reply(fault=fault or exception_fault(error))


def make(spec: AgentSpec, services: AgentServices) -> BaseAgent:
    """The agent for a spec. Raises AgentUnavailable if its name has no registered agent."""
    name = spec.endpoint.removeprefix(CUSTOM)
    agent = services.load_custom(name)
    if agent is None:
        raise AgentUnavailable(
            f"agent '{spec.name}': no agent is registered for custom://{name}",
            hint=f"Supply it: --agents FILE.py with AGENTS = {{'{name}': ...}}, or a line "
            f"under [agents] in the settings, or hive.agents.register('{name}', function).",
        )
    if inspect.isclass(agent) and issubclass(agent, BaseAgent):
        return agent(spec)
    if inspect.isclass(agent):
        agent = agent()
    return FunctionAgent(spec, agent)


def action_problem(spec: AgentSpec, action: str) -> str | None:
    """None: a function performs any action."""
    return None


def effect_of(spec: AgentSpec, action: str) -> Effect | None:
    """None: only the author of the function knows its effect."""
    return None


def parameters(spec: AgentSpec, action: str) -> JSONObject | None:
    """None: a function may take any parameters."""
    return None


async def _run_in_thread(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    work = functools.partial(contextvars.copy_context().run, _call_counted, function, arguments)
    return await run_in_thread(_thread_pool(), work)


def _call_counted(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    _running_calls.append(None)
    try:
        return function(**arguments)
    except BaseException as error:
        # Returned, not raised: futures of threads cannot carry a StopIteration, take a
        # CancelledError for their own, and end the event loop with a KeyboardInterrupt.
        return _Raised(error)
    finally:
        _running_calls.pop()


class _Raised:
    """What a function raised in its thread."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


#: One entry for each sync function that runs; append and pop are atomic, so no lock is needed.
_running_calls: list[None] = []


def has_running_calls() -> bool:
    """Whether a sync function still runs in its thread, which would delay the process's exit."""
    return bool(_running_calls)


@functools.cache
def _thread_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, "agenthive-custom")


def _argument_names(function: Callable[..., Any]) -> tuple[str, ...]:
    allowed = ("call", "action", "parameters")
    names = list(inspect.signature(function).parameters)
    unknown = [name for name in names if name not in allowed]
    if unknown:
        raise ConfigurationError(
            f"custom function {getattr(function, '__name__', function)!r} has the argument "
            f"'{unknown[0]}', which no custom agent receives",
            hint="It may have the arguments call, action, parameters.",
        )
    return tuple(names)


def _build_reply(result: Any) -> Reply:
    if isinstance(result, Reply):
        return result
    return response_reply(result) if isinstance(result, AgentResponse) else result_reply(result)
