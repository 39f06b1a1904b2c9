"""Confines the failure of one HTTP request of a JSON-RPC session to that request.

The MCP SDK gives up a whole session, with every call in flight, when one connection breaks or one
response is too large. Here the failed request gets a JSON-RPC error as its response instead, with a
message that ``explain`` produces. Never retries, and never hides a failure.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping

import httpx2

from agenthive.errors import APIError, EgressRefused


class HttpRefusal:
    """A response with a status of 400 or more. ``in_session``: the request named a session."""

    def __init__(
        self, status: int, headers: Mapping[str, str], text: str, in_session: bool
    ) -> None:
        self.status, self.headers, self.text, self.in_session = status, headers, text, in_session


#: From a failure to the message of a JSON-RPC error.
Explain = Callable[[Exception | HttpRefusal], str]


class SafeTransport(httpx2.AsyncBaseTransport):
    """Sends requests through ``inner``, and turns failures into JSON-RPC errors."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, explain: Explain) -> None:
        self._inner, self._explain = inner, explain

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request. Its failure is a response with a JSON-RPC error."""
        try:
            response = await self._inner.handle_async_request(request)
        except (EgressRefused, APIError, httpx2.HTTPError) as error:
            return self._error_response(error)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _ExplainedBody(response.stream, self._explain)
        if response.status_code >= 400:
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
        if _is_rpc_error(body) and not (status == 404 and in_session):
            headers = {"content-type": "application/json"}
            return httpx2.Response(status, headers=headers, content=body)
        headers = {name.lower(): value for name, value in response.headers.items()}
        text = body[:300].decode("utf-8", "replace").strip()
        return self._error_response(HttpRefusal(status, headers, text, in_session))

    def _error_response(self, problem: Exception | HttpRefusal) -> httpx2.Response:
        error = {"code": -32603, "message": self._explain(problem)}
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
            raise _AnswerTooLarge(self._explain(error)) from error
        except httpx2.HTTPError as error:
            # Not `_AnswerTooLarge`: the SDK may resume a stream that broke off.
            raise httpx2.StreamError(self._explain(error)) from error

    async def aclose(self) -> None:
        await self._inner.aclose()


def _is_rpc_error(body: bytes) -> bool:
    """Whether a body is a JSON-RPC error, which explains more than the HTTP status."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return False
    error = value.get("error") if isinstance(value, dict) else None
    return isinstance(error, dict) and isinstance(error.get("code"), int)
