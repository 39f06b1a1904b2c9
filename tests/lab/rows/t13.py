"""T13: money in every seed: holds, captures, crashes, retries, sub-runs, people who raise limits.

Nine of ten seeds have their journal in memory, every tenth in a SQLite file that each process opens
anew. The judge books everything again and knows what calls were really charged. Bugs that are
about money are planted and must be caught here, in memory.
"""

from __future__ import annotations

from dataclasses import replace

from tests.lab.result import Result, Say
from tests.lab.rows.t1 import run_simulations
from tests.planted.bugs import find_bug

ROW = "T13"
WHAT = "budgets at every scope on virtual time; every tenth journal is a SQLite file"
GATE = range(2_000)
NIGHTLY = range(100_000)
UNIT = "seeds"
CHUNK = 10_000
PLANTS = (
    "book_again_what_was_settled",
    "book_the_worst_case",
    "count_the_overdue_twice",
    "forget_holds_in_a_crash",
    "forget_who_waits_for_money",
    "free_a_lost_call",
    "free_what_was_taken_over",
    "keep_what_is_settled",
    "look_at_one_budget_only",
    "lose_the_entries",
    "never_book_what_is_overdue",
    "pay_before_it_is_written",
    "spend_beside_the_parent",
    "spend_without_looking",
    "take_over_any_hold",
)


def run(units: range, *, say: Say) -> Result:
    """Simulate these seeds: the last tenth on files."""
    filed = range(units.stop - len(units) // 10, units.stop)
    memory = range(units.start, filed.start)
    bugs = [find_bug(name) for name in PLANTS]
    parts = [(memory, ("--money",)), (filed, ("--money", "--files"))]
    outcome = run_simulations(ROW, units, bugs, parts, say)
    return replace(outcome, figures=outcome.figures | {"in files": len(filed)})
