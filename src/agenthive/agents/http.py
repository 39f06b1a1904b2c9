"""An HTTP API: fetch, request, ping.

One request an attempt. Actions: ``fetch`` (GET by default), ``request`` (any method), ``ping``
(does it answer?). Parameters: method, endpoint (joined to the agent's), query, headers, and one of
json, form, body. A JSON answer is decoded strictly; what is too large is refused. Status 429 and
5xx may be tried again, other 4xx may not. The idempotency key goes along in a header. Never retries
by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit, urlunsplit

import httpx2
import msgspec

from agenthive.agents.base import (
    AgentResponse,
    AgentServices,
    AgentType,
    BaseAgent,
    check_headers,
    execute_via_perform,
    fault_of,
    fault_reply,
    get_option,
    login_headers,
    parse_strict_json,
    status_fault,
)
from agenthive.core.model.calls import Call, Reply
from agenthive.core.model.workflow import AgentSpec, Effect
from agenthive.core.values import JSONObject
from agenthive.errors import ConfigurationError
from agenthive.infra.egress import MAX_BODY, Egress, HttpResponse
from agenthive.infra.secrets import Secrets

ACTIONS: Final = ("fetch", "ping", "request")
READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
METHODS: Final = READS | {"POST", "PUT", "PATCH", "DELETE"}
PARAMETERS: Final[JSONObject] = {
    "type": "object",
    "properties": {
        "method": {"type": "string"},
        "endpoint": {"type": "string"},
        "query": {"type": "object"},
        "headers": {"type": "object"},
        "json": {},
        "form": {"type": "object"},
        "body": {"type": "string"},
    },
    "additionalProperties": False,
}
_FRAMING: Final = frozenset(
    {"connection", "content-length", "host", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""Headers that say where a message goes and where it ends."""
_CANNOT_ASK: Final = (httpx2.InvalidURL, httpx2.LocalProtocolError, TypeError, ValueError)


class HttpAgent(BaseAgent):
    """Calls one HTTP API."""

    kind: ClassVar[str] = AgentType.HTTP_API
    pure_actions: ClassVar[frozenset[str]] = frozenset({"ping"})

    def __init__(self, config: AgentSpec, secrets: Secrets, egress: Egress) -> None:
        super().__init__(config)
        self._secrets = secrets
        self._egress = Egress(guarded=egress.guarded, allow=egress.allow)
        self._max_body = int(get_option(config, "max_body", MAX_BODY))
        self._key_header = str(get_option(config, "idempotency_header", "Idempotency-Key")).lower()
        self._user_agent = str(get_option(config, "user_agent", "agenthive"))

    async def execute(self, action: str, parameters: dict[str, Any]) -> AgentResponse:
        """Make the request outside any run."""
        return await execute_via_perform(self, action, parameters)

    async def perform(self, call: Call) -> Reply:
        """Make the request with the call's idempotency key."""
        action, parameters = call.action, call.parameters
        try:
            method = str(parameters.get("method", "GET")).upper()
            if action not in ACTIONS or method not in METHODS:
                return fault_reply(
                    "refused", f"an HTTP API has no {action} {method}", retriable=False
                )
            url = _join_url(self.config.endpoint, str(parameters.get("endpoint", "")))
            headers, private = self._build_headers(call, urlsplit(url).netloc)
            response = await self._egress.request(
                method,
                url,
                headers=headers,
                max_body=self._max_body,
                private=private,
                **_build_body(parameters),
            )
        except _CANNOT_ASK as error:
            reason = self._secrets.scrub(f"cannot ask: {error}")
            return fault_reply("refused", reason, retriable=False, counts=False)
        except Exception as error:
            fault = fault_of(error)
            host = urlsplit(self.config.endpoint).netloc.rpartition("@")[2]
            message = self._secrets.scrub(f"{host}: {fault.message}")
            return Reply(fault=msgspec.structs.replace(fault, message=message))
        return self._build_reply(action, response)

    def _build_headers(self, call: Call, host: str) -> tuple[dict[str, str], tuple[str, ...]]:
        """What is sent along, and the names among it that stay with this host."""
        supplied: Any = call.parameters.get("headers") or {}
        task_headers = {
            str(name).lower(): self._secrets.resolve_allowed(str(value), call.references, host)
            for name, value in dict(supplied).items()
        }
        if reserved := _FRAMING & task_headers.keys():
            raise ValueError(f"the header '{min(reserved)}' is not for a task to set")
        login, private = login_headers(self.config, self._secrets, host)
        headers = {"user-agent": self._user_agent, self._key_header: call.key, **task_headers}
        headers.update({name.lower(): value for name, value in login.items()})
        nonempty = {name: value for name, value in headers.items() if value}
        return check_headers(nonempty), (*private, *task_headers)

    def _build_reply(self, action: str, response: HttpResponse) -> Reply:
        if response.status >= 400:
            # Scrubbed before it is cut: a part of a secret is not found.
            text = self._secrets.scrub(response.body.decode("utf-8", "replace").strip())[:300]
            fault = status_fault(response.status, response.headers, text)
            return Reply(fault=fault)
        if action == "ping":
            return Reply(result={"status": response.status})
        try:
            return Reply(result=self._secrets.scrub_value(decode(response)))
        except ValueError as error:
            return fault_reply("invalid_reply", f"the answer is not what it says it is: {error}")

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._egress.close()


