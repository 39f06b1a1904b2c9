"""What this release guarantees, how, which rows of the laboratory verify it, and its limits.

`page.py` prints each promise next to its measurements. To add a promise: an entry, with the limit
that a user has to know.
"""

from __future__ import annotations

from typing import NamedTuple


class Promise(NamedTuple):
    """One promise. ``rows`` verify it in the laboratory, ``tests`` in the test suite."""

    name: str
    promise: str
    mechanism: str
    rows: tuple[str, ...]
    tests: tuple[str, ...]
    limit: str


PROMISES = (
    Promise(
        "P1",
        "An accepted run and a confirmed cancellation are never lost.",
        "The caller receives the confirmation after COMMIT: SQLite in WAL mode, "
        "`synchronous=FULL`, group commit.",
        ("T1", "T2", "T3", "T4"),
        ("tests/stores",),
        "The disk must honour fsync. One disk is one copy: make backups.",
    ),
    Promise(
        "P2",
        "Repeating a request after its confirmation was lost does not carry it out a second time, "
        "if it has an id of its caller. Every command of agenthive gives its requests one.",
        "The id is written with the answer in the transaction that carries the request out; the "
        "same id gives the same answer, and another request under it is rejected with Conflict.",
        ("T1", "T2"),
        ("tests/test_requests.py", "tests/crash", "tests/test_run_ids.py"),
        "An id is remembered for 24 hours. A request of a program without an id of its own is a "
        "new request. Idempotency keys of HTTP requests come with the server.",
    ),
    Promise(
        "P3",
        "Every accepted run ends, or waits for something that has a name.",
        "Timers, retries and lost calls are records of the journal; a process that opens the home "
        "takes over all open runs; every open task has one reason (`agenthive why`).",
        ("T1", "T2"),
        ("tests/core",),
        "Applies while a process owns the home. Without an owner no run makes progress.",
    ),
    Promise(
        "P4",
        "An end is final: late, repeated or reordered replies change nothing.",
        "A reply counts only for the attempt that is running; the state tables have no row for "
        "any other.",
        ("T1", "T2"),
        ("tests/core/test_answers.py",),
        "The cost of a late reply is recorded all the same, because it was spent.",
    ),
    Promise(
        "P5",
        "A call is made at least once; a call declared `effect: once` is never repeated "
        "automatically; a call declared `keyed` carries the same key every time.",
        "The intent is on disk before the call. The key is a hash of run, task and call. An "
        "interrupted call with `effect: once` waits as an unknown outcome.",
        ("T1", "T2"),
        ("tests/crash",),
        "A call that was in flight at a crash may be made twice unless it is `once`; `keyed` "
        "helps only if the other side honours the key.",
    ),
    Promise(
        "P6",
        "At most one result of a model call is recorded; only the journal retries.",
        "The retries of the SDKs are disabled; each attempt is a record of its own.",
        ("T1", "T2"),
        ("tests/agents",),
        "An interrupted call may be billed, and is repeated. Providers' SDKs send no key.",
    ),
    Promise(
        "P7",
        "The sum of spent and reserved amounts never exceeds a limit, of a task, an agent, a run "
        "with its child runs, a tenant or a day; also through crashes.",
        "The maximum cost of a call is held in every scope in the transaction of its intent; a "
        "hold of unknown outcome is not released.",
        ("T1", "T13", "T14"),
        ("tests/core/test_budgets.py",),
        "As far as prices and declared costs are right. A call that costs more than declared is "
        "booked in full, reported, and freezes the scope.",
    ),
    Promise(
        "P8",
        "A saga compensates each completed step, in reverse order, even if the process crashes "
        "during compensation.",
        "A compensation is a task of its own, with intent, key and retries.",
        ("T1", "T2"),
        ("tests/core/test_sagas.py",),
        "A compensation that fails ends the run as `compensation_failed`; it needs manual "
        "attention.",
    ),
    Promise(
        "P9",
        "A modified journal is detected, and never used silently.",
        "Every record is chained to the previous one by a hash that is checked when it is read; "
        "`agenthive doctor` also checks workflows, large values and the list of runs.",
        ("T6",),
        ("tests/stores",),
        "Detected when it is read, not before, and not repaired: restore a backup. A user who can "
        "write the file can create a new chain.",
    ),
    Promise(
        "P10",
        "With a disk that is full or read-only, or without free file descriptors, new work is "
        "refused, no work is lost, and work continues once the condition ends; a failed write or "
        "flush stops the hive.",
        "StoreUnavailable if nothing was written, StoreFailed if the outcome is unknown; then "
        "work continues only after the journal is opened again, from what is on disk.",
        ("T4", "T5"),
        ("tests/stores",),
        "On a read-only mount the journal cannot be read either: copy it first.",
    ),
    Promise(
        "P11",
        "A journal of an earlier release can be read, and its open runs continue; a journal of a "
        "later release is refused.",
        "Every record contains its version and the rules of its run; the repository contains "
        "reference journals and homes of each release.",
        ("T8",),
        ("tests/core/test_golden.py",),
        "There is no downgrade: an older agenthive refuses what a newer one wrote.",
    ),
)

LATER = (
    ("P12", "an audit log with signed checkpoints"),
    ("P14", "bounded overload of a server, with 429 and 503"),
    ("P15", "a server that drains on shutdown"),
    ("P16", "the same on PostgreSQL, with many workers"),
)
"""What is not in this release, and so is not guaranteed."""
