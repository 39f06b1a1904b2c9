"""One run as a file: written by `exported`, read and checked by `arrival`.

JSON lines, UTF-8: a header with the schema and counts, then a line a definition, a line a record in
order with its chain, a line a blob; bodies are text, so that every byte is kept. What is read is
believed in nothing: versions, chain, digests, sizes, the run's own facts, all are checked before
anything is written. Never runs anything, never resolves a secret (a journal has references only).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import BinaryIO, Final, TypeAlias

import msgspec

from agenthive.core.engine.active_run import Live
from agenthive.core.graph.graph import Graph
from agenthive.core.history import blobs
from agenthive.core.history.replay import facts, pinned_to, replay, submission
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.hash_chain import check
from agenthive.core.journal.records import Batch, Record
from agenthive.core.journal.store import Store
from agenthive.core.model import definition
from agenthive.core.model.states import CLOSED, RunStatus
from agenthive.core.values import SECOND, Micros
from agenthive.errors import DefinitionError, JournalTooNew, StoreCorrupt

SCHEMA: Final = "agenthive/run-export/"
VERSION: Final = 1
MOST_BYTES: Final = 512 * 2**20
MOST_LINE: Final = 96 * 2**20
AHEAD: Final[Micros] = 24 * 3600 * SECOND
"""How far the clock that wrote a file may be ahead of ours."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line."""

    schema: str
    run: str
    name: str
    status: str
    events: int
    records: int
    blobs: int
    head: str


class _Definition(msgspec.Struct, frozen=True, tag_field="kind", tag="definition"):
    digest: str
    body: str


class _Record(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="record"):
    seq: int
    count: int
    at: Micros
    type: str
    v: int
    rules: int
    actor: str
    cause: str
    payload: str
    prev: str
    hash: str


class _Blob(msgspec.Struct, frozen=True, tag_field="kind", tag="blob"):
    digest: str
    body: str


_Line: TypeAlias = _Definition | _Record | _Blob
_line = msgspec.json.Decoder(_Line)


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A run that may be taken in: the fact for the hive's stream, and what is to be written."""

    fact: ev.RunImported
    work: Batch

    @property
    def open(self) -> bool:
        """Whether the run has not ended."""
        return RunStatus(self.fact.status) not in CLOSED


class TakenIn(msgspec.Struct, frozen=True, kw_only=True):
    """What came of taking in a file; ``new`` is False if the run was here already."""

    run: str
    status: str
    new: bool


async def exported(store: Store, records: list[Record]) -> AsyncIterator[bytes]:
    """The lines of a file with this run. Raises StoreCorrupt."""
    pinned = _definitions(records)
    mentioned = {blob.digest: blob for blob in blobs.mentioned(records)}
    state = replay(Graph(definition.decode(await _body(store, pinned_to(records)))), records)
    last = records[-1]
    yield _text(
        Header(
            schema=f"{SCHEMA}{VERSION}",
            run=last.stream,
            name=state.name,
            status=state.status,
            events=state.seq,
            records=len(records),
            blobs=len(mentioned),
            head=last.hash.hex(),
        )
    )
    for digest in pinned:
        yield _text(_Definition(digest, (await _body(store, digest)).decode()))
    for record in records:
        yield _text(_written(record))
    for digest, blob in mentioned.items():
        yield _text(_Blob(digest, blobs.checked(blob, await store.blob(digest)).decode()))


def _text(line: msgspec.Struct) -> bytes:
    return msgspec.json.encode(line) + b"\n"


def _written(record: Record) -> _Record:
    fields = msgspec.structs.asdict(record)
    fields |= {"payload": record.payload.decode(), "prev": record.prev.hex()}
    fields |= {"hash": record.hash.hex()}
    return _Record(**{name: fields[name] for name in _Record.__struct_fields__})


async def _body(store: Store, digest: str) -> bytes:
    body = await store.definition(digest)
    if body is None or definition.digest(body) != digest:
        raise StoreCorrupt(f"the definition {digest} is missing or was changed")
    return body


