"""The owner's door: how other processes of this machine ask the one that owns a home.

The owner listens on a Unix socket in the home (0600); where the path is too long for one, or there
are none, on a loopback port. HOME/door (0600) says where, with a token that callers must show. One
request a connection; `Door._answer` has them all. Decides nothing, and never touches the journal.
To add a request: a method of `Asked`, a line in `Door._answer`, a method of `Caller`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from agenthive import errors
from agenthive.core import definition
from agenthive.core import events as ev
from agenthive.core.retention import Retention
from agenthive.core.spec import WorkflowSpec
from agenthive.core.values import JSONValue, NanoUSD
from agenthive.errors import AgentHiveError, HomeBusy, OwnerGone
from agenthive.infra.frames import receive, send
from agenthive.infra.home import Home
from agenthive.stores.archive import Fact
from agenthive.stores.housekeeping import Dropped
from agenthive.stores.transfer import TakenIn

LONGEST_PATH: Final = 100
"""Bytes a socket's path may have everywhere."""
MOST_CALLERS: Final = 64
PATIENCE: Final = 10.0
"""Seconds a caller may take to say what it wants, and the owner to say that it is there."""
ANSWER: Final = 60.0
"""Seconds the owner may take to do what was asked."""
_SAID: Final[dict[str, tuple[str, ...]]] = {
    "approve": ("run", "task", "approved", "actor", "digest", "comment"),
    "signal": ("run", "name", "data", "id", "actor"),
    "resolve": ("run", "task", "outcome", "result", "actor", "reason"),
    "set_budget": ("scope", "amount", "add", "actor", "reason"),
    "settle": ("run", "task", "cost", "attempt", "actor", "reason"),
    "migrate": ("run", "workflow", "renamed", "actor"),
    "fork": ("run", "task", "workflow", "id", "again"),
}
"""What people say about runs, and with what: methods of `Asked` of these names."""
WAIT: Final = "Wait for it, or use another home with --home."


class Asked(Protocol):
    """What the owner can be asked for; `Hive` is one."""

    @property
    def trouble(self) -> str:
        """Why the journal takes no writes now."""
        ...

    def submit(
        self,
        workflow: WorkflowSpec,
        inputs: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
    ) -> Awaitable[str]:
        """Accept a run."""
        ...

    def cancel(self, run: str, *, reason: str = "", actor: str = "local") -> Awaitable[None]:
        """Cancel a run."""
        ...

    def resume(self, runs: list[str] | None = None) -> Awaitable[list[str]]:
        """Go on with unfinished runs."""
        ...

    def approve(
        self,
        run: str,
        task: str,
        *,
        approved: bool = True,
        actor: str = "local",
        digest: str = "",
        comment: str = "",
    ) -> Awaitable[None]:
        """Answer an approval."""
        ...

    def signal(
        self, run: str, name: str, data: JSONValue = None, *, id: str = "", actor: str = "local"
    ) -> Awaitable[None]:
        """Send a signal to a run."""
        ...

    def resolve(
        self,
        run: str,
        task: str,
        outcome: str,
        result: JSONValue = None,
        *,
        actor: str = "local",
        reason: str = "",
    ) -> Awaitable[None]:
        """Say what came of a call of unknown outcome."""
        ...

    def set_budget(
        self,
        scope: str,
        amount: NanoUSD | None,
        *,
        add: bool = False,
        actor: str = "local",
        reason: str = "",
    ) -> Awaitable[None]:
        """Set the limit of a scope."""
        ...

    def settle(
        self,
        run: str,
        task: str,
        cost: NanoUSD,
        *,
        attempt: int | None = None,
        actor: str = "local",
        reason: str = "",
    ) -> Awaitable[None]:
        """Say what a call cost."""
        ...

    def migrate(
        self,
        run: str,
        workflow: WorkflowSpec,
        *,
        renamed: Mapping[str, str] | None = None,
        actor: str = "local",
    ) -> Awaitable[object]:
        """Let an open run go on under a changed workflow."""
        ...

    def fork(
        self,
        run: str,
        task: str,
        workflow: WorkflowSpec | None = None,
        *,
        id: str | None = None,
        again: bool = False,
    ) -> Awaitable[str]:
        """Do a run again from a task on."""
        ...

    def change_schedule(self, change: ev.ScheduleChange, body: bytes = b"") -> Awaitable[None]:
        """Set, pause, resume, remove or trigger a schedule."""
        ...

    def watch(self, run: str, after: int = 0) -> AsyncIterator[Fact]:
        """The facts of a run."""
        ...

    def collect(self, policy: Retention) -> AsyncIterator[Dropped]:
        """Drop what is kept no longer."""
        ...

    def take_in(self, file: str | Path, *, open_too: bool = False) -> Awaitable[TakenIn]:
        """Take in a run from a file."""
        ...


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


