"""An HTTP API: fetch, request, ping.

Each attempt is one request. Actions: ``fetch`` (GET by default), ``request`` (any method), ``ping``
(whether the API responds). Parameters: method, endpoint (joined to the agent's address), query,
headers, and one of json, form, body. A JSON body in the response is decoded strictly; a response
that is too large is refused. `agents.faults` says what is certain after a status or an error; after
a redirect, an earlier server may have acted too. The idempotency key is sent in a header. Never
retries by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit, urlunsplit

import msgspec

from agenthive.agents.base import (
    AgentResponse,
    AgentServices,
    AgentType,
    BaseAgent,
    check_headers,
    execute_via_perform,
    get_option,
    login_headers,
    parse_strict_json,
)
from agenthive.agents.faults import (
    doubt,
    fault_of,
    fault_reply,
    find_refused_statuses,
    status_fault,
)
from agenthive.core.model.calls import Call, Fault, Reply
from agenthive.core.model.workflow import AgentSpec, Effect
from agenthive.core.policies.fault_classes import FaultClass
from agenthive.core.values import JSONObject
from agenthive.errors import ConfigurationError
from agenthive.infra.egress import MAX_BODY, Egress, HttpResponse
from agenthive.infra.secrets import Secrets

ACTIONS: Final = ("fetch", "ping", "request")
READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
METHODS: Final = READS | {"POST", "PUT", "PATCH", "DELETE"}
#: JSON Schema of the parameters of every action.
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
#: Headers that address and frame a message. A task that set them could reach another host, or
#: make the server read the rest of the request as a second one (request smuggling).
_FRAMING: Final = frozenset(
    {"connection", "content-length", "host", "te", "trailer", "transfer-encoding", "upgrade"}
)
NOT_MODIFIED: Final = 304
"""The good answer to a read that names the version it has; it has no body."""
#: Redirects that a server sends also after it has carried a request out.
_MAYBE_DONE: Final = frozenset({301, 302, 303})


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
        host = urlsplit(config.endpoint).hostname or ""
        self._refused_statuses = find_refused_statuses(config.custom_params, host)

    async def execute(self, action: str, parameters: dict[str, Any]) -> AgentResponse:
        """Send the request outside any run."""
        return await execute_via_perform(self, action, parameters)

    async def perform(self, call: Call) -> Reply:
        """Send the request with the call's idempotency key."""
        action, parameters = call.action, call.parameters
        method = str(parameters.get("method", "GET")).upper()
        if action not in ACTIONS or method not in METHODS:
            reason = f"an HTTP API has no action '{action}' with the method '{method}'"
            return _unsendable_reply(reason)
        #: The statuses of the redirects that were followed.
        redirects: list[int] = []
        try:
            url = _join_url(self.config.endpoint, str(parameters.get("endpoint", "")))
            headers, private = self._build_headers(call, urlsplit(url).netloc)
            body = _build_body(parameters)
        except (TypeError, ValueError) as error:
            return _unsendable_reply(self._secrets.scrub(f"the request cannot be sent: {error}"))
        except Exception as error:
            return self._fault_reply(fault_of(error))
        try:
            response = await self._egress.request(
                method,
                url,
                headers=headers,
                max_body=self._max_body,
                private=private,
                redirects=redirects,
                **body,
            )
        except Exception as error:
            fault = fault_of(error)
            return self._fault_reply(doubt(fault) if redirects else fault)
        is_unchanged = response.status == NOT_MODIFIED and method in READS
        if response.status >= 300 and not is_unchanged:
            fault = self._status_fault(response)
            may_have_acted = method not in READS and _MAYBE_DONE.intersection(redirects)
            return Reply(fault=doubt(fault) if may_have_acted else fault)
        return self._build_reply(action, response)

    def _fault_reply(self, fault: Fault) -> Reply:
        host = urlsplit(self.config.endpoint).netloc.rpartition("@")[2]
        message = self._secrets.scrub(f"{host}: {fault.message}")
        return Reply(fault=msgspec.structs.replace(fault, message=message))

    def _status_fault(self, response: HttpResponse) -> Fault:
        # Scrub before cutting: `scrub` does not recognise a part of a secret.
        text = self._secrets.scrub(response.body.decode("utf-8", "replace").strip())[:300]
        return status_fault(response.status, response.headers, text, self._refused_statuses)

    def _build_headers(self, call: Call, host: str) -> tuple[dict[str, str], tuple[str, ...]]:
        """The headers to send, and the names of those that a redirect to another host drops."""
        supplied: Any = call.parameters.get("headers") or {}
        task_headers = {
            str(name).lower(): self._secrets.resolve_allowed(str(value), call.references, host)
            for name, value in dict(supplied).items()
        }
        if reserved := _FRAMING & task_headers.keys():
            raise ValueError(f"a task must not set the header '{min(reserved)}'")
        login, private = login_headers(self.config, self._secrets, host)
        headers = {"user-agent": self._user_agent, self._key_header: call.key, **task_headers}
        headers.update({name.lower(): value for name, value in login.items()})
        nonempty = {name: value for name, value in headers.items() if value}
        return check_headers(nonempty), (*private, *task_headers)

    def _build_reply(self, action: str, response: HttpResponse) -> Reply:
        if action == "ping":
            return Reply(result={"status": response.status})
        try:
            return Reply(result=self._secrets.scrub_value(decode(response)))
        except ValueError as error:
            return fault_reply(
                "invalid_reply",
                f"the response is declared as JSON and cannot be decoded: {error}",
                FaultClass.UNKNOWN,
            )

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._egress.close()