def _definitions(records: list[Record]) -> list[str]:
    """The digests of the definitions that a run was pinned to, the first in front."""
    found = [submission(records).definition]
    for _, event in facts(records):
        named = getattr(event, "definition", None)
        if isinstance(named, str) and named and named not in found:
            found.append(named)
    return found


def arrival(file: BinaryIO, now: Micros) -> Arrival:
    """Read and check a file. Raises DefinitionError, JournalTooNew."""
    try:
        lines = _lines(file)
        header = _header(next(lines, b""))
        return _arrived(header, [_line.decode(line) for line in lines], now)
    except JournalTooNew:
        raise
    except Exception as error:
        # Whatever it is: the file is somebody else's, and nothing has been touched.
        raise DefinitionError(f"this is no whole export of a run: {error}") from error


def _lines(file: BinaryIO) -> Iterator[bytes]:
    total = 0
    while line := file.readline(MOST_LINE + 1):
        total += len(line)
        if len(line) > MOST_LINE or total > MOST_BYTES:
            raise ValueError(f"more than {MOST_LINE:,} bytes a line or {MOST_BYTES:,} in all")
        yield line


def _header(line: bytes) -> Header:
    header = msgspec.json.decode(line, type=Header)
    kind, _, number = header.schema.rpartition("/")
    if f"{kind}/" != SCHEMA or not number.isdecimal():
        raise ValueError(f"its schema is {header.schema[:80]!r}")
    if int(number[:9]) > VERSION:
        raise JournalTooNew(
            f"the file is of version {number[:9]}, this agenthive reads up to {VERSION}",
            hint="Import it with the agenthive that wrote it, or a later one.",
        )
    return header


def _arrived(header: Header, lines: list[_Line], now: Micros) -> Arrival:
    records = [_record(header.run, line) for line in lines if isinstance(line, _Record)]
    contents = {line.digest: line.body.encode() for line in lines if isinstance(line, _Blob)}
    bodies = {line.digest: line.body.encode() for line in lines if isinstance(line, _Definition)}
    if len(records) != header.records or len(contents) != header.blobs or not records:
        raise ValueError("lines are missing, or there are too many")
    _sound(header, records, now)
    pinned = _definitions(records)
    for digest in {*bodies, *pinned}:
        if digest not in pinned or definition.digest(bodies.get(digest, b"")) != digest:
            raise ValueError(f"the definition {digest[:80]!r} is missing, changed or not its own")
    mentioned = {blob.digest: blob for blob in blobs.mentioned(records)}
    if mentioned.keys() != contents.keys():
        raise ValueError("its blobs are not those that it speaks of")
    for digest, blob in mentioned.items():
        blobs.checked(blob, contents[digest])
    state = replay(Graph(definition.decode(bodies[pinned_to(records)])), records)
    fact = ev.RunImported(
        at=now, run=state.run, head=header.head, events=state.seq, status=state.status,
        tenant=state.tenant, owner=state.owner,
    )  # fmt: skip
    work = Batch(
        records=records,
        definitions=list(bodies.items()),
        blobs=list(contents.items()),
        uses=[(state.run, digest) for digest in (*bodies, *contents)],
        runs=[Live(state.run, state).row()],
    )
    return Arrival(fact=fact, work=work)


def _record(run: str, line: _Record) -> Record:
    fields = msgspec.structs.asdict(line)
    fields |= {"payload": line.payload.encode(), "prev": bytes.fromhex(line.prev)}
    return Record(stream=run, **fields | {"hash": bytes.fromhex(line.hash)})


def _sound(header: Header, records: list[Record], now: Micros) -> None:
    """The chain holds, from the run's own submission to the head that the header names."""
    for record in check(records):
        if record.type != "run" or record.at > now + AHEAD:
            raise ValueError(f"record {record.seq} is not one of a run, or from the future")
        if len(ev.decode_run(record.payload)) != record.count:
            raise ValueError(f"record {record.seq} does not hold as many facts as it says")
    if records[-1].hash.hex() != header.head or submission(records).run != header.run:
        raise ValueError("its records are not those of the run in its header")
