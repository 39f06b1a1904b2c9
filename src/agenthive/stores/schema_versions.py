"""Files of earlier versions: brought up to this one by their owner, read as they are by others.

Never changes a record. To change the tables: a new number, a query that brings the one before to
it, and stand-ins for who only reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Protocol

from agenthive.stores.sql import queries

SCHEMA_VERSION: Final = 3
"""1: records, definitions, runs. 2: blobs, and which stream needs what. 3: accounts."""


class Connection(Protocol):
    """What is needed of a connection."""

    def execute(self, statements: str) -> Iterator[Any]:
        """Run SQL."""
        ...

    def __enter__(self) -> Any: ...

    def __exit__(self, *error: Any) -> Any: ...


def version_of(connection: Connection) -> int:
    """The version of an open file."""
    return next((int(row[0]) for row in connection.execute("PRAGMA user_version")), 0)


def upgrade_schema(connection: Connection) -> None:
    """Bring a file to this version, all or nothing. Only its owner may."""
    if version_of(connection) < SCHEMA_VERSION:
        with connection:
            for query in ("schema", "upgrade"):
                list(connection.execute(queries("sqlite")[query]))


def create_stand_ins(connection: Connection) -> None:
    """For who only reads: an earlier version has nothing in the tables that it lacks."""
    version = version_of(connection)
    if version < 2:
        list(connection.execute(queries("sqlite")["stand_ins"]))
    if version < 3:
        list(connection.execute(queries("sqlite")["stand_in_for_accounts"]))
