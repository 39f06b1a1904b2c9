"""The server of the control socket: listens for the process that owns a home."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from agenthive import errors
from agenthive.core.history.retention import Retention
from agenthive.core.journal import run_events as ev
from agenthive.core.model import definition
from agenthive.errors import AgentHiveError, HomeBusy
from agenthive.infra.home import Home
from agenthive.ipc.framing import receive, send
from agenthive.ipc.protocol import _SAID, LONGEST_PATH, PATIENCE, Asked, _told

MOST_CALLERS: Final = 64


class Door:
    """Listens for the owner of ``home``, and hands on what is asked."""

    def __init__(self, home: Home, asked: Asked) -> None:
        self._home, self._asked = home, asked
        self._token = secrets.token_urlsafe(32)
        self._server: asyncio.Server | None = None
        self._callers: set[asyncio.Task[None]] = set()
        self.refusing = False

    async def open(self) -> None:
        """Begin to listen."""
        path = str(self._home.socket)
        if hasattr(socket, "AF_UNIX") and len(os.fsencode(path)) <= LONGEST_PATH:
            self._home.socket.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._greet, path)
            self._home.socket.chmod(0o600)
            where: dict[str, Any] = {"socket": path}
        else:
            self._server = await asyncio.start_server(self._greet, "127.0.0.1", 0)
            where = {"port": self._server.sockets[0].getsockname()[1]}
        said = msgspec.json.encode(where | {"token": self._token, "pid": os.getpid()})
        self._home.write("door", said)

    async def close(self) -> None:
        """Listen no more; whoever is connected sees the connection end. May be called twice."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        callers = list(self._callers)
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        for name in ("door", "socket"):
            # What is left over does no harm: nobody answers there. The home must be let go of.
            with contextlib.suppress(OSError):
                (self._home.path / name).unlink(missing_ok=True)

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caller = asyncio.current_task()
        assert caller is not None
        self._callers.add(caller)
        try:
            if len(self._callers) <= MOST_CALLERS:
                await self._serve(reader, writer)
            else:
                busy = HomeBusy("the owner of this home has too many callers", hint="Try again.")
                await send(writer, {"error": _told(busy)})
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._callers.discard(caller)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await asyncio.wait_for(receive(reader), PATIENCE)
            if not isinstance(request, dict) or not self._known(request.get("token")):
                raise HomeBusy("the owner of this home does not know the caller")
            async for answer in self._answer(request):
                await send(writer, answer)
        except AgentHiveError as error:
            await send(writer, {"error": _told(error)})
        except TimeoutError:
            pass
        except Exception as error:
            internal = errors.InternalError(f"{type(error).__name__}: {error}")
            await send(writer, {"error": _told(internal)})

    def _known(self, token: object) -> bool:
        return isinstance(token, str) and secrets.compare_digest(token, self._token)

    async def _answer(self, request: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        what = request.get("ask")
        if self.refusing and what in ("submit", "resume", "schedule", "fork"):
            raise HomeBusy("the owner of this home is about to leave", hint="Try again.")
        if what == "submit":
            workflow = definition.decode(str(request["workflow"]).encode())
            inputs, run = dict(request["inputs"]), str(request["run"])
            yield {"ok": await self._asked.submit(workflow, inputs, run_id=run)}
        elif what == "cancel":
            await self._asked.cancel(str(request["run"]), reason=str(request["reason"]))
            yield {"ok": None}
        elif what == "resume":
            yield {"ok": list(await self._asked.resume(request["runs"]))}
        elif isinstance(what, str) and what in _SAID:
            said = {name: request[name] for name in _SAID[what] if name in request}
            if said.get("workflow"):
                said["workflow"] = definition.decode(str(said["workflow"]).encode())
            await getattr(self._asked, what)(**said)
            yield {"ok": None}
        elif what == "schedule":
            change = msgspec.convert(request["change"], type=ev.ScheduleChange)
            await self._asked.change_schedule(change, str(request["workflow"]).encode())
            yield {"ok": None}
        elif what == "watch":
            async for fact in self._asked.watch(str(request["run"]), int(request["after"])):
                yield {"fact": fact}
            yield {"ok": None}
        elif what == "collect":
            async for done in self._asked.collect(msgspec.convert(request["policy"], Retention)):
                yield {"done": done}
            yield {"ok": None}
        elif what == "take_in":
            yield {"ok": await self._asked.take_in(request["file"], open_too=request["open"])}
        elif what == "status":
            told = {"pid": os.getpid(), "callers": len(self._callers)}
            yield {"ok": told | {"trouble": self._asked.trouble}}
        else:
            raise HomeBusy(f"the owner of this home does not know the request '{what}'")
