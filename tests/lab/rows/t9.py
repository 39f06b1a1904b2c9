"""T9: money in every seed: holds, captures, crashes, retries, sub-runs, people who raise limits.

Nine of ten seeds have their journal in memory, every tenth in a SQLite file that each process opens
anew. The judge books everything again and knows what calls were really charged. Bugs that are
about money are planted and must be caught here, in memory.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tests.lab import ranges, records, sources
from tests.lab.result import Result, Say, jobs
from tests.lab.rows.t1 import PIECE, WITHIN, simulated
from tests.planted.patches import planted
from tests.planted.run import hunt

ROW = "T9"
WHAT = "budgets at every scope on virtual time; every tenth journal is a SQLite file"
GATE = range(2_000)
NIGHTLY = range(100_000)
UNIT = "seeds"
CHUNK = 10_000
PLANTS = (
    "book_the_worst_case", "count_the_overdue_twice", "forget_holds_in_a_crash",
    "forget_who_waits_for_money", "free_a_lost_call", "free_what_was_taken_over",
    "keep_what_is_settled", "look_at_one_budget_only", "lose_the_entries",
    "never_book_what_is_overdue", "pay_before_it_is_written", "spend_beside_the_parent",
    "spend_without_looking", "take_over_any_hold",
)  # fmt: skip


def run(units: range, *, say: Say) -> Result:
    """Simulate these seeds: the last tenth on files."""
    began = time.monotonic()
    known = records.planted(ROW, sources.harness())
    caught = {}
    for patch in planted():
        if patch.stem in PLANTS:
            caught[patch.stem] = known.get(patch.stem)
            if caught[patch.stem] is None:
                say(f"looking for {patch.stem}")
                caught[patch.stem] = hunt(patch, WITHIN).seed
    started = time.monotonic()
    filed = range(units.stop - len(units) // 10, units.stop)
    memory = range(units.start, filed.start)
    told = []
    with ThreadPoolExecutor(jobs()) as pool:
        for seeds, words in ((memory, ("--money",)), (filed, ("--money", "--files"))):
            pieces = ranges.chunks(seeds, PIECE)
            for one in pool.map(partial(simulated, more=words), pieces):
                told.append(one)
                say(f"{sum(t['seeds'] for t, _ in told):,} of {len(units):,} seeds")
    took = time.monotonic() - started
    sums = {name: sum(t[name] for t, _ in told) for name in ("tasks", "crashes", "events")}
    count = sum(t["seeds"] for t, _ in told)
    return Result(
        row=ROW,
        first=units.start,
        last=units.stop,
        count=count,
        violations=[line for _, lines in told for line in lines],
        planted=caught,
        figures=sums | {"in files": len(filed), "seeds a second": round(count / took, 1)},
        seconds=round(time.monotonic() - began, 1),
    )
