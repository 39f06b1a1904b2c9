"""Exports one run to a file (`export_lines`), and reads and checks such a file (`read_import`).

The file is JSON lines in UTF-8: a header with the schema and counts, then one line for each
definition, for each record in order with its hashes, and for each blob. Bodies are JSON strings, so
that every byte is kept.

A file is not trusted: versions, chain, digests, sizes, times and the events themselves are checked
before anything is written. Never runs a task, and never resolves a secret: a journal holds only
references to secrets.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import BinaryIO, Final, TypeAlias

import msgspec

from agenthive.core.engine.active_run import ActiveRun
from agenthive.core.graph.graph import Graph
from agenthive.core.history import blobs
from agenthive.core.history.replay import decode_events, find_submission, pinned_digest, replay
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.hash_chain import verify_chain
from agenthive.core.journal.records import Batch, Record
from agenthive.core.journal.store import Store
from agenthive.core.machine.run_state import RunState
from agenthive.core.model import definition
from agenthive.core.model.states import CLOSED, RunStatus
from agenthive.core.values import SECOND, Micros
from agenthive.errors import DefinitionError, JournalTooNew, StoreCorrupt

SCHEMA: Final = "agenthive/run-export/"
VERSION: Final = 1
"""Version of the file format."""
MAX_BYTES: Final = 512 * 2**20
"""Bytes of a file that is read."""
MAX_LINE_BYTES: Final = 96 * 2**20
"""Bytes of one line that is read."""
MAX_CLOCK_AHEAD: Final[Micros] = 24 * 3600 * SECOND
"""How far the clock of the exporting machine may be ahead of this one, in microseconds."""


class ExportHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a file."""

    #: `SCHEMA` and the version of the format.
    schema: str
    run: str
    #: Name of the workflow.
    name: str
    status: str
    #: Number of the last event.
    events: int
    #: Lines of records that follow.
    records: int
    #: Lines of blobs that follow.
    blobs: int
    #: Hash of the last record, in hex.
    head: str


class _DefinitionLine(msgspec.Struct, frozen=True, tag_field="kind", tag="definition"):
    digest: str
    body: str


class _RecordLine(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="record"):
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


class _BlobLine(msgspec.Struct, frozen=True, tag_field="kind", tag="blob"):
    digest: str
    body: str


_ExportLine: TypeAlias = _DefinitionLine | _RecordLine | _BlobLine
_line_decoder = msgspec.json.Decoder(_ExportLine)


class RunImport(msgspec.Struct, frozen=True, kw_only=True):
    """A checked run: the event for the hive stream, and the batch to append with it."""

    event: ev.RunImported
    batch: Batch

    @property
    def is_open(self) -> bool:
        """Whether the run has not ended."""
        return RunStatus(self.event.status) not in CLOSED


