"""The verbs of the control socket: one table, which the client and the server both read.

Nothing here opens a connection or knows what a verb does. To add a verb: a row in `VERBS`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import msgspec

from agenthive.core.history.migration import Migration
from agenthive.core.history.retention import Retention
from agenthive.core.journal import run_events as ev
from agenthive.core.model import definition
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.errors import AgentHiveError
from agenthive.queries.export_import import ImportResult
from agenthive.queries.journal_reader import EventView
from agenthive.queries.retention import PruneProgress

T = TypeVar("T")

MAX_SOCKET_PATH: Final = 100
"""Bytes of a socket's path that every system accepts."""
HANDSHAKE_SECONDS: Final = 10.0
"""How long the server waits for a request, and the client for the reply to ``status``."""
REPLY_SECONDS: Final = 60.0
"""How long the client waits for the reply to any other verb."""
STATUS: Final = "status"
"""The one verb that the server answers itself, so it is not in the table: who owns the home."""


class HomeOwner(Protocol):
    """The part of a `Hive` that the server uses itself; the rest is called through `VERBS`."""

    @property
    def store_error(self) -> str:
        """Why the journal takes no writes now; empty if it does."""
        ...


class Codec(msgspec.Struct, frozen=True):
    """How a value crosses the socket. Neither function is called for None."""

    #: From the Python value to what `msgspec.json.encode` accepts.
    encode: Callable[[Any], Any]
    #: From decoded JSON to the Python value.
    decode: Callable[[Any], Any]


