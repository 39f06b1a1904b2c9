"""What all kinds of agent share: the functions of a kind, and the class of its agents.

A kind is a module with the functions of `AgentKind`, which create agents that derive from
`BaseAgent`. A user's agent implements `BaseAgent.execute(action, parameters) -> AgentResponse`. The
agents of this package override `BaseAgent.perform` instead, which receives the whole `Call`: its
idempotency key, its dependencies, its references to secrets. `agents.faults` turns the failures of
a call into faults, `agents.results` the results of Python code into JSON. Nothing here knows a
vendor. The docstring of the package says how to add a kind.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

import msgspec

from agenthive.agents.faults import arguments_fault, exception_fault, fault_reply
from agenthive.agents.results import result_reply
from agenthive.core.model.calls import Call, Reply
from agenthive.core.model.workflow import AgentSpec, Effect
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.values import JSONObject, NanoUSD
from agenthive.errors import ConfigurationError
from agenthive.infra.secrets import Secrets

if TYPE_CHECKING:
    from agenthive.infra.egress import Egress


#: What may be the name of a header (RFC 9110, section 5.6.2).
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class AgentType(StrEnum):
    """The kinds of agent that a workflow file may name."""

    AI_AGENT = "ai_agent"
    MCP_SERVER = "mcp_server"
    HTTP_API = "http_api"
    CUSTOM = "custom"


class AgentResponse(msgspec.Struct, kw_only=True):
    """The outcome of `BaseAgent.execute`."""

    success: bool
    #: Any JSON value; a task that depends on this one receives it.
    result: Any = None
    #: Why the action failed, for the user; None if ``success``.
    error: str | None = None
    #: Data of the agent's own. It is not recorded and no task receives it.
    metadata: dict[str, Any] = {}


class BaseAgent(ABC):
    """One agent, created from its spec. Several calls may run in it at the same time."""

    #: The type that names this kind in workflow files.
    kind: ClassVar[str] = AgentType.CUSTOM
    #: Actions that only read: their effect is `Effect.NONE`, so a crash may repeat them.
    pure_actions: ClassVar[frozenset[str]] = frozenset()
    #: Whether calls cost money, which `estimate_max_cost` bounds. Read for added kinds only; the
    #: registry itself knows this of the shipped kinds.
    is_priced: ClassVar[bool] = False

    def __init__(self, config: AgentSpec) -> None:
        #: The spec. Secrets in it are still references.
        self.config = config
        self.name = config.name

    @abstractmethod
    async def execute(self, action: str, parameters: dict[str, Any]) -> AgentResponse:
        """Perform ``action``. An exception counts as a failure that may be retried."""

    async def perform(self, call: Call) -> Reply:
        """Perform one attempt. A failure of the outside world is a fault, never an exception."""
        parameters = dict(call.parameters)
        try:
            response = await self.execute(call.action, parameters)
        except asyncio.CancelledError:
            raise  # The call is ended from outside.
        except BaseException as error:  # An exit() must not end the process with all its runs.
            fault = None
            if isinstance(error, TypeError):
                fault = arguments_fault(error, self.execute, call.action, parameters)
            return Reply(fault=fault or exception_fault(error))
        return response_reply(response)

    def estimate_max_cost(self, call: Call) -> NanoUSD | None:
        """The most that ``call`` can cost, in nano-dollars; None if its price is unknown."""
        return 0

    def explain_unpriced(self, call: Call) -> str:
        """Why `estimate_max_cost` is None for ``call``, and what to do; empty if it is not."""
        return ""

    def estimate_tokens(self, call: Call) -> int:
        """About how many tokens ``call`` uses, with a reply of full length; for rate limits."""
        return 0

    def fit_max_tokens(self, call: Call, max_cost: NanoUSD) -> tuple[int, NanoUSD] | None:
        """The longest reply (in tokens) that keeps ``call`` within ``max_cost``, and its cost.

        Both costs are nano-dollars. None if no useful reply fits.
        """
        return None

    async def close(self) -> None:  # noqa: B027 - most agents have nothing to close
        """Close connections and end processes. May be called twice."""

    @classmethod
    def action_problem(cls, spec: AgentSpec, action: str) -> str | None:
        """Why an agent with this spec cannot perform ``action``; None if it can."""
        return None

    @classmethod
    def effect_of(cls, spec: AgentSpec, action: str) -> Effect | None:
        """The effect that ``action`` is known to have on the outside world; None if unknown."""
        return Effect.NONE if action in cls.pure_actions else None


def find_no_agent(name: str) -> Any:
    """Return None: the default of `AgentServices.load_custom`, without custom agents."""
    return None


@dataclass(frozen=True)
class AgentServices:
    """What the registry passes to the function ``make`` of a kind."""

    #: Resolves references to secrets, and removes secrets from texts.
    secrets: Secrets
    #: The HTTP client for addresses that a workflow names; in server mode it refuses private ones.
    egress: Egress
    #: The prices of models (`agents.llm.prices.Prices`), or None for the published ones.
    prices: Any = None
    #: From a custom name to the function or class that is registered under it; None if none is.
    load_custom: Callable[[str], Any] = find_no_agent


class AgentKind(Protocol):
    """The functions of a module that is an agent kind. The registry calls them and nothing else."""

    def make(self, spec: AgentSpec, services: AgentServices, /) -> BaseAgent:
        """The agent for ``spec``. Raises ConfigurationError if its endpoint is invalid."""
        ...

    def action_problem(self, spec: AgentSpec, action: str, /) -> str | None:
        """Why an agent like ``spec`` cannot perform ``action``; None if it can."""
        ...

    def effect_of(self, spec: AgentSpec, action: str, /) -> Effect | None:
        """The effect an action is known to have on the outside world; None if it is unknown."""
        ...

    def parameters(self, spec: AgentSpec, action: str, /) -> JSONObject | None:
        """A JSON Schema of the parameters that an action takes; None if it takes any."""
        ...


#: The functions of `AgentKind`, and the signature of each for error messages.
KIND_FUNCTIONS = {
    "make": "make(spec, services)",
    "action_problem": "action_problem(spec, action)",
    "effect_of": "effect_of(spec, action)",
    "parameters": "parameters(spec, action)",
}


def response_reply(response: AgentResponse) -> Reply:
    """The reply for the outcome of `BaseAgent.execute`."""
    if response.success:
        return result_reply(response.result)
    reason = response.error or "the agent gave no reason"
    return fault_reply("agent_error", reason, FaultClass.UNKNOWN)


async def execute_via_perform(
    agent: BaseAgent, action: str, parameters: dict[str, Any]
) -> AgentResponse:
    """`BaseAgent.execute` for a kind that implements `perform`: one call outside any run."""
    call = Call(
        run="", task="", attempt=1, key="", agent=agent.name, action=action, parameters=parameters
    )
    reply = await agent.perform(call)
    if reply.fault is not None:
        return AgentResponse(success=False, error=reply.fault.message)
    return AgentResponse(success=True, result=reply.result)


def get_option(spec: AgentSpec, name: str, default: Any) -> Any:
    """The value of one of the agent's ``custom_params``, or ``default``."""
    options: Mapping[str, Any] = spec.custom_params
    return options.get(name, default)