class ImportResult(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of an import."""

    run: str
    status: str
    #: False if the journal had the same run already; nothing was written then.
    new: bool


async def export_lines(store: Store, records: list[Record]) -> AsyncIterator[bytes]:
    """The lines of a file with the run that has these records. Raises StoreCorrupt."""
    definitions = _pinned_digests(records)
    references = {blob.digest: blob for blob in blobs.list_references(records)}
    state = replay(
        Graph(definition.decode(await _load_definition(store, pinned_digest(records)))), records
    )
    last = records[-1]
    yield _encode_line(
        ExportHeader(
            schema=f"{SCHEMA}{VERSION}",
            run=last.stream,
            name=state.name,
            status=state.status,
            events=state.seq,
            records=len(records),
            blobs=len(references),
            head=last.hash.hex(),
        )
    )
    for digest in definitions:
        yield _encode_line(
            _DefinitionLine(digest, (await _load_definition(store, digest)).decode())
        )
    for record in records:
        yield _encode_line(_build_record_line(record))
    for digest, blob in references.items():
        yield _encode_line(
            _BlobLine(digest, blobs.verify_body(blob, await store.load_blob(digest)).decode())
        )


def _encode_line(line: msgspec.Struct) -> bytes:
    return msgspec.json.encode(line) + b"\n"


def _build_record_line(record: Record) -> _RecordLine:
    fields = msgspec.structs.asdict(record)
    fields |= {"payload": record.payload.decode(), "prev": record.prev.hex()}
    fields |= {"hash": record.hash.hex()}
    return _RecordLine(**{name: fields[name] for name in _RecordLine.__struct_fields__})


async def _load_definition(store: Store, digest: str) -> bytes:
    body = await store.load_definition(digest)
    if body is None or definition.compute_digest(body) != digest:
        raise StoreCorrupt(
            f"the definition {digest} is missing or was changed",
            hint="Restore the journal from a backup.",
        )
    return body


def _pinned_digests(records: list[Record]) -> list[str]:
    """The digests of the definitions that a run was pinned to, oldest first."""
    digests = [find_submission(records).definition]
    for _, event in decode_events(records):
        digest = getattr(event, "definition", None)
        if isinstance(digest, str) and digest and digest not in digests:
            digests.append(digest)
    return digests


def read_import(file: BinaryIO, now: Micros) -> RunImport:
    """Read and check a file at the time ``now``. Raises DefinitionError, JournalTooNew."""
    try:
        lines = _read_lines(file)
        header = _parse_header(next(lines, b""))
        return _build_import(header, [_decode_line(line) for line in lines], now)
    except JournalTooNew:
        raise
    except Exception as error:
        # Any error means a bad file: its content is arbitrary, and nothing has been written yet.
        raise DefinitionError(
            f"the file is not a complete export of a run: {error}",
            hint="Export the run again: agenthive export RUN",
        ) from error


def _read_lines(file: BinaryIO) -> Iterator[bytes]:
    total = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        total += len(line)
        if len(line) > MAX_LINE_BYTES:
            raise ValueError(f"a line has more than {MAX_LINE_BYTES:,} bytes")
        if total > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES:,} bytes in all")
        yield line


def _decode_line(line: bytes) -> _ExportLine:
    _reject_duplicate_keys(line)
    content: _ExportLine = _line_decoder.decode(line)
    return content


def _reject_duplicate_keys(line: bytes) -> None:
    """Raises ValueError if an object in the line has a key twice: readers differ in which counts.

    Also in the texts that are JSON themselves, which are imported as they are.
    """

    def check(pairs: list[tuple[str, object]]) -> dict[str, object]:
        fields = dict(pairs)
        if len(fields) != len(pairs):
            names = [name for name, _ in pairs]
            double = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"an object has the key {double[:80]!r} twice")
        return fields

    fields = json.loads(line, object_pairs_hook=check)
    for name in ("payload", "body"):
        if isinstance(fields, dict) and isinstance(fields.get(name), str):
            json.loads(fields[name], object_pairs_hook=check)


def _parse_header(line: bytes) -> ExportHeader:
    _reject_duplicate_keys(line)
    header = msgspec.json.decode(line, type=ExportHeader)
    kind, _, number = header.schema.rpartition("/")
    if f"{kind}/" != SCHEMA or not number.isdecimal():
        raise ValueError(f"its schema is {header.schema[:80]!r}, not {SCHEMA}N")
    if int(number[:9]) > VERSION:
        raise JournalTooNew(
            f"the file has version {number[:9]}, this agenthive reads versions up to {VERSION}",
            hint="Import it with the agenthive that wrote it, or a later one.",
        )
    return header


def _build_import(header: ExportHeader, lines: list[_ExportLine], now: Micros) -> RunImport:
    records = [_build_record(header.run, line) for line in lines if isinstance(line, _RecordLine)]
    contents = {line.digest: line.body.encode() for line in lines if isinstance(line, _BlobLine)}
    bodies = {
        line.digest: line.body.encode() for line in lines if isinstance(line, _DefinitionLine)
    }
    if len(records) != header.records or len(contents) != header.blobs or not records:
        raise ValueError("the numbers of lines differ from those in its header")
    _check_records(header, records, now)
    pinned_digests = _pinned_digests(records)
    for digest in {*bodies, *pinned_digests}:
        if (
            digest not in pinned_digests
            or definition.compute_digest(bodies.get(digest, b"")) != digest
        ):
            raise ValueError(
                f"the definition {digest[:80]!r} is missing, was changed or belongs to another run"
            )
    references = {blob.digest: blob for blob in blobs.list_references(records)}
    if references.keys() != contents.keys():
        raise ValueError("its blobs are not those that its records refer to")
    for digest, blob in references.items():
        blobs.verify_body(blob, contents[digest])
    state = replay(Graph(definition.decode(bodies[pinned_digest(records)])), records)
    _check_claims(header, state)
    event = ev.RunImported(
        at=now,
        run=state.run,
        head=header.head,
        events=state.seq,
        status=state.status,
        tenant=state.tenant,
        owner=state.owner,
    )
    batch = Batch(
        records=records,
        definitions=list(bodies.items()),
        blobs=list(contents.items()),
        uses=[(state.run, digest) for digest in (*bodies, *contents)],
        runs=[ActiveRun(state.run, state).build_row()],
    )
    return RunImport(event=event, batch=batch)


def _check_claims(header: ExportHeader, state: RunState) -> None:
    """Raises ValueError if the header claims another end of the run than its records lead to."""
    for name, claimed, actual in (
        ("run", header.run, state.run),
        ("name", header.name, state.name),
        ("status", header.status, str(state.status)),
        ("events", header.events, state.seq),
    ):
        if claimed != actual:
            raise ValueError(
                f"its header has {name} {claimed!r:.80}, its records lead to {actual!r:.80}"
            )


def _build_record(run: str, line: _RecordLine) -> Record:
    fields = msgspec.structs.asdict(line)
    fields |= {"payload": line.payload.encode(), "prev": bytes.fromhex(line.prev)}
    return Record(stream=run, **fields | {"hash": bytes.fromhex(line.hash)})


def _check_records(header: ExportHeader, records: list[Record], now: Micros) -> None:
    """Check the chain from the submission of the run to the head in the header."""
    for record in verify_chain(records):
        if record.type != "run":
            raise ValueError(f"record {record.seq} is not a record of a run")
        events = ev.decode_run_events(record.payload)
        # By the clock of then, not by ``at``: after a step back that is ahead of the clock.
        if events and (events[-1].time > now + MAX_CLOCK_AHEAD or record.at != events[-1].at):
            raise ValueError(f"record {record.seq} is not a record of a run, or lies in the future")
        if len(events) != record.count:
            raise ValueError(f"record {record.seq} does not hold as many events as it declares")
    if records[-1].hash.hex() != header.head or find_submission(records).run != header.run:
        raise ValueError("its records do not belong to the run in its header")
