"""A real HTTP server on loopback that answers as a test tells it, and sees who hangs up."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

Answer: TypeAlias = tuple[int, Mapping[str, str], bytes]


@dataclass
class Seen:
    """A request that came in. Header names in lower case."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    client: int = 0
    """The port at the other end of the connection."""


class Wire:
    """The server. ``reply`` makes the answer to each request; ``seen`` holds what came in.

    A header ``x-cut`` in an answer: the connection ends in the middle of the body. ``x-raw``: the
    body is all that is written.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[Seen] = []
        self.gone = 0
        self.reply: Callable[[Seen], Answer | None] = lambda seen: (200, {}, b"")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(
        self, status: int = 200, *, headers: Mapping[str, str] = {}, body: Any = b""
    ) -> None:
        """The same answer to every request."""
        content = body.encode() if isinstance(body, str) else body
        self.reply = lambda seen: (status, headers, content)

    def hang(self) -> None:
        """Never answer; ``gone`` counts who hangs up."""
        self.reply = lambda seen: None

    def __enter__(self) -> Wire:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(wire: Wire) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except (ConnectionError, TimeoutError):
                self.close_connection = True

        def _do(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen = Seen(
                self.command, self.path, headers, self.rfile.read(length), self.client_address[1]
            )
            wire.seen.append(seen)
            answer = wire.reply(seen)
            if answer is None:
                self._wait()
            else:
                self._write(*answer)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _do

        def _wait(self) -> None:
            self.connection.settimeout(30)
            if self.connection.recv(1) == b"":
                wire.gone += 1
            self.close_connection = True

        def _write(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            if "x-raw" in headers:
                self.wfile.write(body)
                self.close_connection = True
                return
            cut = "x-cut" in headers
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body) + 10 * cut))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            if cut:
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler
