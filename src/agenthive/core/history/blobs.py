"""Stores large values as blobs, outside of the records that refer to them.

An event with a large value is journaled without it; its field ``blob`` refers to the value by
digest and size, so that the hash chain covers the value too. Equal values are stored once. A replay
puts references into the state in place of the values. The caller lists the references that the
state still has (`list_pending`), reads those blobs, and fills them in (`fill_state`), so that a
value that was replaced meanwhile is never loaded.

Never reads or writes a store. To add an event with a value that may be large: a field ``blob`` in
its struct, a line in `LARGE_FIELDS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Final, TypeVar

import msgspec

from agenthive.core.graph.nodes import RECONCILE_SUFFIX
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Batch, Blob, Record
from agenthive.core.machine.run_state import INPUTS, RunState
from agenthive.core.values import JSONValue
from agenthive.errors import StoreCorrupt, describe_defect

LARGE_BYTES: Final = 64 * 1024
"""Values with more bytes of JSON than this are stored as blobs."""

LARGE_FIELDS: Final[dict[type[ev.Event], tuple[str, JSONValue]]] = {
    ev.RunSubmitted: ("inputs", {}),
    ev.TaskSucceeded: ("result", None),
}
"""The field of an event that may be large, and the value that the journal has in its place."""

T = TypeVar("T", bound=msgspec.Struct)

_encode = msgspec.json.Encoder().encode

Contents = Mapping[str, bytes]
"""Bodies of blobs by their digest."""


def encode_events(run: str, events: Sequence[ev.RunEvent], batch: Batch) -> bytes:
    """The payload of a record with these events; their large values go into the batch as blobs."""
    parts = [*map(_encode, events)]
    if max(map(len, parts)) > LARGE_BYTES:
        parts = [
            _encode(_extract_large_values(run, event, batch)) if len(part) > LARGE_BYTES else part
            for event, part in zip(events, parts, strict=True)
        ]
    return b"[" + b",".join(parts) + b"]"


def _extract_large_values(run: str, event: ev.RunEvent, batch: Batch) -> ev.RunEvent:
    if isinstance(event, ev.RunSubmitted) and event.fork is not None:
        kept_results = [
            _extract_value(run, kept_result, "result", None, batch)
            for kept_result in event.fork.taken
        ]
        fork = msgspec.structs.replace(event.fork, taken=kept_results)
        event = msgspec.structs.replace(event, fork=fork)
    field, empty = LARGE_FIELDS.get(type(event), ("", None))
    # The machine reads the result of a reconcile call during a replay: it must be in the record.
    if not field or RECONCILE_SUFFIX in getattr(event, "task", ""):
        return event
    return _extract_value(run, event, field, empty, batch)


def _extract_value(run: str, holder: T, field: str, empty: JSONValue, batch: Batch) -> T:
    body = msgspec.json.encode(getattr(holder, field))
    if len(body) <= LARGE_BYTES:
        return holder
    name = digest(body)
    batch.blobs.append((name, body))
    batch.uses.append((run, name))
    changes = {field: empty, "blob": Blob(digest=name, size=len(body))}
    return msgspec.structs.replace(holder, **changes)


def digest(body: bytes) -> str:
    """The name of a blob: SHA-256 of its bytes, in hex."""
    return sha256(body).hexdigest()


def decode_record(record: Record) -> list[ev.RunEvent]:
    """The events of a record of a run. Raises StoreCorrupt.

    Call it only with a record of which the chain was verified: see `hash_chain`.
    """
    try:
        events = ev.decode_run_events(record.payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StoreCorrupt(
            f"stream {record.stream}: record {record.seq} cannot be decoded: "
            f"{describe_defect(error)}",
            hint="Restore the journal from a backup; do not continue with this one.",
        ) from error
    if len(events) != record.count:
        raise StoreCorrupt(
            f"stream {record.stream}: record {record.seq} holds {len(events)} events and declares "
            f"{record.count}",
            hint="Restore the journal from a backup; do not continue with this one.",
        )
    return events


def list_references(records: Iterable[Record]) -> list[Blob]:
    """The references in the records of a run, in order."""
    references = []
    for record in records:
        # A cheap test before decoding. It may also match text of a user.
        if b'"blob":{' in record.payload:
            events = decode_record(record)
            references += [blob for event in events for blob in _references_in_event(event)]
    return references


def _references_in_event(event: ev.Event) -> list[Blob]:
    """The references in an event: its own, and those in the results that a fork inherits."""
    blob: Blob | None = getattr(event, "blob", None)
    fork: ev.Fork | None = getattr(event, "fork", None)
    kept_results = () if fork is None else fork.taken
    references = (blob, *(kept_result.blob for kept_result in kept_results))
    return [reference for reference in references if reference is not None]


def fill_event(event: ev.RunEvent, contents: Contents) -> ev.RunEvent:
    """The event with its values in place of references. Raises StoreCorrupt."""
    if isinstance(event, ev.RunSubmitted) and event.fork is not None:
        kept_results = [
            _fill_value(kept_result, "result", contents) for kept_result in event.fork.taken
        ]
        fork = msgspec.structs.replace(event.fork, taken=kept_results)
        event = msgspec.structs.replace(event, fork=fork)
    return _fill_value(event, LARGE_FIELDS.get(type(event), ("", None))[0], contents)


def _fill_value(holder: T, field: str, contents: Contents) -> T:
    blob: Blob | None = getattr(holder, "blob", None)
    if blob is None:
        return holder
    return msgspec.structs.replace(holder, **{field: load_value(blob, contents), "blob": None})


def list_pending(state: RunState) -> list[Blob]:
    """The references in a replayed state: of its inputs, then of its results."""
    if not state.blobs:
        return []
    inputs = [state.blobs[INPUTS]] if INPUTS in state.blobs else []
    return inputs + [
        blob for result in state.results.values() for blob in _nested_references(result)
    ]


def _nested_references(result: object) -> list[Blob]:
    """A result is a reference, a list of the results of mapped items, or holds no reference."""
    if isinstance(result, Blob):
        return [result]
    return (
        [blob for item in result for blob in _nested_references(item)]
        if isinstance(result, list)
        else []
    )


def fill_state(state: RunState, contents: Contents) -> None:
    """Replace the references in the state by their values. Raises StoreCorrupt."""
    if INPUTS in state.blobs:
        inputs = load_value(state.blobs[INPUTS], contents)
        state.inputs = inputs if isinstance(inputs, dict) else {}
    if state.blobs:
        state.results = {i: _resolve_value(result, contents) for i, result in state.results.items()}
    state.blobs = {}


def _resolve_value(result: object, contents: Contents) -> JSONValue:
    if isinstance(result, Blob):
        return load_value(result, contents)
    if isinstance(result, list) and _nested_references(result):
        return [_resolve_value(item, contents) for item in result]
    return result  # type: ignore[return-value]


def load_value(blob: Blob, contents: Contents) -> JSONValue:
    """The value of a reference. Raises StoreCorrupt if its blob is missing or was changed."""
    body = verify_body(blob, contents.get(blob.digest))
    try:
        content: JSONValue = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StoreCorrupt(
            f"the blob {blob.digest} cannot be decoded: {describe_defect(error)}",
            hint="Restore the journal from a backup; do not continue with this one.",
        ) from error
    return content


def verify_body(blob: Blob, body: bytes | None) -> bytes:
    """The body of a blob, if its size and digest fit. Raises StoreCorrupt."""
    if body is None or len(body) != blob.size or digest(body) != blob.digest:
        raise StoreCorrupt(
            f"the blob {blob.digest} {'is missing' if body is None else 'was changed'}",
            hint="Restore the journal from a backup; do not continue with this one.",
        )
    return body
