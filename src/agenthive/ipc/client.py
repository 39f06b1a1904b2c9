"""The client of the control socket: the same verbs in a process that does not own the home."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from agenthive import errors
from agenthive.core.history.retention import Retention
from agenthive.core.journal import run_events as ev
from agenthive.core.model import definition
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.values import NanoUSD
from agenthive.errors import AgentHiveError, HomeBusy, OwnerGone
from agenthive.infra.home import Home
from agenthive.ipc.framing import receive, send
from agenthive.ipc.protocol import ANSWER, PATIENCE
from agenthive.queries.export_import import TakenIn
from agenthive.queries.journal_reader import Fact
from agenthive.queries.retention import Dropped

WAIT: Final = "Wait for it, or use another home with --home."


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
