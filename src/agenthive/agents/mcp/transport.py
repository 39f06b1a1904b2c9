"""Confines the failure of one HTTP request of a JSON-RPC session to that request.

The MCP SDK gives up a whole session, with every call in flight, when one connection breaks or one
response is too large. Here the failed request gets a JSON-RPC error as its response instead, with a
message that ``explain`` produces. Never retries, and never hides a failure.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Final, Protocol

import httpx2

from agenthive.agents.faults import DOUBTFUL_STATUSES, TOO_MANY_REQUESTS
from agenthive.errors import APIError, EgressRefused


class HttpRefusal:
    """A response that is no message of the protocol: by its status, or by its content type.

    ``in_session``: the request named a session.
    """

    def __init__(
        self, status: int, headers: Mapping[str, str], text: str, in_session: bool
    ) -> None:
        self.status, self.headers, self.text, self.in_session = status, headers, text, in_session


class Explain(Protocol):
    """From a failure to the message of a JSON-RPC error."""

    def __call__(self, failure: Exception | HttpRefusal, /, *, is_sent: bool) -> str:
        """``is_sent``: the request of the call has been sent, or was by an earlier request."""
        ...


#: Codes of JSON-RPC errors with which a server refuses a request that it did not carry out: invalid
#: request, no such method, invalid parameters.
REFUSED_CODES: Final = frozenset({-32600, -32601, -32602})
#: Content types of a response that the protocol knows.
_MESSAGE_TYPES: Final = ("application/json", "text/event-stream")


class SafeTransport(httpx2.AsyncBaseTransport):
    """Sends requests through ``inner``, and turns failures into JSON-RPC errors."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, explain: Explain) -> None:
        self._inner, self._explain = inner, explain

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request. Its failure is a response with a JSON-RPC error."""
        try:
            response = await self._inner.handle_async_request(request)
        except (EgressRefused, APIError, httpx2.HTTPError) as error:
            # A GET resumes the response to an earlier request.
            return self._error_response(error, is_sent=request.method != "POST")
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _ExplainedBody(response.stream, self._explain)
        if response.status_code >= 300 or _is_strange(request, response):
            return await self._explain_status(request, response)
        return response

    async def aclose(self) -> None:
        """Close the pooled connections."""
        await self._inner.aclose()

    async def _explain_status(
        self, request: httpx2.Request, response: httpx2.Response
    ) -> httpx2.Response:
        status = response.status_code
        in_session = "mcp-session-id" in request.headers
        try:
            body = await response.aread()
        except (httpx2.HTTPError, httpx2.StreamError):
            body = b""
        finally:
            await response.aclose()
        # A gateway's 503 is not taken for a refusal, whatever its body says.
        in_doubt = status >= 500 or status in DOUBTFUL_STATUSES | {TOO_MANY_REQUESTS}
        code = _read_rpc_code(body)
        says_more = code is not None and not (in_doubt and code in REFUSED_CODES)
        if status >= 400 and says_more and not (status == 404 and in_session):
            headers = {"content-type": "application/json"}
            return httpx2.Response(status, headers=headers, content=body)
        headers = {name.lower(): value for name, value in response.headers.items()}
        text = body[:300].decode("utf-8", "replace").strip()
        if status < 400:
            content_type = response.headers.get("content-type", "none")
            text = f"content type {content_type}" if status < 300 else "it is not followed"
        refusal = HttpRefusal(status, headers, text, in_session)
        return self._error_response(refusal, is_sent=request.method != "POST")

    def _error_response(
        self, problem: Exception | HttpRefusal, *, is_sent: bool
    ) -> httpx2.Response:
        error = {"code": -32603, "message": self._explain(problem, is_sent=is_sent)}
        return httpx2.Response(502, json={"jsonrpc": "2.0", "id": None, "error": error})


class _AnswerTooLarge(httpx2.SSEError, httpx2.StreamError):
    """An error that the SDK takes for the failure of one response, be it JSON or a stream."""


class _ExplainedBody(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, explain: Explain) -> None:
        self._inner, self._explain = inner, explain

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._inner:
                yield chunk
        except APIError as error:
            raise _AnswerTooLarge(self._explain(error, is_sent=False)) from error
        except httpx2.HTTPError as error:
            # Not `_AnswerTooLarge`: the SDK may resume a stream that broke off.
            raise httpx2.StreamError(self._explain(error, is_sent=True)) from error

    async def aclose(self) -> None:
        await self._inner.aclose()


def _is_strange(request: httpx2.Request, response: httpx2.Response) -> bool:
    """Whether a successful response to a message is none of the protocol.

    The SDK would report it with the code of an invalid request, as if the server had refused it.
    """
    if request.method != "POST" or not _asks_for_response(request):
        return False
    content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return content_type not in _MESSAGE_TYPES


def _asks_for_response(request: httpx2.Request) -> bool:
    """Whether a message is a request: a notification and a response get none."""
    try:
        message = json.loads(request.content)
    except (ValueError, RecursionError, httpx2.RequestNotRead):
        return True
    return not isinstance(message, dict) or ("id" in message and "method" in message)


def _read_rpc_code(body: bytes) -> int | None:
    """The code of a JSON-RPC error, which explains more than the status; None if it is none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    error = value.get("error") if isinstance(value, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) else None
