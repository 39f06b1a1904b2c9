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
from agenthive.ipc.framing import receive_message, send_message
from agenthive.ipc.protocol import LONGEST_PATH, PATIENCE, VERB_ARGUMENTS, HomeOwner, encode_error

MAX_CALLERS: Final = 64


class ControlServer:
    """Listens for the owner of ``home``, and hands on what is asked."""

    def __init__(self, home: Home, owner: HomeOwner) -> None:
        self._home, self._owner = home, owner
        self._token = secrets.token_urlsafe(32)
        self._server: asyncio.Server | None = None
        self._callers: set[asyncio.Task[None]] = set()
        self.refusing = False

    async def open(self) -> None:
        """Begin to listen."""
        path = str(self._home.socket)
        if hasattr(socket, "AF_UNIX") and len(os.fsencode(path)) <= LONGEST_PATH:
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
            request = await asyncio.wait_for(receive_message(reader), PATIENCE)
            if not isinstance(request, dict) or not self._is_known_token(request.get("token")):
                raise HomeBusy("the owner of this home does not know the caller")
            async for reply in self._answer_request(request):
                await send_message(writer, reply)
        except AgentHiveError as error:
            await send_message(writer, {"error": encode_error(error)})
        except TimeoutError:
            pass
        except Exception as error:
            internal = errors.InternalError(f"{type(error).__name__}: {error}")
            await send_message(writer, {"error": encode_error(internal)})

    def _is_known_token(self, token: object) -> bool:
        return isinstance(token, str) and secrets.compare_digest(token, self._token)

    async def _answer_request(self, request: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        verb = request.get("ask")
        if self.refusing and verb in ("submit", "resume", "schedule", "fork"):
            raise HomeBusy("the owner of this home is about to leave", hint="Try again.")
        if verb == "submit":
            workflow = definition.decode(str(request["workflow"]).encode())
            inputs, run = dict(request["inputs"]), str(request["run"])
            yield {"ok": await self._owner.submit(workflow, inputs, run_id=run)}
        elif verb == "cancel":
            await self._owner.cancel(str(request["run"]), reason=str(request["reason"]))
            yield {"ok": None}
        elif verb == "resume":
            yield {"ok": list(await self._owner.resume(request["runs"]))}
        elif isinstance(verb, str) and verb in VERB_ARGUMENTS:
            arguments = {name: request[name] for name in VERB_ARGUMENTS[verb] if name in request}
            if arguments.get("workflow"):
                arguments["workflow"] = definition.decode(str(arguments["workflow"]).encode())
            await getattr(self._owner, verb)(**arguments)
            yield {"ok": None}
        elif verb == "schedule":
            change = msgspec.convert(request["change"], type=ev.ScheduleChange)
            await self._owner.change_schedule(change, str(request["workflow"]).encode())
            yield {"ok": None}
        elif verb == "watch":
            async for event in self._owner.watch(str(request["run"]), int(request["after"])):
                yield {"fact": event}
            yield {"ok": None}
        elif verb == "collect":
            async for progress in self._owner.prune(msgspec.convert(request["policy"], Retention)):
                yield {"done": progress}
            yield {"ok": None}
        elif verb == "take_in":
            yield {"ok": await self._owner.import_run(request["file"], open_too=request["open"])}
        elif verb == "status":
            status = {"pid": os.getpid(), "callers": len(self._callers)}
            yield {"ok": status | {"trouble": self._owner.store_error}}
        else:
            raise HomeBusy(f"the owner of this home does not know the request '{verb}'")