class Verb(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table: a request on the wire, and the method of the owner that it calls."""

    #: The name on the wire. Never renamed: another process may run another version of agenthive.
    name: str
    #: Path of the method from the owner, such as ``approvals.decide``.
    method: str
    #: Names of the arguments on the wire, in the order of the method's parameters.
    arguments: tuple[str, ...] = ()
    #: Arguments that are not plain JSON -> their codecs.
    codecs: Mapping[str, Codec] = {}
    #: Arguments whose parameter has another name -> that name.
    parameters: Mapping[str, str] = {}
    #: The codec of the result, or of each item if the verb streams.
    result: Codec | None = None
    #: The key of a message with one item, if the method is an async generator; else empty.
    item_key: str = ""
    #: Whether it may start calls. An owner that is about to close refuses such a verb.
    starts_work: bool = False

    def encode_request(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call of the method, by their names on the wire.

        Raises TypeError for an argument that is not in the row.
        """
        wire_names = {self.parameters.get(name, name): name for name in self.arguments}
        if len(args) > len(self.arguments) or not kwargs.keys() <= wire_names.keys():
            raise TypeError(f"{self.method} takes {', '.join(wire_names)} across the socket")
        values = dict(zip(self.arguments, args, strict=False))
        values |= {wire_names[parameter]: value for parameter, value in kwargs.items()}
        return {name: _convert(self._encoder(name), value) for name, value in values.items()}

    def decode_request(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The keyword arguments for the method; arguments that are not in the request are left out.

        Raises msgspec.ValidationError, or what a codec raises, for a value that does not fit.
        """
        return {
            self.parameters.get(name, name): _convert(self._decoder(name), request[name])
            for name in self.arguments
            if name in request
        }

    def encode_result(self, value: Any) -> Any:
        """A result of the method, for a reply."""
        return _convert(None if self.result is None else self.result.encode, value)

    def decode_result(self, value: Any) -> Any:
        """What `encode_result` encoded."""
        return _convert(None if self.result is None else self.result.decode, value)

    def _encoder(self, name: str) -> Callable[[Any], Any] | None:
        return self.codecs[name].encode if name in self.codecs else None

    def _decoder(self, name: str) -> Callable[[Any], Any] | None:
        return self.codecs[name].decode if name in self.codecs else None


def struct_codec(kind: Any) -> Codec:
    """The codec of a msgspec struct, or of a union of structs."""
    return Codec(msgspec.to_builtins, lambda value: msgspec.convert(value, type=kind))


def encode_error(error: AgentHiveError) -> dict[str, Any]:
    """An error, for a reply; `client` makes an error of the same class from it."""
    payload = {"type": type(error).__name__, "message": error.message, "hint": error.hint}
    return payload | {"problems": getattr(error, "problems", ())}


def find_verb(method: str) -> Verb | None:
    """The row that calls the method at this path."""
    return next((verb for verb in VERBS.values() if verb.method == method), None)


def has_part(path: str) -> bool:
    """Whether a row calls a method below this path, such as ``approvals``."""
    return any(verb.method.startswith(f"{path}.") for verb in VERBS.values())


def _convert(codec: Callable[[Any], Any] | None, value: Any) -> Any:
    return value if codec is None or value is None else codec(value)


def _encode_workflow(workflow: WorkflowSpec) -> str:
    return definition.encode(workflow).decode()


def _decode_workflow(text: str) -> WorkflowSpec:
    return definition.decode(text.encode())


def _decode_event(fields: dict[str, Any]) -> EventView:
    return EventView(**fields | {"data": msgspec.Raw(msgspec.json.encode(fields["data"]))})


# `to_builtins` would decode the `Raw` in an event, so an event is encoded with its whole message.
_EVENT: Final = Codec(lambda event: event, _decode_event)
_WORKFLOW: Final = {"workflow": Codec(_encode_workflow, _decode_workflow)}
_UTF8: Final = Codec(bytes.decode, str.encode)
_PATH: Final = Codec(os.fspath, os.fspath)

_TABLE: Final = (
    Verb(
        name="submit",
        method="submit",
        arguments=("workflow", "inputs", "run", "request_id"),
        codecs=_WORKFLOW,
        parameters={"run": "run_id"},
        starts_work=True,
    ),
    Verb(name="cancel", method="cancel", arguments=("run", "reason", "request_id")),
    Verb(name="resume", method="resume", arguments=("runs",), starts_work=True),
    Verb(
        name="resolve",
        method="resolve_outcome",
        arguments=("run", "task", "outcome", "result", "actor", "reason", "request_id"),
    ),
    Verb(
        name="watch",
        method="watch",
        arguments=("run", "after"),
        result=_EVENT,
        item_key="fact",
    ),
    Verb(
        name="approve",
        method="approvals.decide",
        arguments=("run", "task", "approved", "actor", "digest", "comment", "request_id"),
    ),
    Verb(
        name="signal",
        method="signals.send",
        arguments=("run", "name", "data", "id", "actor", "request_id"),
    ),
    Verb(
        name="set_budget",
        method="budgets.change_limit",
        arguments=("scope", "amount", "add", "actor", "reason", "request_id"),
    ),
    Verb(
        name="settle",
        method="budgets.settle",
        arguments=("run", "task", "cost", "attempt", "actor", "reason", "request_id"),
    ),
    Verb(
        name="schedule",
        method="schedules.apply_change",
        arguments=("change", "workflow", "request_id"),
        codecs={"change": struct_codec(ev.ScheduleChange), "workflow": _UTF8},
        parameters={"workflow": "body"},
        starts_work=True,
    ),
    Verb(
        name="migrate",
        method="migrations.migrate",
        arguments=("run", "workflow", "renamed", "actor", "request_id"),
        codecs=_WORKFLOW,
        result=struct_codec(Migration),
    ),
    Verb(
        name="fork",
        method="forks.create",
        arguments=("run", "task", "workflow", "id", "again", "request_id"),
        codecs=_WORKFLOW,
        starts_work=True,
    ),
    Verb(
        name="collect",
        method="retention.prune",
        arguments=("policy", "request_id"),
        codecs={"policy": struct_codec(Retention)},
        result=struct_codec(PruneProgress),
        item_key="done",
    ),
    Verb(
        name="take_in",
        method="retention.import_run",
        arguments=("file", "open", "request_id"),
        codecs={"file": _PATH},
        parameters={"open": "open_too"},
        result=struct_codec(ImportResult),
    ),
)
VERBS: Final = {verb.name: verb for verb in _TABLE}
"""Name on the wire -> row."""
