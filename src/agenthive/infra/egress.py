"""The one HTTP client for addresses that a workflow names.

In server mode (``guarded``) a workflow's author is not the operator, so a request must not reach
the operator's own network (server-side request forgery). For each request:

1. Resolve the name of the host once.
2. Check every address of it: all must be public (`is_public`), unless the operator has listed
   ``host:port`` in the setting ``egress_allow``.
3. Connect to the first checked address, with the original name for TLS and in the Host header.
   Resolving a second time would let a DNS server answer differently after the check.
4. Repeat this for each redirect, at most `MAX_REDIRECTS` times. Headers with credentials are
   dropped when the host changes, and a redirect from https to http is refused.

In operator mode every http and https address may be reached. In both modes a response is read only
up to a bound, and proxies of the environment are ignored. Never retries, and never keeps cookies.
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

from agenthive.errors import APIError, ConfigurationError, EgressRefused, ResultTooLarge

#: The largest response in decoded bytes, unless the agent sets another bound.
MAX_BODY: Final = 10 * 2**20
MAX_REDIRECTS: Final = 3
_REDIRECT: Final = frozenset({301, 302, 303, 307, 308})
#: Headers that always stay with the first host.
_CREDENTIALS: Final = frozenset({"authorization", "cookie", "x-api-key", "proxy-authorization"})
#: IPv6 addresses that hold an IPv4 address in their last 32 bits (RFC 6052).
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
#: Addresses between internet providers and their customers (RFC 6598).
_SHARED: Final = ipaddress.ip_network("100.64.0.0/10")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class HttpResponse:
    """A response: ``status``, ``headers`` (names in lower case), the decoded ``body``, ``url``."""

    __slots__ = ("body", "headers", "status", "url")

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes, url: str) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body
        self.url = url


class Egress:
    """Sends requests. ``guarded`` is server mode; ``allow`` holds ``host:port`` exceptions."""

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
        redirects: list[int] | None = None,
        **body: Any,
    ) -> HttpResponse:
        """Send a request, and follow its redirects.

        ``max_body`` is the largest response in decoded bytes. ``private`` names further headers
        that hold credentials and stay with the first host. The status of each redirect that is
        followed is added to ``redirects``, also if an error follows: a server has had the request
        then. ``body`` holds httpx2's arguments ``content``, ``json``, ``data`` or ``params``.

        Raises ConfigurationError for a request that cannot be built, EgressRefused for a
        destination that is not allowed, APIError for too many redirects, ResultTooLarge for a
        response that is too large, and httpx2's own errors for failures of the connection.
        """
        sent_headers = {"accept-encoding": "gzip, deflate", **headers}
        private_headers = _CREDENTIALS | {name.lower() for name in private}
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._send_once(method, url, sent_headers, max_body, body)
            target = response.headers.get("location")
            if response.status not in _REDIRECT or target is None:
                return response
            if redirects is not None:
                redirects.append(response.status)
            method, url, sent_headers, body = _follow_redirect(
                method, url, target, response.status, sent_headers, body, private_headers
            )
        raise APIError(
            f"more than {MAX_REDIRECTS} redirects, the last one from {_host_of(url)}",
            hint="Write the final address as the agent's endpoint.",
        )

    async def close(self) -> None:
        """Close the pooled connections. May be called twice."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def make_client(self, max_body: int = MAX_BODY) -> httpx2.AsyncClient:
        """A client for a vendor's package, with the same guard. It follows no redirects.

        It requests no encoding, so that ``max_body`` also bounds the decoded size.
        """
        transport = GuardedTransport(self, max_body, plain=True)
        headers = {"accept-encoding": "identity"}
        return httpx2.AsyncClient(
            transport=transport, trust_env=False, follow_redirects=False, headers=headers
        )

    async def admit(self, request: httpx2.Request) -> httpx2.Request:
        """The request as it may be sent: to a checked address, with the original host name.

        Raises EgressRefused.
        """
        url = request.url
        if url.scheme not in ("http", "https"):
            raise EgressRefused(f"only http and https addresses may be called, not '{url.scheme}'")
        if not url.host:
            raise EgressRefused("the address names no host; write https://HOST/PATH")
        if not self.guarded:
            return request
        address = await self._resolve_address(url.scheme, url.host, url.port)
        # A new request: the caller's own must keep the name, because redirects are relative to it.
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
        client.cookies.clear()  # Cookies of one call must not reach the next one.
        try:
            request = client.build_request(method, url, headers=headers, **body)
        except (httpx2.InvalidURL, TypeError, ValueError) as error:
            raise ConfigurationError(f"the request cannot be sent: {error}") from None
        response = await client.send(request, stream=True)
        try:
            content = await _read_bounded(response, max_body)
        finally:
            await response.aclose()
        return HttpResponse(response.status_code, response.headers, content, url)

    async def _resolve_address(self, scheme: str, host: str, port: int | None) -> Address:
        """The address to connect to, after all addresses of the host have been checked."""
        port_number = port or (443 if scheme == "https" else 80)
        loop = asyncio.get_running_loop()
        try:
            entries = await loop.getaddrinfo(host, port_number, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpx2.ConnectError(f"the host name {host} cannot be resolved") from error
        addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in entries]
        if f"{host}:{port_number}" not in self.allow:
            for address in addresses:
                if not is_public(address):
                    raise EgressRefused(
                        f"{host} resolves to {address}, which is not a public address; server mode "
                        "reaches only public ones",
                        hint=f"An operator may allow it: egress_allow = ['{host}:{port_number}'].",
                    )
        return addresses[0]

    def _pooled_client(self) -> httpx2.AsyncClient:
        if self._client is None:
            # No bound on the encoded size: `_read_bounded` bounds the decoded one.
            transport = GuardedTransport(self, 2**62, plain=False)
            self._client = httpx2.AsyncClient(
                transport=transport, trust_env=False, follow_redirects=False, timeout=None
            )
        return self._client


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Sends the requests that `Egress.admit` allows, and reads at most ``max_body`` bytes of each.

    ``plain`` refuses compressed responses, because their decoded size would have no bound.
    """

    def __init__(self, egress: Egress, max_body: int, *, plain: bool) -> None:
        self._egress, self._max_body, self._plain = egress, max_body, plain
        self._inner = _make_transport(keep=50)
        # The pool finds a guarded connection by its address, and two host names may share one. A
        # connection that was opened (and verified) for one name must not serve another, so only the
        # first host is pooled.
        self._unpooled = _make_transport(keep=0)
        self._first_host: str | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Check a request, send it, and bound its response."""
        self._first_host = self._first_host or request.url.host
        is_first_host = not self._egress.guarded or request.url.host == self._first_host
        transport = self._inner if is_first_host else self._unpooled
        response = await transport.handle_async_request(await self._egress.admit(request))
        encoding = response.headers.get("content-encoding", "identity")
        if self._plain and encoding != "identity":
            await response.aclose()
            raise APIError(f"the response is compressed ({encoding}), which was not requested")
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _BoundedStream(
            response.stream, self._max_body, cut=response.status_code >= 400
        )
        return response

    async def aclose(self) -> None:
        """Close the pooled connections."""
        await self._inner.aclose()
        await self._unpooled.aclose()


