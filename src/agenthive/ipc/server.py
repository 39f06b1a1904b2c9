"""The server of the control socket: listens for the process that owns a home.

Each connection carries one request. A caller proves that it may read the home by showing the token
in the file ``door``, which only the user that owns the home can read. Nothing here knows what a
verb does: `protocol.VERBS` has the method of the owner to call.
"""

from __future__ import annotations

import asyncio
import contextlib
import operator
import os
import secrets
import socket
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from agenthive import errors
from agenthive.errors import AgentHiveError, HomeBusy
from agenthive.infra.home import Home
from agenthive.ipc.framing import receive_message, send_message
from agenthive.ipc.protocol import (
    HANDSHAKE_SECONDS,
    MAX_SOCKET_PATH,
    STATUS,
    VERBS,
    HomeOwner,
    encode_error,
)

MAX_CALLERS: Final = 64
"""Connections at a time; a further caller is refused with HomeBusy."""
NOT_OPEN: Final = "the hive is not open"
"""The message of a hive that was closed while a request came in."""


class ControlServer:
    """Listens in ``home``, and calls the methods of ``owner`` that callers request."""

    def __init__(self, home: Home, owner: HomeOwner) -> None:
        self._home, self._owner = home, owner
        self._token = secrets.token_urlsafe(32)
        self._server: asyncio.Server | None = None
        self._callers: set[asyncio.Task[None]] = set()
        #: Whether the owner is about to close, so that verbs that start work are refused.
        self.refusing = False

    async def open(self) -> None:
        """Begin to listen: on a Unix socket, or on a loopback port where there is none.

        Raises StoreUnavailable if the home takes no files.
        """
        path = str(self._home.socket)
        if hasattr(socket, "AF_UNIX") and len(os.fsencode(path)) <= MAX_SOCKET_PATH:
            self._home.socket.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._accept_caller, path)
            self._home.socket.chmod(0o600)
            address: dict[str, Any] = {"socket": path}
        else:
            self._server = await asyncio.start_server(self._accept_caller, "127.0.0.1", 0)
            address = {"port": self._server.sockets[0].getsockname()[1]}
        payload = msgspec.json.encode(address | {"token": self._token, "pid": os.getpid()})
        self._home.write("door", payload)

    async def close(self) -> None:
        """Stop listening, and end the connections that are open. May be called twice."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        callers = list(self._callers)
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        for name in ("door", "socket"):
            # A file that cannot be removed is harmless, because no process listens behind it, and
            # it must not keep the owner from releasing the home.
            with contextlib.suppress(OSError):
                (self._home.path / name).unlink(missing_ok=True)

    async def _accept_caller(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        caller = asyncio.current_task()
        assert caller is not None
        self._callers.add(caller)
        try:
            if len(self._callers) <= MAX_CALLERS:
                await self._serve_caller(reader, writer)
            else:
                busy = HomeBusy("the owner of this home has too many callers", hint="Try again.")
                await send_message(writer, {"error": encode_error(busy)})
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._callers.discard(caller)
            writer.close()

    async def _serve_caller(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            request = await asyncio.wait_for(receive_message(reader), HANDSHAKE_SECONDS)
            if not isinstance(request, dict) or not self._is_known_token(request.get("token")):
                raise HomeBusy("the owner of this home does not know the caller")
            async for reply in self._execute_request(request):
                await send_message(writer, reply)
        except AgentHiveError as error:
            if error.message == NOT_OPEN:
                return  # This process is about to end: the caller repeats it with the next owner.
            await send_message(writer, {"error": encode_error(error)})
        except TimeoutError:
            pass
        except Exception as error:
            internal = errors.InternalError(f"{type(error).__name__}: {error}")
            await send_message(writer, {"error": encode_error(internal)})

    def _is_known_token(self, token: object) -> bool:
        return isinstance(token, str) and secrets.compare_digest(token, self._token)

    async def _execute_request(self, request: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Call the owner's method; the messages to reply with."""
        name = request.get("ask")
        if name == STATUS:
            yield {"ok": self._build_status()}
            return
        verb = VERBS.get(name) if isinstance(name, str) else None
        if verb is None:
            raise HomeBusy(f"the owner of this home does not know the request '{name}'")
        if self.refusing and verb.starts_work:
            raise HomeBusy("the owner of this home is about to leave", hint="Try again.")
        method = operator.attrgetter(verb.method)(self._owner)
        outcome = method(**verb.decode_request(request))
        if verb.item_key:
            async for item in outcome:
                yield {verb.item_key: verb.encode_result(item)}
            yield {"ok": None}
        else:
            yield {"ok": verb.encode_result(await outcome)}

    def _build_status(self) -> dict[str, Any]:
        store_error = self._owner.store_error
        return {"pid": os.getpid(), "callers": len(self._callers), "trouble": store_error}
