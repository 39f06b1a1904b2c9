"""The one HTTP client for addresses that a workflow names: where it goes, and where it does not."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agenthive.errors import APIError, ConfigurationError, EgressRefused
from agenthive.infra import egress
from agenthive.infra.egress import Egress, is_public
from tests.agents.peers import free_port
from tests.agents.wire import Seen, Wire

PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "64:ff9b::101:101", "2002:101:101::"]
PRIVATE = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::",
    "2002:c0a8:101::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "100::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as one:
        yield one


def answering(
    monkeypatch: pytest.MonkeyPatch, names: dict[str, list[list[str]]]
) -> list[tuple[str, int]]:
    """A resolver that gives these addresses, the next list at each question; what was asked."""
    asked: list[tuple[str, int]] = []
    real = asyncio.BaseEventLoop.getaddrinfo

    async def resolve(self: Any, host: Any, port: Any, **rest: Any) -> Any:
        if host not in names:
            return await real(self, host, port, **rest)
        asked.append((host, port))
        lists = names[host]
        addresses = lists.pop(0) if len(lists) > 1 else lists[0]
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, 1, 6, "", (one, port))
            for one in addresses
        ]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolve)
    return asked


async def get(client: Egress, url: str, **rest: Any) -> egress.HttpResponse:
    try:
        return await client.request("GET", url, headers={}, **rest)
    finally:
        await client.close()


# Guarded: what must not be reached. The port is one where a server listens.

SPELLINGS = [
    "127.0.0.1",
    "127.1",
    "0x7f000001",
    "0x7f.1",
    "2130706433",
    "0177.0.0.1",
    "017700000001",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "0.0.0.0",
    "0",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "user@127.0.0.1",
    "example.com@127.0.0.1",
    "10.0.0.1",
    "169.254.169.254",
    "192.168.0.1",
    "[fe80::1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
]


@pytest.mark.parametrize("host", SPELLINGS)
async def test_spellings_of_what_is_not_public(wire: Wire, host: str) -> None:
    refusals = (EgressRefused, ConfigurationError, httpx2.ConnectError, APIError)
    with pytest.raises(refusals) as caught:
        await get(Egress(guarded=True), f"http://{host}:{wire.port}/")
    assert wire.seen == []
    if host in ("127.0.0.1", "127.1", "2130706433", "0x7f000001", "localhost"):
        assert isinstance(caught.value, EgressRefused)
        assert "which is not a public address" in caught.value.message
        assert f":{wire.port}']" in caught.value.hint


@pytest.mark.parametrize("url", ["gopher://1.1.1.1/", "file:///etc/passwd", "ftp://1.1.1.1", "x:y"])
@pytest.mark.parametrize("guarded", [True, False])
async def test_other_schemes(url: str, guarded: bool) -> None:
    with pytest.raises((EgressRefused, httpx2.UnsupportedProtocol)):
        await get(Egress(guarded=guarded), url)


async def test_a_name_with_one_private_address_among_public_ones(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, {"mixed.test": [["1.1.1.1", "127.0.0.1"]]})
    with pytest.raises(EgressRefused, match=r"mixed\.test resolves to 127\.0\.0\.1"):
        await get(Egress(guarded=True), f"http://mixed.test:{wire.port}/")
    assert wire.seen == []


async def test_a_name_that_changes_its_mind(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rebinding: the address that was looked at is the one that is called."""
    asked = answering(monkeypatch, {"rebind.test": [["127.0.0.1"], ["10.9.9.9"]]})
    allowed = Egress(guarded=True, allow=[f"rebind.test:{wire.port}"])
    assert (await get(allowed, f"http://rebind.test:{wire.port}/")).status == 200
    assert asked == [("rebind.test", wire.port)]


async def test_a_name_there_is_none_of(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", fails)
    with pytest.raises(httpx2.ConnectError, match=r"nowhere\.test cannot be resolved"):
        await get(Egress(guarded=True), "http://nowhere.test/")


@pytest.mark.parametrize(("url", "port"), [("http://port.test/", 80), ("https://port.test/", 443)])
async def test_the_port_that_goes_without_saying(
    monkeypatch: pytest.MonkeyPatch, url: str, port: int
) -> None:
    asked = answering(monkeypatch, {"port.test": [["127.0.0.1"]]})
    with pytest.raises(EgressRefused) as caught:
        await get(Egress(guarded=True), url)
    assert asked == [("port.test", port)]
    assert f"'port.test:{port}'" in caught.value.hint


# Guarded: what may be reached.


@pytest.mark.parametrize(
    ("url", "addresses", "called"),
    [
        ("http://1.1.1.1/x", [], "http://1.1.1.1/x"),
        ("https://two.test/x?y=1", ["93.184.216.34", "1.1.1.1"], "https://93.184.216.34/x?y=1"),
        ("http://six.test:8080/", ["2606:4700::1111"], "http://[2606:4700::1111]:8080/"),
    ],
)
async def test_what_is_public(
    monkeypatch: pytest.MonkeyPatch, url: str, addresses: list[str], called: str
) -> None:
    host = httpx2.URL(url).host
    if addresses:
        answering(monkeypatch, {host: [addresses]})
    request = httpx2.Request("POST", url, headers={"x-own": "1"}, content=b"body")
    admitted = await Egress(guarded=True).admit(request)
    assert str(admitted.url) == called
    assert admitted.method == "POST"
    assert admitted.headers["host"] == request.headers["host"] == request.url.netloc.decode()
    assert admitted.headers["x-own"] == "1"
    assert admitted.extensions["sni_hostname"] == host
    assert str(request.url) == url


async def test_what_an_operator_allows(wire: Wire) -> None:
    allowed = Egress(guarded=True, allow=[f"localhost:{wire.port}"])
    assert (await get(allowed, f"http://LOCALHOST:{wire.port}/x")).status == 200
    assert wire.seen[0].headers["host"] == f"localhost:{wire.port}"
    for other in (f"http://127.0.0.1:{wire.port}/", f"http://localhost:{free_port()}/"):
        with pytest.raises(EgressRefused):
            await get(allowed, other)


async def test_a_redirect_is_looked_at_again(wire: Wire) -> None:
    with Wire() as inside:
        wire.answer(302, headers={"location": f"http://127.0.0.1:{inside.port}/secret"})
        allowed = Egress(guarded=True, allow=[f"localhost:{wire.port}"])
        with pytest.raises(EgressRefused, match="not a public address"):
            await get(allowed, f"http://localhost:{wire.port}/")
        assert inside.seen == []


async def test_connections_are_not_shared_between_names(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two names, one address: what was opened for one (its certificate checked) stays with it."""
    answering(monkeypatch, {"one.test": [["127.0.0.1"]], "two.test": [["127.0.0.1"]]})
    ports: list[Any] = []
    port = wire.port

    def reply(seen: Seen) -> Any:
        ports.append((seen.headers["host"], seen.client))
        return 200, {}, b""

    wire.reply = reply
    client = Egress(guarded=True, allow=[f"one.test:{port}", f"two.test:{port}"])
    for name in ("one", "one", "two", "one", "two"):
        await client.request("GET", f"http://{name}.test:{port}/", headers={})
    await client.close()
    of = {host: [p for h, p in ports if h == host] for host, _ in ports}
    assert len(set(of[f"one.test:{port}"])) == 1
    assert not set(of[f"one.test:{port}"]) & set(of[f"two.test:{port}"])


# Not guarded: an operator's own file.


async def test_an_operators_own_file_may_call_loopback(wire: Wire) -> None:
    assert (await get(Egress(), wire.url)).status == 200


async def test_proxies_of_the_environment_are_ignored(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, dead)
    assert (await get(Egress(), wire.url)).status == 200
    allowed = Egress(guarded=True, allow=[f"localhost:{wire.port}"])
    assert (await get(allowed, f"http://localhost:{wire.port}/")).status == 200


# Certificates: checked against the name, though the address is what is called.


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Wire]]:
    """Makes servers with a certificate for a name that we believe in."""
    trust = egress._ssl_context.__wrapped__()
    monkeypatch.setattr(egress, "_ssl_context", lambda: trust)
    made: list[Wire] = []

    def server(name: str) -> Wire:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1)
        signed = (
            builder.not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        none = serialization.NoEncryption()
        plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, none)
        file = tmp_path / f"{name}.pem"
        file.write_bytes(signed.public_bytes(pem) + plain)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        trust.load_verify_locations(cadata=signed.public_bytes(pem).decode())
        wire = Wire(tls=context)
        wire.__enter__()
        made.append(wire)
        return wire

    yield server
    for wire in made:
        wire.__exit__()


async def test_the_certificate_must_be_for_the_name(
    secure: Callable[[str], Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = secure("good.test")
    answering(monkeypatch, {"good.test": [["127.0.0.1"]], "evil.test": [["127.0.0.1"]]})
    allow = [f"good.test:{wire.port}", f"evil.test:{wire.port}"]
    assert (await get(Egress(guarded=True, allow=allow), f"https://good.test:{wire.port}/")).status
    with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        await get(Egress(guarded=True, allow=allow), f"https://evil.test:{wire.port}/")
    with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        await get(Egress(), f"https://127.0.0.1:{wire.port}/")


async def test_no_redirect_from_https_to_http(
    secure: Callable[[str], Wire], wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    safe = secure("good.test")
    answering(monkeypatch, {"good.test": [["127.0.0.1"]]})
    safe.answer(302, headers={"location": wire.url})
    client = Egress(guarded=True, allow=[f"good.test:{safe.port}"])
    with pytest.raises(EgressRefused, match="from https to http is not followed"):
        await get(client, f"https://good.test:{safe.port}/")
    assert wire.seen == []


# The client for vendors' packages.


async def test_a_client_for_vendors(wire: Wire) -> None:
    wire.answer(200, headers={"x": "1"}, body=b"y" * 1000)
    async with Egress().make_client(max_body=1000) as client:
        answer = await client.get(wire.url)
        assert answer.content == b"y" * 1000
        assert wire.seen[0].headers["accept-encoding"] == "identity"
        wire.answer(200, body=b"y" * 1001)
        with pytest.raises(APIError, match="larger than 1000 bytes"):
            await client.get(wire.url)
        wire.answer(200, headers={"content-encoding": "gzip"}, body=b"\x1f\x8b")
        with pytest.raises(APIError, match=r"compressed \(gzip\)"):
            await client.get(wire.url)
        wire.answer(302, headers={"location": "/elsewhere"})
        assert (await client.get(wire.url)).status_code == 302


async def test_a_client_for_vendors_is_guarded_too(wire: Wire) -> None:
    async with Egress(guarded=True).make_client() as client:
        with pytest.raises(EgressRefused):
            await client.get(wire.url)
    assert wire.seen == []


async def test_whoever_asked_sees_the_name_that_was_asked_for(wire: Wire) -> None:
    """A client that follows a redirect by itself must start from the name, not the address."""
    allowed = Egress(guarded=True, allow=[f"localhost:{wire.port}"])
    async with allowed.make_client() as client:
        answer = await client.get(f"http://localhost:{wire.port}/")
    assert answer.request.url.host == "localhost"


async def test_an_answer(wire: Wire) -> None:
    wire.answer(201, headers={"X-Thing": "a"}, body=b"made")
    answer = await get(Egress(), f"{wire.url}/x?y=1")
    assert (answer.status, answer.body) == (201, b"made")
    assert answer.headers["x-thing"] == "a"
    assert answer.url == f"{wire.url}/x?y=1"


async def test_closing_twice() -> None:
    client = Egress()
    await client.close()
    await client.close()
