"""Names that are written to disk: what old journals hold must be found under the same names.

`stored_names.txt` lists them: every event with its fields, the definition of a workflow, the state
in a snapshot, the columns of the store, the verbs of the control socket, and the values of
enumerations. A class or a field may be renamed in Python if its stored name is kept (`tag=`,
`rename=`). To add a name: run this file as a program, and look at the difference.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import apsw
import msgspec

from agenthive.core.history import snapshots
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import Blob
from agenthive.core.model import states
from agenthive.core.model.calls import Fault
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.ipc import protocol

LISTED = Path(__file__).with_name("stored_names.txt")
STATES = (states.TaskState, states.RunStatus)


def name_fields(kind: Any, path: str, above: tuple[type, ...] = ()) -> Iterator[str]:
    """``path`` and all names below it, following structs into structs."""
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        yield f"{path} = {' | '.join(sorted(str(member.value) for member in kind))}"
        return
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        for argument in get_args(kind):
            yield from name_fields(argument, path, above)
        return
    if kind in above:
        return
    config = kind.__struct_config__
    form = f"[{len(kind.__struct_fields__)}]" if config.array_like else ""
    yield path + form + (f" {config.tag_field}={config.tag}" if config.tag else "")
    hints = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for number, field in enumerate(msgspec.structs.fields(kind)):
        label = str(number) if config.array_like else field.encode_name
        yield f"{path}.{label}"
        yield from name_fields(hints[field.name], f"{path}.{label}", (*above, kind))


def list_names() -> list[str]:
    """All names that are written to disk, one a line, sorted."""
    lines: set[str] = set()
    for event in (*get_args(ev.RunEvent), *get_args(ev.HiveEvent)):
        lines |= set(name_fields(event, event.__struct_config__.tag))
    for label, kind in {
        "blob": Blob,
        "fault": Fault,
        "snapshot": snapshots._FrozenRun,
        "workflow": WorkflowSpec,
    }.items():
        lines |= set(name_fields(kind, label))
    for states_kind in STATES:
        lines |= {f"state {member.value}" for member in states_kind}
    lines |= set(name_columns())
    for verb in protocol.VERBS.values():
        lines.add(f"verb {verb.name}: {' '.join(verb.arguments)}")
    return sorted(lines)


def name_columns() -> Iterator[str]:
    """The tables and columns of the store on SQLite."""
    script = Path(protocol.__file__).parents[1] / "stores" / "sql" / "sqlite.sql"
    connection = apsw.Connection(":memory:")
    text = script.read_text("utf-8")
    for statement in text.split(";"):
        if "CREATE TABLE" in statement.upper():
            connection.execute(statement)
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
        for column in connection.execute(f"PRAGMA table_info({table})"):
            yield f"column {table}.{column[1]} {column[2]}"


def test_stored_names_are_kept() -> None:
    listed = LISTED.read_text("utf-8").splitlines()
    names = list_names()
    assert sorted(set(listed) - set(names)) == [], "old journals hold these names"
    assert sorted(set(names) - set(listed)) == [], "new names: run this file as a program"


def test_the_list_covers_what_is_written() -> None:
    names = "\n".join(list_names())
    for part in ("run.submitted", "hive.run_opened", "column records.payload", "state succeeded"):
        assert part in names


def test_a_renamed_field_is_noticed() -> None:
    class Renamed(msgspec.Struct, tag_field="type", tag="run.submitted"):
        at: int
        flow: str

    listed = set(LISTED.read_text("utf-8").splitlines())
    assert "run.submitted.flow" in set(name_fields(Renamed, "run.submitted")) - listed


if __name__ == "__main__":
    LISTED.write_text("\n".join(list_names()) + "\n", "utf-8")
    sys.stdout.write(f"{len(list_names())} names\n")
