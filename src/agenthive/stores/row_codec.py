"""Converts rows of SQL into the values of the port `Store`, and back.

Functions ending in ``_of`` decode a row, those ending in ``_values`` encode one; the order of the
columns is that of the queries in `sql/`. Nothing here runs a query.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agenthive.core.journal.records import (
    AccountState,
    Batch,
    CachedResult,
    Record,
    RequestRow,
    RunRow,
)


def record_of(row: tuple[Any, ...]) -> Record:
    """Decode a record. Its texts are bytes in the row.

    A text that is not UTF-8 is damage of that record alone: it is replaced, so that the hash of the
    record does not fit, and all other records can be read.
    """
    pos, stream, seq, count, at, kind, v, rules, actor, cause, payload, prev, chain_hash = row
    return Record(
        pos=pos,
        stream=stream.decode(errors="replace"),
        seq=seq,
        count=count,
        at=at,
        type=kind.decode(errors="replace"),
        v=v,
        rules=rules,
        actor=actor.decode(errors="replace"),
        cause=cause.decode(errors="replace"),
        payload=payload,
        prev=prev,
        hash=chain_hash,
    )


def record_values(record: Record, pos: int, prev: bytes, chain_hash: bytes) -> tuple[Any, ...]:
    """Encode a record at position ``pos``, chained by ``chain_hash`` to the hash ``prev``."""
    return (
        pos,
        record.stream,
        record.seq,
        record.count,
        record.at,
        record.type,
        record.v,
        record.rules,
        record.actor,
        record.cause,
        record.payload.decode(),
        prev,
        chain_hash,
    )


def run_of(row: tuple[Any, ...]) -> RunRow:
    """Decode a row of the run list; its name and status are bytes in the row."""
    run, name, status, created, finished, total, completed, failed, tenant, owner = row
    return RunRow(
        run=run,
        name=name.decode(errors="replace"),
        status=status.decode(errors="replace"),
        created=created,
        finished=finished,
        total_tasks=total,
        completed_tasks=completed,
        failed_tasks=failed,
        tenant=tenant,
        owner=owner,
    )


def cached_values(cached: CachedResult) -> tuple[Any, ...]:
    """Encode a result that equal calls may use."""
    return cached.key, cached.origin, cached.result.decode(), cached.at, cached.expires


def request_values(row: RequestRow) -> tuple[Any, ...]:
    """Encode a request."""
    answer = row.answer.decode()
    fields = (row.tenant, row.key, row.verb, row.fingerprint, answer, row.rejection)
    return (*fields, row.at, row.expires)


def request_of(row: tuple[Any, ...]) -> RequestRow:
    """Decode a request."""
    tenant, key, verb, fingerprint, answer, rejection, at, expires = row
    return RequestRow(
        tenant=tenant,
        key=key,
        verb=verb,
        fingerprint=fingerprint,
        answer=answer.encode(),
        rejection=rejection,
        at=at,
        expires=expires,
    )


def definition_values(batch: Batch) -> list[tuple[Any, ...]]:
    """Encode the definitions of a batch, each once."""
    return [(name, body.decode()) for name, body in dict(batch.definitions).items()]


def account_writes(batch: Batch) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    """The queries that write accounts, limits and marks, each with its rows."""
    if batch.entries:
        yield "enter", [(row.scope, row.captured, row.held) for row in batch.entries]
    if batch.standings:
        yield "set_standing", [(row.scope, row.limit, row.frozen) for row in batch.standings]
    if batch.marks:
        yield "mark", [*batch.marks]


def standing_of(row: tuple[Any, ...]) -> AccountState:
    """Decode an account."""
    scope, limit, captured, held, frozen = row
    return AccountState(scope=scope, limit=limit, captured=captured, held=held, frozen=bool(frozen))


def run_values(row: RunRow) -> tuple[Any, ...]:
    """Encode a row of the run list."""
    return (
        row.run,
        row.tenant,
        row.owner,
        row.name,
        row.status,
        row.created,
        row.finished,
        row.total_tasks,
        row.completed_tasks,
        row.failed_tasks,
    )
