"""The one HTTP client for addresses that a workflow names.

Resolves a name once, checks every address it leads to, connects to the checked one under the
original name, and checks each redirect again (three at most, credentials dropped when the host
changes). In server mode only public addresses may be reached, and those that the operator allows;
an operator's own file may also reach loopback. Proxies of the environment are ignored.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import httpx2

from agenthive.errors import APIError, EgressRefused

MAX_BODY: Final = 10 * 2**20
"""Decoded bytes of an answer, unless the agent says otherwise."""
MAX_REDIRECTS: Final = 3
_REDIRECT: Final = frozenset({301, 302, 303, 307, 308})
_CREDENTIALS: Final = frozenset({"authorization", "cookie", "x-api-key", "proxy-authorization"})
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_SHARED: Final = ipaddress.ip_network("100.64.0.0/10")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class HttpResponse:
    """What came back: ``status``, ``headers`` (lower case) and the decoded ``body``."""

    __slots__ = ("body", "headers", "status", "url")

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes, url: str) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body
        self.url = url


class Egress:
    """Makes requests. ``guarded`` is server mode; ``allow`` holds ``host:port`` exceptions."""

    def __init__(self, *, guarded: bool = False, allow: Iterable[str] = ()) -> None:
        self.guarded = guarded
        self.allow = frozenset(allow)
        self._client: httpx2.AsyncClient | None = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        max_body: int = MAX_BODY,
        private: Iterable[str] = (),
        **body: Any,
    ) -> HttpResponse:
        """One request with its redirects. ``body``: content, json, data or params for httpx2.

        ``private`` names more headers that are credentials and stay with the first host.

        Raises EgressRefused for a destination that is not allowed, APIError for too many redirects
        or too large an answer, and httpx2's own errors for everything on the wire.
        """
        sent_headers = {"accept-encoding": "gzip, deflate", **headers}
        private_headers = _CREDENTIALS | {name.lower() for name in private}
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._send_once(method, url, sent_headers, max_body, body)
            target = response.headers.get("location")
            if response.status not in _REDIRECT or target is None:
                return response
            method, url, sent_headers, body = _follow_redirect(
                method, url, target, response.status, sent_headers, body, private_headers
            )
        raise APIError(f"more than {MAX_REDIRECTS} redirects from {_host_of(url)}")

    async def close(self) -> None:
        """Close the pooled connections. May be called twice."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def make_client(self, max_body: int = MAX_BODY) -> httpx2.AsyncClient:
        """A client for a vendor's package: guarded like every other, no encodings, no redirects."""
        transport = GuardedTransport(self, max_body, plain=True)
        headers = {"accept-encoding": "identity"}
        return httpx2.AsyncClient(
            transport=transport, trust_env=False, follow_redirects=False, headers=headers
        )

    async def admit(self, request: httpx2.Request) -> httpx2.Request:
        """The request as it may be sent: to an address that was checked, under its own name."""
        url = request.url
        if url.scheme not in ("http", "https") or not url.host:
            raise EgressRefused(f"only http and https are called, not '{url.scheme}'")
        if not self.guarded:
            return request
        address = await self._resolve_address(url.scheme, url.host, url.port)
        # A request of its own: whoever asked goes on seeing the name, and redirects lead from it.
        return httpx2.Request(
            request.method,
            url.copy_with(host=str(address)),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": url.host},
        )

    async def _send_once(
        self, method: str, url: str, headers: Mapping[str, str], max_body: int, body: Any
    ) -> HttpResponse:
        client = self._pooled_client()
        client.cookies.clear()  # what one call is given is no business of the next
        request = client.build_request(method, url, headers=headers, **body)
        response = await client.send(request, stream=True)
        try:
            content = await _read_bounded(response, max_body)
        finally:
            await response.aclose()
        return HttpResponse(response.status_code, response.headers, content, url)

    async def _resolve_address(self, scheme: str, host: str, port: int | None) -> Address:
        """The one address to connect to, after every one has been looked at."""
        port_number = port or (443 if scheme == "https" else 80)
        loop = asyncio.get_running_loop()
        try:
            entries = await loop.getaddrinfo(host, port_number, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpx2.ConnectError(f"the name {host} cannot be resolved") from error
        addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in entries]
        if f"{host}:{port_number}" not in self.allow:
            for address in addresses:
                if not is_public(address):
                    raise EgressRefused(
                        f"{host} leads to {address}, which is not a public address",
                        hint=f"An operator may allow it: egress_allow = ['{host}:{port_number}'].",
                    )
        return addresses[0]

    def _pooled_client(self) -> httpx2.AsyncClient:
        if self._client is None:
            # An encoded body may be as large as it likes on the wire: the decoded one is bounded.
            transport = GuardedTransport(self, 2**62, plain=False)
            self._client = httpx2.AsyncClient(
                transport=transport, trust_env=False, follow_redirects=False, timeout=None
            )
        return self._client


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Sends what `Egress.admit` lets through, and reads no more than ``max_body`` bytes.

    ``plain`` refuses encoded answers, whose decoded size nobody has bounded.
    """

    def __init__(self, egress: Egress, max_body: int, *, plain: bool) -> None:
        self._egress, self._max_body, self._plain = egress, max_body, plain
        self._inner = _make_transport(keep=50)
        # Guarded connections are known by their address, and two names may share one: a connection
        # that was opened for one name is not used for another.
        self._unpooled = _make_transport(keep=0)
        self._first_host: str | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Check, send, bound."""
        self._first_host = self._first_host or request.url.host
        is_first_host = not self._egress.guarded or request.url.host == self._first_host
        transport = self._inner if is_first_host else self._unpooled
        response = await transport.handle_async_request(await self._egress.admit(request))
        encoding = response.headers.get("content-encoding", "identity")
        if self._plain and encoding != "identity":
            await response.aclose()
            raise APIError(f"the answer is encoded ({encoding}), which was not asked for")
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _BoundedStream(response.stream, self._max_body)
        return response

    async def aclose(self) -> None:
        """Close the pooled connections."""
        await self._inner.aclose()
        await self._unpooled.aclose()


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, max_bytes: int) -> None:
        self._inner, self._max_bytes = inner, max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._inner:
            size += len(chunk)
            if size > self._max_bytes:
                raise APIError(f"the answer is larger than {self._max_bytes} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


def _make_transport(keep: int) -> httpx2.AsyncHTTPTransport:
    limits = httpx2.Limits(max_connections=200, max_keepalive_connections=keep)
    return httpx2.AsyncHTTPTransport(verify=_ssl_context(), limits=limits, trust_env=False)


@functools.cache
def _ssl_context() -> ssl.SSLContext:
    """Whose certificates are believed. Reading them takes long: once is enough."""
    return httpx2.create_ssl_context(trust_env=False)


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet, whatever it is wrapped in."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if address.teredo is not None or address.is_site_local:
            return False
        if inner is not None:
            return is_public(inner)
    elif address in _SHARED:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _host_of(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _follow_redirect(
    method: str,
    url: str,
    target: str,
    status: int,
    headers: dict[str, str],
    body: Any,
    private_headers: frozenset[str],
) -> tuple[str, str, dict[str, str], Any]:
    """The next request of a redirect. Credentials stay with the host they were meant for."""
    next_url = urljoin(url, target)
    old, new = urlsplit(url), urlsplit(next_url)
    if old.scheme == "https" and new.scheme != "https":
        raise EgressRefused(f"a redirect from https to {new.scheme} is not followed")
    if (old.scheme, _host_of(url)) != (new.scheme, _host_of(next_url)):
        headers = {
            key: value for key, value in headers.items() if key.lower() not in private_headers
        }
    if status == 303 or (status in (301, 302) and method == "POST"):
        method, body = "GET", {}
    return method, next_url, headers, {key: value for key, value in body.items() if key != "params"}


async def _read_bounded(response: httpx2.Response, max_bytes: int) -> bytes:
    """The decoded body, as long as it is not larger than ``max_bytes`` bytes."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.aiter_bytes(64 * 1024):
        size += len(chunk)
        if size > max_bytes:
            raise APIError(f"the answer is larger than {max_bytes} bytes")
        chunks.append(chunk)
    return b"".join(chunks)
