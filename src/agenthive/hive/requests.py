"""Requests with an id: carried out once, and answered the same way each time they come.

The caller makes the id, and repeats the request under it when it does not know its outcome: the
owner of the home may have ended between the commit and its answer. The row of a request (id,
fingerprint of what was requested, answer) is written in one transaction with the events that carry
it out, so neither is ever on disk without the other. It is kept for `KEPT`; the same id with other
arguments is refused meanwhile. A request that raised wrote nothing, has no row, and is carried out
when it comes again.

Nothing here knows what a request does. To give a new request an id: pass what it does to
`HiveRequests.execute_once`, and write the row that its ``keep`` makes with the events.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from agenthive.core.engine.reply_validation import to_plain_json
from agenthive.core.engine.step_evaluation import payload_digest
from agenthive.core.journal.records import RequestRow
from agenthive.core.policies.schedule import format_utc
from agenthive.core.values import SECOND, JSONObject, Micros
from agenthive.errors import Conflict, InvalidValue
from agenthive.hive.resources import HiveResources

T = TypeVar("T")

KEPT: Final[Micros] = 24 * 3600 * SECOND
"""How long a request is remembered after it was carried out, in microseconds."""
_KEY: Final = re.compile(r"[!-~]{1,128}")
"""A request id; the values of an ``Idempotency-Key`` header that are no longer than that."""

KeepAnswer: TypeAlias = Callable[[object], RequestRow | None]
"""Makes the row to write with a request from its answer; None if the request has no id."""


class RequestIdentity(msgspec.Struct, frozen=True):
    """A request that has an id, without what it does."""

    #: The id that the caller made.
    key: str
    #: A name of `ipc.protocol.VERBS`.
    verb: str
    #: SHA-256 of the verb and its arguments, in hex.
    fingerprint: str

    def build_row(self, answer: object, now: Micros) -> RequestRow:
        """The row that keeps ``answer``, a value that JSON can hold."""
        return RequestRow(
            key=self.key,
            verb=self.verb,
            fingerprint=self.fingerprint,
            answer=msgspec.json.encode(answer),
            at=now,
            expires=now + KEPT,
        )


class HiveRequests:
    """The requests with an id that a hive carries out, and those that it has carried out."""

    def __init__(self, resources: HiveResources) -> None:
        self._resources = resources
        #: Id -> request and task of those that are carried out now.
        self._running: dict[str, tuple[RequestIdentity, asyncio.Task[Any]]] = {}

    async def execute_once(
        self,
        request_id: str | None,
        verb: str,
        arguments: JSONObject,
        execute: Callable[[KeepAnswer], Awaitable[T]],
        kind: type[T],
    ) -> T:
        """Carry out a request, or give the answer that the request with this id got before.

        ``execute`` gets a function that makes the row to write from the answer; ``kind`` is the
        type of the answer. A request whose caller is cancelled is carried out all the same. Raises
        what ``execute`` raises, InvalidValue for an id that cannot be one, Conflict if the id
        belongs to another request or to one that was rejected.
        """
        if request_id is None:
            return await execute(keep_nothing)
        identity = identify_request(request_id, verb, arguments)
        running = self._running.get(request_id)
        if running is None:
            task = asyncio.ensure_future(self._execute_first(identity, execute, kind))
            self._running[request_id] = identity, task
            task.add_done_callback(lambda done: self._forget_running(request_id, done))
        else:
            _require_same(running[0].verb, running[0].fingerprint, identity, "at this moment")
            task = running[1]
        answer: T = await asyncio.shield(task)
        return answer

    async def find_row(self, identity: RequestIdentity) -> RequestRow | None:
        """The row of this request; None if it was not carried out, or not within `KEPT`.

        Raises Conflict if the id belongs to another request, or if the request was rejected.
        """
        row = await self._resources.store.find_request(identity.key)
        if row is None or row.expires < self._resources.clock.now():
            return None
        _require_same(row.verb, row.fingerprint, identity, f"at {format_utc(row.at)}")
        if row.rejection:
            raise Conflict(row.rejection)
        return row

    async def _execute_first(
        self,
        identity: RequestIdentity,
        execute: Callable[[KeepAnswer], Awaitable[T]],
        kind: type[T],
    ) -> T:
        row = await self.find_row(identity)
        if row is not None:
            return msgspec.json.decode(row.answer, type=kind)
        clock = self._resources.clock
        return await execute(lambda answer: identity.build_row(answer, clock.now()))

    def _forget_running(self, request_id: str, task: asyncio.Task[Any]) -> None:
        del self._running[request_id]
        # If its callers were cancelled, nothing else takes its error, and asyncio would log it.
        if not task.cancelled():
            task.exception()


def identify_request(request_id: str, verb: str, arguments: JSONObject) -> RequestIdentity:
    """The request with this id. Raises InvalidValue for an id that cannot be one.

    ``arguments`` are those that the caller chose: never an id that is made anew at each attempt.
    """
    check_request_id(request_id)
    fingerprint = payload_digest([verb, to_plain_json(arguments)])
    return RequestIdentity(request_id, verb, fingerprint)


def check_request_id(request_id: object) -> None:
    """Raise InvalidValue for a value that cannot be a request id."""
    if not isinstance(request_id, str) or not _KEY.fullmatch(request_id):
        raise InvalidValue(
            f"{str(request_id)[:200]!r} cannot be a request id",
            hint="Use 1 to 128 visible ASCII characters, such as a UUID.",
        )


def keep_nothing(answer: object) -> None:
    """The row of a request without an id: none."""


def _require_same(verb: str, fingerprint: str, identity: RequestIdentity, time: str) -> None:
    if fingerprint != identity.fingerprint:
        other = "with other arguments" if verb == identity.verb else f"of '{verb}'"
        raise Conflict(
            f"the request id '{identity.key}' belongs to another request {other}, carried out "
            f"{time}; this request of '{identity.verb}' was not carried out",
            hint="Make a new id for each request; repeat an id only to repeat the same request.",
        )
