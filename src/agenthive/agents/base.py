"""What every kind of agent shares: the functions of a kind, and the class of its agents.

A kind is a module with the functions of `AgentKind`. Its agents derive from `BaseAgent`: they
override `perform`, which sees the whole call, or stop at `execute(action, parameters)`. Nothing
here knows a vendor. To add a kind see the sign of this package.
"""

from __future__ import annotations

import base64
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import httpx2
import msgspec

from agenthive.core.model.calls import Call, Fault, Reply
from agenthive.core.model.workflow import AgentSpec, Effect
from agenthive.core.values import JSONObject, NanoUSD
from agenthive.errors import AgentError, APIError, ConfigurationError, EgressRefused
from agenthive.infra.retry_after import retry_after
from agenthive.infra.secrets import Secrets

if TYPE_CHECKING:
    from agenthive.infra.egress import Egress


class AgentType(StrEnum):
    """The kinds a workflow file may name."""

    AI_AGENT = "ai_agent"
    MCP_SERVER = "mcp_server"
    HTTP_API = "http_api"
    CUSTOM = "custom"


class AgentResponse(msgspec.Struct, kw_only=True):
    """What came of `execute`: a result (any JSON) or an error in words."""

    success: bool
    result: Any = None
    error: str | None = None
    metadata: dict[str, Any] = {}


class BaseAgent(ABC):
    """One agent. Made from its spec; safe to call many times at once.

    ``kind`` is the type that names it in workflow files. ``pure_actions`` are the actions that are
    known to change nothing outside. ``config`` is the spec, with secrets still as references.
    ``is_priced``: its calls cost money, and `estimate_max_cost` knows how much (for kinds of one's
    own).
    """

    kind: ClassVar[str] = AgentType.CUSTOM
    pure_actions: ClassVar[frozenset[str]] = frozenset()
    is_priced: ClassVar[bool] = False

    def __init__(self, config: AgentSpec) -> None:
        self.config = config
        self.name = config.name

    @abstractmethod
    async def execute(self, action: str, parameters: dict[str, Any]) -> AgentResponse:
        """Do ``action``. May raise: that counts as a failure that can be retried."""

    async def perform(self, call: Call) -> Reply:
        """Do one attempt. Never raises for a failure of the outside world."""
        try:
            response = await self.execute(call.action, dict(call.parameters))
        except Exception as error:
            return fault_reply("agent_error", f"{type(error).__name__}: {error}", counts=False)
        if response.success:
            return Reply(result=response.result)
        return fault_reply(
            "agent_error", response.error or "the agent gave no reason", counts=False
        )

    def estimate_max_cost(self, call: Call) -> NanoUSD | None:
        """What ``call`` can cost at most, in nano-dollars; None if nobody knows its price."""
        return 0

    def estimate_tokens(self, call: Call) -> int:
        """About how many tokens ``call`` takes, with an answer of full length."""
        return 0

    def fit_max_tokens(self, call: Call, max_cost: NanoUSD) -> tuple[int, NanoUSD] | None:
        """The largest answer (tokens) that keeps ``call`` within ``max_cost``, and its cost."""
        return None

    async def close(self) -> None:  # noqa: B027 - most agents have nothing to let go of
        """Let go of connections and processes. May be called twice."""

    @classmethod
    def action_problem(cls, spec: AgentSpec, action: str) -> str | None:
        """Why ``action`` cannot be asked of an agent like ``spec``; None if it can."""
        return None

    @classmethod
    def effect_of(cls, spec: AgentSpec, action: str) -> Effect | None:
        """The effect that is known of an action, None if nothing is known."""
        return Effect.NONE if action in cls.pure_actions else None


def find_no_agent(name: str) -> Any:
    """The default of `AgentServices.load_custom`: no custom agent is registered."""
    return None


@dataclass(frozen=True)
class AgentServices:
    """What the registry passes to the function ``make`` of a kind."""

    #: Resolves references to secrets, and removes secrets from texts.
    secrets: Secrets
    #: The HTTP client for addresses that a workflow names; in server mode it refuses private ones.
    egress: Egress
    #: What models cost: `agents.llm.prices.Prices`, or None.
    prices: Any = None
    #: Gives what is registered under a custom name; None if nothing is.
    load_custom: Callable[[str], Any] = find_no_agent


