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
from agenthive.ipc.framing import receive_message, send_message
from agenthive.ipc.protocol import ANSWER, PATIENCE
from agenthive.queries.export_import import ImportResult
from agenthive.queries.journal_reader import EventView
from agenthive.queries.retention import PruneProgress

WAIT_HINT: Final = "Wait for it, or use another home with --home."


class ControlClient:
    """Asks the owner of a home. Raises what the owner raised; HomeBusy if nobody answers."""

    def __init__(self, home: Home) -> None:
        self._home = home

    async def submit(
        self, workflow: WorkflowSpec, inputs: Mapping[str, Any] | None = None, *, run_id: str
    ) -> str:
        """Hand a run over; its id, once it is on disk."""
        body = definition.encode(workflow).decode()
        parameters = dict(inputs or {})
        return str(
            await self._send_request(ask="submit", workflow=body, inputs=parameters, run=run_id)
        )

    async def cancel(self, run: str, *, reason: str = "") -> None:
        """Have an open run cancelled."""
        await self._send_request(ask="cancel", run=run, reason=reason)

    async def resume(self, runs: Sequence[str] | None = None) -> list[str]:
        """Have unfinished runs taken up that the owner has not in hand."""
        return list(
            await self._send_request(ask="resume", runs=None if runs is None else list(runs))
        )

    async def approve(self, run: str, task: str, **details: Any) -> None:
        """Answer an approval; ``said`` as for `Hive.approve`."""
        await self._send_request(ask="approve", run=run, task=task, **details)

    async def set_budget(self, scope: str, amount: NanoUSD | None, **details: Any) -> None:
        """Set the limit of a scope; ``said`` as for `Hive.set_budget`."""
        await self._send_request(ask="set_budget", scope=scope, amount=amount, **details)

    async def settle(self, run: str, task: str, cost: NanoUSD, **details: Any) -> None:
        """Say what a call cost; ``said`` as for `Hive.settle`."""
        await self._send_request(ask="settle", run=run, task=task, cost=cost, **details)

    async def signal(self, run: str, name: str, **details: Any) -> None:
        """Send a signal; ``said`` as for `Hive.signal`."""
        await self._send_request(ask="signal", run=run, name=name, **details)

    async def resolve(self, run: str, task: str, outcome: str, **details: Any) -> None:
        """Say what came of a call; ``said`` as for `Hive.resolve`."""
        await self._send_request(ask="resolve", run=run, task=task, outcome=outcome, **details)

    async def migrate(self, run: str, workflow: WorkflowSpec, **details: Any) -> None:
        """Have a run go on under a changed workflow; ``said`` as for `Hive.migrate`."""
        body = definition.encode(workflow).decode()
        await self._send_request(ask="migrate", run=run, workflow=body, **details)

    async def fork(
        self, run: str, task: str, workflow: WorkflowSpec | None = None, **details: Any
    ) -> None:
        """Have a run done again from a task on; ``said`` as for `Hive.fork`."""
        body = None if workflow is None else definition.encode(workflow).decode()
        await self._send_request(ask="fork", run=run, task=task, workflow=body, **details)

    async def change_schedule(self, change: ev.ScheduleChange, body: bytes = b"") -> None:
        """Have a schedule set, paused, resumed, removed or triggered."""
        payload = msgspec.to_builtins(change)
        await self._send_request(ask="schedule", change=payload, workflow=body.decode())

    async def status(self) -> dict[str, Any]:
        """Who owns the home: ``pid``, how many callers there are, ``trouble`` with the journal."""
        return dict(await self._send_request(max_wait=PATIENCE, ask="status"))

    async def watch(self, run: str, after: int = 0) -> AsyncIterator[EventView]:
        """The facts of a run as the owner commits them. Raises OwnerGone if it goes away."""
        async for reply in self._exchange_messages(ask="watch", run=run, after=after):
            event = reply.get("fact")
            if event is not None:
                yield EventView(**event | {"data": msgspec.Raw(msgspec.json.encode(event["data"]))})

    async def prune(self, policy: Retention) -> AsyncIterator[PruneProgress]:
        """Have dropped what is kept no longer; how far that is. Raises OwnerGone."""
        async for reply in self._exchange_messages(ask="collect", policy=policy):
            if "done" in reply:
                yield msgspec.convert(reply["done"], PruneProgress)

    async def import_run(self, file: Path, *, open_too: bool = False) -> ImportResult:
        """Have a run taken in from a file of this machine, named by its whole path."""
        reply = self._send_request(ask="take_in", file=str(file), open=open_too)
        return msgspec.convert(await reply, ImportResult)

    async def _send_request(self, max_wait: float | None = None, **request: Any) -> Any:
        try:
            async with asyncio.timeout(ANSWER if max_wait is None else max_wait):
                async for reply in self._exchange_messages(**request):
                    return reply.get("ok")
        except TimeoutError as error:
            raise OwnerGone(self._unresponsive_message(), hint=WAIT_HINT) from error
        return None

    def _unresponsive_message(self) -> str:
        owner = self._home.owner_pid() or "unknown"
        return f"the home {self._home.path} is owned by process {owner}, which does not answer"

    async def _exchange_messages(self, **request: Any) -> AsyncIterator[dict[str, Any]]:
        reader, writer, token = await self._connect()
        try:
            # An owner that goes while it is told may take a part of it: what it says then counts.
            with contextlib.suppress(OSError):
                await send_message(writer, {"token": token, **request})
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
            # Not close(): what an owner that does not read was sent would be waited for.
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