class Caller:
    """Asks the owner of a home. Raises what the owner raised; HomeBusy if nobody answers."""

    def __init__(self, home: Home) -> None:
        self._home = home

    async def submit(
        self, workflow: WorkflowSpec, inputs: Mapping[str, Any] | None = None, *, run_id: str
    ) -> str:
        """Hand a run over; its id, once it is on disk."""
        body = definition.encode(workflow).decode()
        given = dict(inputs or {})
        return str(await self._ask(ask="submit", workflow=body, inputs=given, run=run_id))

    async def cancel(self, run: str, *, reason: str = "") -> None:
        """Have an open run cancelled."""
        await self._ask(ask="cancel", run=run, reason=reason)

    async def resume(self, runs: Sequence[str] | None = None) -> list[str]:
        """Have unfinished runs taken up that the owner has not in hand."""
        return list(await self._ask(ask="resume", runs=None if runs is None else list(runs)))

    async def approve(self, run: str, task: str, **said: Any) -> None:
        """Answer an approval; ``said`` as for `Hive.approve`."""
        await self._ask(ask="approve", run=run, task=task, **said)

    async def set_budget(self, scope: str, amount: NanoUSD | None, **said: Any) -> None:
        """Set the limit of a scope; ``said`` as for `Hive.set_budget`."""
        await self._ask(ask="set_budget", scope=scope, amount=amount, **said)

    async def settle(self, run: str, task: str, cost: NanoUSD, **said: Any) -> None:
        """Say what a call cost; ``said`` as for `Hive.settle`."""
        await self._ask(ask="settle", run=run, task=task, cost=cost, **said)

    async def signal(self, run: str, name: str, **said: Any) -> None:
        """Send a signal; ``said`` as for `Hive.signal`."""
        await self._ask(ask="signal", run=run, name=name, **said)

    async def resolve(self, run: str, task: str, outcome: str, **said: Any) -> None:
        """Say what came of a call; ``said`` as for `Hive.resolve`."""
        await self._ask(ask="resolve", run=run, task=task, outcome=outcome, **said)

    async def migrate(self, run: str, workflow: WorkflowSpec, **said: Any) -> None:
        """Have a run go on under a changed workflow; ``said`` as for `Hive.migrate`."""
        body = definition.encode(workflow).decode()
        await self._ask(ask="migrate", run=run, workflow=body, **said)

    async def fork(
        self, run: str, task: str, workflow: WorkflowSpec | None = None, **said: Any
    ) -> None:
        """Have a run done again from a task on; ``said`` as for `Hive.fork`."""
        body = None if workflow is None else definition.encode(workflow).decode()
        await self._ask(ask="fork", run=run, task=task, workflow=body, **said)

    async def change_schedule(self, change: ev.ScheduleChange, body: bytes = b"") -> None:
        """Have a schedule set, paused, resumed, removed or triggered."""
        told = msgspec.to_builtins(change)
        await self._ask(ask="schedule", change=told, workflow=body.decode())

    async def status(self) -> dict[str, Any]:
        """Who owns the home: ``pid``, how many callers there are, ``trouble`` with the journal."""
        return dict(await self._ask(within=PATIENCE, ask="status"))

    async def watch(self, run: str, after: int = 0) -> AsyncIterator[Fact]:
        """The facts of a run as the owner commits them. Raises OwnerGone if it goes away."""
        async for answer in self._talk(ask="watch", run=run, after=after):
            fact = answer.get("fact")
            if fact is not None:
                yield Fact(**fact | {"data": msgspec.Raw(msgspec.json.encode(fact["data"]))})

    async def collect(self, policy: Retention) -> AsyncIterator[Dropped]:
        """Have dropped what is kept no longer; how far that is. Raises OwnerGone."""
        async for answer in self._talk(ask="collect", policy=policy):
            if "done" in answer:
                yield msgspec.convert(answer["done"], Dropped)

    async def take_in(self, file: Path, *, open_too: bool = False) -> TakenIn:
        """Have a run taken in from a file of this machine, named by its whole path."""
        asked = self._ask(ask="take_in", file=str(file), open=open_too)
        return msgspec.convert(await asked, TakenIn)

    async def _ask(self, within: float | None = None, **request: Any) -> Any:
        try:
            async with asyncio.timeout(ANSWER if within is None else within):
                async for answer in self._talk(**request):
                    return answer.get("ok")
        except TimeoutError as error:
            raise OwnerGone(self._silent(), hint=WAIT) from error
        return None

    def _silent(self) -> str:
        owner = self._home.owner() or "unknown"
        return f"the home {self._home.path} is owned by process {owner}, which does not answer"

    async def _talk(self, **request: Any) -> AsyncIterator[dict[str, Any]]:
        reader, writer, token = await self._connect()
        try:
            # An owner that goes while it is told may take a part of it: what it says then counts.
            with contextlib.suppress(OSError):
                await send(writer, {"token": token, **request})
            while True:
                answer = await receive(reader)
                if answer is None:
                    raise OwnerGone("the owner of this home has gone")
                if "error" in answer:
                    raise _rebuilt(answer["error"])
                yield answer
                if "ok" in answer:
                    return
        finally:
            # Not close(): what an owner that does not read was sent would be waited for.
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
        try:
            said = msgspec.json.decode(self._home.read("door"))
            if "socket" in said:
                streams = await asyncio.open_unix_connection(said["socket"])
            else:
                streams = await asyncio.open_connection("127.0.0.1", said["port"])
        except (OSError, msgspec.DecodeError, KeyError, TypeError) as error:
            raise HomeBusy(self._silent(), hint=WAIT) from error
        return *streams, str(said["token"])


def _told(error: AgentHiveError) -> dict[str, Any]:
    """An error as it crosses the door."""
    told = {"type": type(error).__name__, "message": error.message, "hint": error.hint}
    return told | {"problems": getattr(error, "problems", ())}


def _rebuilt(told: Mapping[str, Any]) -> AgentHiveError:
    """The owner's error, as its own class."""
    kind = getattr(errors, str(told.get("type")), None)
    message, hint = str(told.get("message")), str(told.get("hint"))
    if kind is errors.ConfigurationError:
        return errors.ConfigurationError(
            message, hint=hint, problems=tuple(told.get("problems") or ())
        )
    if isinstance(kind, type) and issubclass(kind, AgentHiveError):
        return kind(message, hint=hint)
    return AgentHiveError(message, hint=hint)