class AgentKind(Protocol):
    """The functions of a module that is an agent kind. The registry calls them and nothing else."""

    def make(self, spec: AgentSpec, services: AgentServices, /) -> BaseAgent:
        """The agent for ``spec``. Raises ConfigurationError if its endpoint makes no sense."""
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


KIND_FUNCTIONS = {
    "make": "make(spec, services)",
    "action_problem": "action_problem(spec, action)",
    "effect_of": "effect_of(spec, action)",
    "parameters": "parameters(spec, action)",
}
"""The functions of `AgentKind`, and how each is written."""


async def execute_via_perform(
    agent: BaseAgent, action: str, parameters: dict[str, Any]
) -> AgentResponse:
    """`execute` for a kind that has its own `perform`: one call outside any run."""
    call = Call(
        run="", task="", attempt=1, key="", agent=agent.name, action=action, parameters=parameters
    )
    reply = await agent.perform(call)
    if reply.fault is not None:
        return AgentResponse(success=False, error=reply.fault.message)
    return AgentResponse(success=True, result=reply.result)


def fault_reply(
    kind: str,
    message: str,
    *,
    retriable: bool = True,
    retry_after: float | None = None,
    counts: bool = True,
) -> Reply:
    """A reply that is a fault; see `core.model.calls.Fault` for the words."""
    fault = Fault(
        kind=kind, message=message, retriable=retriable, retry_after=retry_after, counts=counts
    )
    return Reply(fault=fault)


def status_fault(status: int, headers: Mapping[str, str], text: str) -> Fault:
    """The fault that an HTTP status of 400 or more means. Header names in lower case."""
    message = f"HTTP {status}: {text}".rstrip(": ")
    if status == 429:
        delay = retry_after(headers)
        return Fault(kind="rate_limited", message=message, retry_after=delay, counts=False)
    if status in (503, 529):
        delay = retry_after(headers)
        return Fault(kind="overloaded", message=message, retry_after=delay, counts=status == 503)
    retriable = status >= 500 or status == 408
    kind = "unavailable" if retriable else "refused"
    return Fault(kind=kind, message=message, retriable=retriable, counts=retriable)


def fault_of(error: BaseException) -> Fault:
    """The fault that an exception means which came out of a call. Its message is not scrubbed."""
    if isinstance(error, ConfigurationError | EgressRefused):
        return Fault(kind="refused", message=error.message, retriable=False, counts=False)
    if isinstance(error, APIError):
        return Fault(kind="invalid_reply", message=error.message)
    if isinstance(error, TimeoutError | httpx2.TimeoutException):
        return Fault(kind="timeout", message="Request timeout")
    summary = f"{type(error).__name__}: {error}".partition("\n")[0].rstrip(": ")
    if isinstance(error, ValueError | RecursionError | httpx2.DecodingError):
        return Fault(
            kind="invalid_reply", message=f"the answer is not what it should be: {summary}"
        )
    if isinstance(error, OSError | httpx2.HTTPError):
        return Fault(kind="connection", message=summary)
    message = error.message if isinstance(error, AgentError) else summary
    return Fault(kind="agent_error", message=message, counts=False)


def check_size(value: Any, most: int) -> int:
    """The bytes a value takes as JSON. Raises APIError for too many, ValueError for NaN."""
    size = len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())
    if size > most:
        raise APIError(f"the answer is larger than {most} bytes")
    return size


def get_option(spec: AgentSpec, name: str, default: Any) -> Any:
    """One of the agent's ``custom_params``."""
    options: Mapping[str, Any] = spec.custom_params
    return options.get(name, default)


def login_headers(
    spec: AgentSpec, secrets: Secrets, host: str
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The headers that log in at ``host``, and the names among them. Raises EgressRefused."""
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
    """The headers, if they can be sent. Raises ConfigurationError, which does not show a value.

    What refuses them on the way quotes them in its error, and escaped, so that no scrubbing helps.
    """
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            raise ConfigurationError(
                f"the value of the header '{name}' cannot be sent: it may hold printable ASCII only"
            )
    return dict(headers)


def _resolve_secret(login: Mapping[str, Any], name: str, secrets: Secrets, host: str) -> str:
    return secrets.resolve(str(login.get(name, "")), host).reveal()


def parse_strict_json(text: str) -> Any:
    """JSON without NaN, Infinity or a key that stands twice. Raises ValueError."""
    try:
        return json.loads(
            text, parse_constant=_reject_constant, object_pairs_hook=_reject_duplicates
        )
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("a key stands twice")
    return mapping
