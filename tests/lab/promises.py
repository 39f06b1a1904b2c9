"""What this release promises, what makes it true, which rows put it to the proof, and its limit.

`page.py` prints it beside what was measured. To add a promise: an entry, with the limit that an
honest seller would name.
"""

from __future__ import annotations

from typing import NamedTuple


class Promise(NamedTuple):
    """One promise. ``rows`` prove it in the laboratory, ``tests`` in the test suite."""

    name: str
    promise: str
    mechanism: str
    rows: tuple[str, ...]
    tests: tuple[str, ...]
    limit: str


PROMISES = (
    Promise(
        "P1",
        "A run that was accepted, and a cancel that was confirmed, is never lost.",
        "The answer is given after COMMIT: SQLite in WAL mode, `synchronous=FULL`, group commit.",
        ("T1", "T2", "T3", "T4"),
        ("tests/stores",),
        "The disk must honour fsync. One disk is one copy: make backups.",
    ),
    Promise(
        "P2",
        "Asking again after a lost answer does not start a second run, if the caller named the "
        "run.",
        "A run id given with the submission stands in the transaction that accepts it; a second "
        "one is refused with Conflict.",
        ("T1", "T2"),
        ("tests/test_run_ids.py",),
        "Without a run id of your own, asking again is a new run. Idempotency keys of HTTP "
        "requests come with the server.",
    ),
    Promise(
        "P3",
        "Every accepted run comes to an end, or stands waiting for something that has a name.",
        "Timers, retries and losses are records of the journal; what was open is taken over when a "
        "process opens the home; every open task has one reason (`agenthive why`).",
        ("T1", "T2"),
        ("tests/core",),
        "While a process owns the home. Nobody works while none does.",
    ),
    Promise(
        "P4",
        "An end is final: late, repeated or disordered answers change nothing.",
        "An answer counts only for the attempt that is under way; the tables of states have no row "
        "for another.",
        ("T1", "T2"),
        ("tests/core/test_answers.py",),
        "What a late answer cost is recorded all the same, because it was spent.",
    ),
    Promise(
        "P5",
        "A call is made at least once; one declared `effect: once` is never made again by itself; "
        "one declared `keyed` carries the same key every time.",
        "The intent is on disk before the call. The key is a hash of run, task and call. What "
        "acted once and was cut off waits as an unknown outcome.",
        ("T1", "T2"),
        ("tests/crash",),
        "A call that was in flight at a crash may be made twice unless it is `once`; `keyed` helps "
        "only where the other side honours the key.",
    ),
    Promise(
        "P6",
        "At most one result of a model call is recorded; whoever retries is the journal.",
        "The retries of the SDKs are off; each attempt is a record of its own.",
        ("T1", "T2"),
        ("tests/agents",),
        "A call that was cut off may be billed, and is made again. Providers' SDKs send no key.",
    ),
    Promise(
        "P7",
        "What was spent and what is held never passes a limit, of a task, an agent, a run with all "
        "below it, a tenant or a day; through crashes.",
        "The worst case of a call is held in every scope in the transaction of its intent; what "
        "nobody knows the cost of stays held.",
        ("T1", "T13", "T14"),
        ("tests/core/test_budgets.py",),
        "As far as prices and declared costs are right. What costs more than was declared is "
        "booked in full, told, and freezes the scope.",
    ),
    Promise(
        "P8",
        "A saga undoes each finished step, last one first, even if it crashes while it does.",
        "What undoes a step is a task of its own, with intent, key and retries.",
        ("T1", "T2"),
        ("tests/core/test_sagas.py",),
        "An undoing that fails ends the run as `compensation_failed`: somebody must look.",
    ),
    Promise(
        "P9",
        "A changed journal is noticed, never silently believed.",
        "Every record is chained to the one before it by a hash that is checked when it is read; "
        "`agenthive doctor` also checks workflows, large values and the list of runs.",
        ("T6",),
        ("tests/stores",),
        "Noticed when it is read, not before, and not repaired: restore a backup. Whoever can "
        "write the file can make a new chain.",
    ),
    Promise(
        "P10",
        "A disk that is full, read-only or out of descriptors refuses new work, loses none, and "
        "goes on when it is well again; a failed write or flush stops the hive.",
        "StoreUnavailable where nothing was written, StoreFailed where nobody knows; then only a "
        "new opening goes on, from what is on disk.",
        ("T4", "T5"),
        ("tests/stores",),
        "On a read-only mount the journal cannot be read either: copy it first.",
    ),
    Promise(
        "P11",
        "A journal of an earlier release can be read, and its open runs go on; a later one is "
        "refused.",
        "Every record carries its version and the rules of its run; golden journals and homes of "
        "each release lie in the repository.",
        ("T8",),
        ("tests/core/test_golden.py",),
        "There is no way back: an older agenthive refuses what a newer one wrote.",
    ),
)

LATER = (
    ("P12", "an audit log with signed checkpoints"),
    ("P14", "bounded overload of a server, with 429 and 503"),
    ("P15", "a server that drains when it is told to stop"),
    ("P16", "the same on PostgreSQL, with many workers"),
)
"""What is not in this release, and so is not promised."""
