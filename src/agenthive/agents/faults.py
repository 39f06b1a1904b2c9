"""Faults of calls, each with its class: what is certain about a call that did not succeed.

A fault gets its class here, or in the agent that makes it, because only there is it known whether a
request was sent. `build_fault` makes one, `status_fault` is for an HTTP status, `fault_of` for an
exception. When in doubt, the class is `FaultClass.UNKNOWN`: a call that may have acted is never
taken for one that did not. The table is in ``docs/explanation/effects.md``. Nothing here retries.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import httpx2
import msgspec

from agenthive.core.model.calls import Fault, Reply
from agenthive.core.policies.fault_classes import BREAKER_CLASSES, FaultClass
from agenthive.errors import (
    AgentError,
    AgentHiveError,
    APIError,
    ConfigurationError,
    EgressRefused,
    ResultTooLarge,
    SecretMissing,
)
from agenthive.infra.retry_after import retry_after

#: Statuses of 4xx after which the server may have carried the request out: the request took too
#: long, conflicts with another, came too early, or the client had gone.
DOUBTFUL_STATUSES: Final = frozenset({408, 409, 425, 499})
TOO_MANY_REQUESTS: Final = 429
#: Domains whose documentation says that a request with the response 429 was not carried out:
#: platform.openai.com/docs/guides/rate-limits, docs.anthropic.com/en/api/rate-limits.
DOCUMENTED_DOMAINS: Final = ("openai.com", "anthropic.com")
#: Errors of a connection that was not made; no byte of a request has been sent.
_NOT_CONNECTED: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
#: Options under ``custom_params``: the statuses that a service documents as "not carried out".
REFUSED_STATUSES: Final = "refused_statuses"


class CallFailed(AgentError):
    """A call that did not succeed, with the ``fault`` that says so."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def build_fault(
    kind: str,
    message: str,
    class_: FaultClass,
    *,
    retriable: bool = True,
    retry_after: float | None = None,
    counts: bool | None = None,
) -> Fault:
    """A fault. `core.model.calls.Fault` explains the fields; ``retry_after`` is seconds.

    ``retriable`` is False only where another attempt would certainly fail in the same way.
    ``counts``: whether the circuit breaker counts it; None: as its class says.
    """
    return Fault(
        kind=kind,
        message=message,
        retriable=retriable,
        retry_after=retry_after,
        counts=class_ in BREAKER_CLASSES if counts is None else counts,
        class_=class_,
    )


def fault_reply(
    kind: str,
    message: str,
    class_: FaultClass,
    *,
    retriable: bool = True,
    retry_after: float | None = None,
    counts: bool | None = None,
) -> Reply:
    """A reply that holds a fault, as `build_fault` makes it."""
    fault = build_fault(
        kind, message, class_, retriable=retriable, retry_after=retry_after, counts=counts
    )
    return Reply(fault=fault)


def status_fault(
    status: int, headers: Mapping[str, str], text: str, refused: Collection[int] = ()
) -> Fault:
    """The fault for an HTTP status of 300 or more. Header names are in lower case.

    A 4xx says that the server did nothing, except for `DOUBTFUL_STATUSES` and 429. ``refused``
    holds the statuses that the service documents as "not carried out": `find_refused_statuses`.
    """
    message = f"HTTP {status}: {text}".rstrip(": ")
    is_refusal = 400 <= status < 500 and status not in DOUBTFUL_STATUSES | {TOO_MANY_REQUESTS}
    class_ = FaultClass.REFUSED if is_refusal or status in refused else FaultClass.UNKNOWN
    if status == TOO_MANY_REQUESTS:
        return build_fault("rate_limited", message, class_, retry_after=retry_after(headers))
    if status in (503, 529):
        return build_fault("overloaded", message, class_, retry_after=retry_after(headers))
    if is_refusal:
        return build_fault("refused", message, class_, retriable=False)
    if status < 400:
        # A redirect that is not followed. The server may have acted before it.
        reason = message if text else f"{message}: a redirect that is not followed"
        return build_fault("invalid_reply", reason, class_)
    return build_fault("unavailable", message, class_)