def login_headers(
    spec: AgentSpec, secrets: Secrets, host: str
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The headers that authenticate at ``host``, and the names of those that hold credentials.

    Raises ConfigurationError if a secret cannot be resolved, and EgressRefused if it is bound to
    another host.
    """
    login: Mapping[str, Any] = spec.authentication or {}
    kind = login.get("type")
    if kind is None:
        return {}, ()
    if kind == "bearer":
        name, value = "Authorization", f"Bearer {_resolve_secret(login, 'token', secrets, host)}"
    elif kind == "api_key":
        name, value = (
            str(login.get("header", "X-API-Key")),
            _resolve_secret(login, "key", secrets, host),
        )
    else:
        user = _resolve_secret(login, "username", secrets, host)
        pair = f"{user}:{_resolve_secret(login, 'password', secrets, host)}".encode()
        name, value = (
            "Authorization",
            f"Basic {secrets.mark_secret(base64.b64encode(pair).decode())}",
        )
    return check_headers({name: value}), (name,)


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers, if they can be sent. Raises ConfigurationError, which never shows a value.

    The HTTP client would refuse such a header too, but its error quotes the value with escapes, and
    an escaped secret is not recognised by `Secrets.scrub`.
    """
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ConfigurationError(f"{name[:100]!r} cannot be the name of a header")
        if not (value.isascii() and value.isprintable()):
            raise ConfigurationError(
                f"the value of the header '{name}' cannot be sent: it contains characters other "
                "than printable ASCII"
            )
    return dict(headers)


def _resolve_secret(login: Mapping[str, Any], name: str, secrets: Secrets, host: str) -> str:
    return secrets.resolve(str(login.get(name, "")), host).reveal()


MAX_DIGITS: Final = 4000
"""Digits of a whole number in JSON; Python itself refuses to read more than 4,300."""


def parse_strict_json(text: str) -> Any:
    """Decode JSON. Raises ValueError also for NaN, Infinity and a key that occurs twice.

    Python's own parser accepts these, and readers of a journal in other languages do not. A number
    that cannot be held, such as 1e400 or one of more than `MAX_DIGITS` digits, is refused too.
    """
    try:
        return json.loads(
            text,
            parse_constant=_reject_constant,
            parse_float=_parse_float,
            parse_int=_parse_int,
            object_pairs_hook=_reject_duplicates,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _parse_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):  # It would be kept as null.
        raise ValueError(f"the number {text[:30]} is larger than any that can be kept")
    return value


def _parse_int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(
            f"a number of {len(text):,} digits is longer than the limit of {MAX_DIGITS:,}"
        )
    return int(text)


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return mapping