class _BoundedStream(httpx2.AsyncByteStream):
    """``cut``: a body that is too large is cut; the text of an error says enough."""

    def __init__(self, inner: httpx2.AsyncByteStream, max_bytes: int, *, cut: bool) -> None:
        self._inner, self._max_bytes, self._cut = inner, max_bytes, cut

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._inner:
            size += len(chunk)
            if size > self._max_bytes and self._cut:
                yield chunk[: self._max_bytes - size]
                return
            if size > self._max_bytes:
                raise ResultTooLarge(f"the response is larger than {self._max_bytes} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


def _make_transport(keep: int) -> httpx2.AsyncHTTPTransport:
    limits = httpx2.Limits(max_connections=200, max_keepalive_connections=keep)
    return httpx2.AsyncHTTPTransport(verify=_ssl_context(), limits=limits, trust_env=False)


@functools.cache
def _ssl_context() -> ssl.SSLContext:
    """The trusted certificates. Loading them is slow, so it is done once in a process."""
    return httpx2.create_ssl_context(trust_env=False)


def is_public(address: Address) -> bool:
    """Whether an address is on the public internet. IPv4 addresses within IPv6 ones are checked."""
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
    """The request that follows a redirect: method, address, headers, body. Raises EgressRefused.

    The change of method is that of RFC 9110, section 15.4, as browsers do it.
    """
    next_url = urljoin(url, target)
    old, new = urlsplit(url), urlsplit(next_url)
    if old.scheme == "https" and new.scheme != "https":
        raise EgressRefused(
            f"a redirect from https to {new.scheme} is not followed: it would send the request "
            "without encryption"
        )
    if (old.scheme, _host_of(url)) != (new.scheme, _host_of(next_url)):
        headers = {
            key: value for key, value in headers.items() if key.lower() not in private_headers
        }
    if status == 303 or (status in (301, 302) and method == "POST"):
        method, body = "GET", {}
    return method, next_url, headers, {key: value for key, value in body.items() if key != "params"}


async def _read_bounded(response: httpx2.Response, max_bytes: int) -> bytes:
    """The decoded body. One that is larger than ``max_bytes`` raises ResultTooLarge.

    That of an error is cut instead, also where it breaks off or cannot be decoded: its status says
    what happened.
    """
    chunks: list[bytes] = []
    size = 0
    is_error = response.status_code >= 400
    try:
        async for chunk in response.aiter_bytes(64 * 1024):
            size += len(chunk)
            if size > max_bytes and is_error:
                break
            if size > max_bytes:
                raise ResultTooLarge(f"the response is larger than {max_bytes} bytes")
            chunks.append(chunk)
    except httpx2.HTTPError:
        if not is_error:
            raise
    return b"".join(chunks)
