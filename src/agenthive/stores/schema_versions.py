"""Journal files of earlier schema versions: the owner upgrades them, other processes read them.

A process that only reads must not change the file. It gets empty temporary tables in place of those
that the file lacks, so that the same queries work. Never changes a record.

To change the tables: raise `SCHEMA_VERSION`, extend the queries ``schema`` and ``upgrade``, and
add a query that creates the missing tables as temporary ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Protocol

from agenthive.stores.sql import queries

SCHEMA_VERSION: Final = 4
"""1: records, definitions, runs. 2: blobs, and which stream uses which. 3: accounts, marks.
4: requests."""


class Connection(Protocol):
    """The part of a database connection that is used here; as a context it is a transaction."""

    def execute(self, statements: str) -> Iterator[Any]:
        """Run SQL statements."""
        ...

    def __enter__(self) -> Any: ...

    def __exit__(self, *error: Any) -> Any: ...


def version_of(connection: Connection) -> int:
    """The schema version of an open file; 0 if it has none."""
    return next((int(row[0]) for row in connection.execute("PRAGMA user_version")), 0)


def upgrade_schema(connection: Connection) -> None:
    """Bring a file to `SCHEMA_VERSION` in one transaction. Only the owner of the file may."""
    if version_of(connection) < SCHEMA_VERSION:
        with connection:
            for query in ("schema", "upgrade"):
                list(connection.execute(queries("sqlite")[query]))


def create_stand_ins(connection: Connection) -> None:
    """Create empty temporary tables for those that an earlier version lacks.

    They belong to this connection; the file is not changed.
    """
    version = version_of(connection)
    if version < 2:
        list(connection.execute(queries("sqlite")["stand_ins"]))
    if version < 3:
        list(connection.execute(queries("sqlite")["stand_in_for_accounts"]))
    if version < 4:
        list(connection.execute(queries("sqlite")["stand_in_for_requests"]))