def find_refused_statuses(options: Mapping[str, Any], host: str) -> frozenset[int]:
    """The statuses that the service at ``host`` documents as "not carried out".

    The vendors in `DOCUMENTED_DOMAINS` document 429; ``custom_params.refused_statuses`` declares
    others. Raises ConfigurationError if that is not a list of statuses.
    """
    declared = options.get(REFUSED_STATUSES, [])
    are_statuses = isinstance(declared, list) and all(
        type(status) is int and 400 <= status < 600 for status in declared
    )
    if not are_statuses:
        raise ConfigurationError(
            f"custom_params.{REFUSED_STATUSES} must be a list of HTTP statuses between 400 and "
            f"599, not {declared!r}",
            hint="List the statuses after which the service has certainly done nothing: [429].",
        )
    documents_429 = any(
        host == domain or host.endswith(f".{domain}") for domain in DOCUMENTED_DOMAINS
    )
    return frozenset([*declared, *([TOO_MANY_REQUESTS] if documents_429 else [])])


def fault_of(error: BaseException) -> Fault:
    """The fault for an exception that a call raised. Its message may still contain secrets."""
    if isinstance(error, CallFailed):
        return error.fault
    if isinstance(error, ConfigurationError | EgressRefused):
        # What is missing on our side says nothing about the endpoint.
        is_final = not isinstance(error, SecretMissing)
        message = _message_and_hint(error)
        return build_fault(
            "refused", message, FaultClass.NOT_SENT, retriable=not is_final, counts=False
        )
    if isinstance(error, ResultTooLarge):
        return build_fault("invalid_reply", _message_and_hint(error), FaultClass.BAD_END)
    if isinstance(error, APIError):
        return build_fault("invalid_reply", _message_and_hint(error), FaultClass.UNKNOWN)
    class_ = FaultClass.NOT_SENT if isinstance(error, _NOT_CONNECTED) else FaultClass.UNKNOWN
    if isinstance(error, TimeoutError | httpx2.TimeoutException):
        return build_fault("timeout", "Request timeout", class_)
    summary = summarise_error(error)
    if isinstance(error, ValueError | RecursionError | httpx2.DecodingError):
        return build_fault("invalid_reply", f"the response is not valid: {summary}", class_)
    if isinstance(error, OSError | httpx2.HTTPError):
        return build_fault("connection", summary, class_)
    return exception_fault(error)


def exception_fault(error: BaseException) -> Fault:
    """The fault for an exception of code that acts by itself, such as a user's function."""
    message = error.message if isinstance(error, AgentError) else summarise_error(error)
    is_unwritten = isinstance(error, NotImplementedError)
    class_ = FaultClass.BAD_END if is_unwritten else FaultClass.UNKNOWN
    return build_fault("agent_error", message, class_)


def arguments_fault(
    error: TypeError, function: Callable[..., Any], *values: Any, **named: Any
) -> Fault | None:
    """The fault of a function that cannot be called with these arguments; None if it can.

    A TypeError from inside the function is another matter: then the function ran.
    """
    try:
        inspect.signature(function, follow_wrapped=False).bind(*values, **named)
    except TypeError:
        name = getattr(function, "__qualname__", repr(function))
        message = f"{name} cannot be called with the arguments it receives: {read_text(error)}"
        return build_fault("refused", message, FaultClass.BAD_END, retriable=False)
    except ValueError:
        return None  # A builtin without a signature.
    return None


def doubt(fault: Fault) -> Fault:
    """The fault with the class UNKNOWN: an earlier request of the same call may have acted."""
    retriable = fault.retriable or fault.class_ is FaultClass.REFUSED
    return msgspec.structs.replace(fault, class_=FaultClass.UNKNOWN, retriable=retriable)


def summarise_error(error: BaseException) -> str:
    """The type and the first line of an exception."""
    return f"{type(error).__name__}: {read_text(error)}".partition("\n")[0].rstrip(": ")


def read_text(error: BaseException) -> str:
    """The text of an exception, whose own class may be unable to tell it."""
    try:
        return str(error)
    except BaseException:  # Whatever it raises says less than the exception itself.
        return "its text cannot be read"


def _message_and_hint(error: AgentHiveError) -> str:
    """The message of an error with its hint: a fault has one text for both."""
    return f"{error.message}. {error.hint}" if error.hint else error.message
