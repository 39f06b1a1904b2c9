"""The client of the control socket: calls the owner of a home from another process.

`ControlClient.proxy_for` has the methods of the owner's class that `protocol.VERBS` lists, so no
signature is written twice. Nothing here retries. After OwnerGone, a caller repeats a request under
the id that it gave it, to this owner or the next one: it is carried out once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, TypeVar, cast

import msgspec

from agenthive import errors
from agenthive.errors import AgentHiveError, HomeBusy, OwnerGone
from agenthive.infra.home import Home
from agenthive.ipc.framing import receive_message, send_message
from agenthive.ipc.protocol import (
    HANDSHAKE_SECONDS,
    REPLY_SECONDS,
    STATUS,
    Verb,
    find_verb,
    has_part,
)

T = TypeVar("T")

WAIT_HINT: Final = "Wait for it, or use another home with --home."


class ControlClient:
    """Sends requests to the owner of ``home``, each on a connection of its own.

    Every method, also of a proxy, raises what the owner raised, HomeBusy if no process answers at
    the socket, and OwnerGone if the owner ends or stops answering after it received the request.
    """

    def __init__(self, home: Home) -> None:
        self._home = home

    async def status(self) -> dict[str, Any]:
        """About the owner: ``pid``, the number of ``callers``, ``trouble`` with the journal."""
        return dict(await self._request(STATUS, {}, HANDSHAKE_SECONDS))

    def proxy_for(self, owner_class: type[T]) -> T:
        """An object with those methods of the owner's class that callers may use.

        A type checker sees ``owner_class``, so it checks names, arguments and results; a method
        that has no row in `protocol.VERBS` raises AttributeError.
        """
        return cast("T", _RemotePart(self, ""))

    async def call(self, verb: Verb, arguments: Mapping[str, Any]) -> Any:
        """Request a verb; its result. ``arguments`` are named and encoded as on the wire."""
        return verb.decode_result(await self._request(verb.name, arguments, REPLY_SECONDS))

    async def iterate(self, verb: Verb, arguments: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Request a verb that streams; its items, as the owner sends them."""
        async for reply in self._exchange_messages(verb.name, arguments):
            if verb.item_key in reply:
                yield verb.decode_result(reply[verb.item_key])

    async def _request(self, name: str, arguments: Mapping[str, Any], max_wait: float) -> Any:
        try:
            async with asyncio.timeout(max_wait):
                async for reply in self._exchange_messages(name, arguments):
                    return reply.get("ok")
        except TimeoutError as error:
            raise OwnerGone(self._unresponsive_message(), hint=WAIT_HINT) from error
        return None

    def _unresponsive_message(self) -> str:
        owner = self._home.owner_pid() or "unknown"
        return f"the home {self._home.path} is owned by process {owner}, which does not answer"

    async def _exchange_messages(
        self, name: str, arguments: Mapping[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        reader, writer, token = await self._connect()
        try:
            # If the owner closes the connection while the request is sent, its reply, if there is
            # one, tells more than the error of the write.
            with contextlib.suppress(OSError):
                await send_message(writer, {"token": token, "ask": name, **arguments})
            while True:
                reply = await receive_message(reader)
                if reply is None:
                    raise OwnerGone("the owner of this home has gone")
                if "error" in reply:
                    raise _rebuild_error(reply["error"])
                yield reply
                if "ok" in reply:
                    return
        finally:
            # Not close(): it would wait until an owner that does not read has received everything.
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
        try:
            address = msgspec.json.decode(self._home.read("door"))
            if "socket" in address:
                streams = await asyncio.open_unix_connection(address["socket"])
            else:
                streams = await asyncio.open_connection("127.0.0.1", address["port"])
        except (OSError, msgspec.DecodeError, KeyError, TypeError) as error:
            raise HomeBusy(self._unresponsive_message(), hint=WAIT_HINT) from error
        return *streams, str(address["token"])


class _RemotePart:
    """The owner, or the part of the owner at ``path``."""

    def __init__(self, client: ControlClient, path: str) -> None:
        self._client, self._path = client, path

    def __getattr__(self, name: str) -> Any:
        path = f"{self._path}.{name}" if self._path else name
        verb = find_verb(path)
        if verb is not None:
            return _bind_verb(self._client, verb)
        if has_part(path):
            return _RemotePart(self._client, path)
        raise AttributeError(f"the control socket has no verb for '{path}'")


def _bind_verb(client: ControlClient, verb: Verb) -> Callable[..., Any]:
    """A function that looks like the owner's method, and requests its verb."""
    send = client.iterate if verb.item_key else client.call

    def request_verb(*args: Any, **kwargs: Any) -> Any:
        return send(verb, verb.encode_request(args, kwargs))

    return request_verb


def _rebuild_error(payload: Mapping[str, Any]) -> AgentHiveError:
    """The owner's error, as its own class."""
    kind = getattr(errors, str(payload.get("type")), None)
    message, hint = str(payload.get("message")), str(payload.get("hint"))
    if kind is errors.ConfigurationError:
        return errors.ConfigurationError(
            message, hint=hint, problems=tuple(payload.get("problems") or ())
        )
    if isinstance(kind, type) and issubclass(kind, AgentHiveError):
        return kind(message, hint=hint)
    return AgentHiveError(message, hint=hint)