def make(spec: AgentSpec, services: AgentServices) -> BaseAgent:
    """The agent for a spec."""
    if urlsplit(spec.endpoint).scheme not in ("http", "https"):
        raise ConfigurationError(
            f"agent '{spec.name}': '{spec.endpoint}' is not an http or https address"
        )
    return HttpAgent(spec, services.secrets, services.egress)


def action_problem(spec: AgentSpec, action: str) -> str | None:
    """Why an action cannot be asked of an HTTP API."""
    if action in ACTIONS:
        return None
    return f"an HTTP API has no action '{action}'; it has {', '.join(ACTIONS)}"


def effect_of(spec: AgentSpec, action: str) -> Effect | None:
    """A ping changes nothing; of the others nothing is known before the method is."""
    return Effect.NONE if action in HttpAgent.pure_actions else None


def parameters(spec: AgentSpec, action: str) -> JSONObject | None:
    """What a request is made of; anything else would be left out."""
    return PARAMETERS


def _join_url(base: str, path: str) -> str:
    """The agent's address with a path of the task's; another host cannot be named."""
    if not path:
        return base
    base_parts = urlsplit(base)
    if "://" in path or path.startswith("//"):
        target = urlsplit(path)
        if (base_parts.scheme, base_parts.netloc) != (target.scheme, target.netloc):
            raise ConfigurationError(
                f"the endpoint of a task stays at its agent's {base_parts.netloc}"
            )
        return path
    relative_path, _, query = path.partition("?")
    full_path = f"{base_parts.path.rstrip('/')}/{relative_path.lstrip('/')}"
    full_query = "&".join(part for part in (base_parts.query, query) if part)
    return urlunsplit((base_parts.scheme, base_parts.netloc, full_path, full_query, ""))


def _build_body(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What httpx2 takes for the query and the body. Raises ValueError for what is neither."""
    kinds = [name for name in ("json", "form", "body") if parameters.get(name) is not None]
    if len(kinds) > 1:
        raise ValueError(f"a request has one body, not {' and '.join(kinds)}")
    for name in ("query", "form"):
        if not isinstance(parameters.get(name) or {}, dict):
            raise ValueError(f"'{name}' must be an object")
    arguments: dict[str, Any] = {}
    if parameters.get("query"):
        arguments["params"] = parameters["query"]
    if "json" in kinds:
        arguments["json"] = parameters["json"]
    elif "form" in kinds:
        arguments["data"] = parameters["form"]
    elif "body" in kinds:
        arguments["content"] = str(parameters["body"]).encode()
    return arguments


def decode(response: HttpResponse) -> Any:
    """The body: JSON where the answer says so, else text. Raises ValueError."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    text = response.body.decode("utf-8", "replace")
    if kind == "application/json" or kind.endswith("+json"):
        return parse_strict_json(text) if text.strip() else None
    return text