def make(spec: AgentSpec, services: AgentServices) -> BaseAgent:
    """The agent for a spec. Raises ConfigurationError if its endpoint is not an HTTP address."""
    if urlsplit(spec.endpoint).scheme not in ("http", "https"):
        raise ConfigurationError(
            f"agent '{spec.name}': '{spec.endpoint}' is not an http or https address"
        )
    return HttpAgent(spec, services.secrets, services.egress)


def action_problem(spec: AgentSpec, action: str) -> str | None:
    """Why an HTTP API cannot perform an action; None if it can."""
    if action in ACTIONS:
        return None
    return f"an HTTP API has no action '{action}'; it has {', '.join(ACTIONS)}"


def effect_of(spec: AgentSpec, action: str) -> Effect | None:
    """A ping only reads. The effect of the other actions depends on the method of each call."""
    return Effect.NONE if action in HttpAgent.pure_actions else None


def parameters(spec: AgentSpec, action: str) -> JSONObject | None:
    """The parameters of a request, the same for all actions; others would be ignored."""
    return PARAMETERS


def _unsendable_reply(reason: str) -> Reply:
    """The reply to a task whose parameters make no request."""
    return fault_reply("refused", reason, FaultClass.NOT_SENT, retriable=False, counts=False)


def _join_url(base: str, path: str) -> str:
    """The agent's address with the task's path. Raises ConfigurationError for another host."""
    if not path:
        return base
    base_parts = urlsplit(base)
    if "://" in path or path.startswith("//"):
        target = urlsplit(path)
        if (base_parts.scheme, base_parts.netloc) != (target.scheme, target.netloc):
            raise ConfigurationError(
                f"the task's endpoint must be at the host of its agent, {base_parts.netloc}"
            )
        return path
    relative_path, _, query = path.partition("?")
    full_path = f"{base_parts.path.rstrip('/')}/{relative_path.lstrip('/')}"
    full_query = "&".join(part for part in (base_parts.query, query) if part)
    return urlunsplit((base_parts.scheme, base_parts.netloc, full_path, full_query, ""))


def _build_body(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The query and the body as arguments of httpx2. Raises ValueError if they are malformed."""
    kinds = [name for name in ("json", "form", "body") if parameters.get(name) is not None]
    if len(kinds) > 1:
        raise ValueError(f"a request has one body; the parameters name {' and '.join(kinds)}")
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
    """The body of a response: JSON if its content type says so, else text. Raises ValueError."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    text = response.body.decode("utf-8", "replace").removeprefix("\ufeff")
    if kind == "application/json" or kind.endswith("+json"):
        return parse_strict_json(text) if text.strip() else None
    return text
