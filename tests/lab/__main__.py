"""The laboratory: what the project promises, put to the proof. `python3 x.py lab COMMAND`.

    gate             the small range of every row, a few minutes; exit code 1 if anything is wrong
    nightly          the large ranges, hours; goes on where it was interrupted
    ROW [--seeds A:B]  these units of one row, without those that the same sources have done
    status           what has been measured, and whether on the sources as they are
    page [--check]   write RELIABILITY.md again from lab/results.jsonl

One JSON line a result on standard output, progress on standard error. Results go to
lab/results.jsonl and add up as long as core, stores and runtimes stay as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable

from tests.lab import page, ranges, records, sources
from tests.lab.result import JOBS, Result, Row, Skipped, to_dict
from tests.lab.running import load_rows, run


def parse_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="lab", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", default="status", help="gate, nightly, status, page, T1")
    parser.add_argument("--seeds", "--range", dest="units", type=ranges.parse_range, metavar="A:B")
    parser.add_argument("--rows", default="", help="only these, for gate and nightly: T1,T2")
    parser.add_argument("--jobs", type=int, default=2, help="processes a row keeps busy")
    parser.add_argument("--again", action="store_true", help="also units that are done already")
    parser.add_argument("--check", action="store_true", help="page: only compare")
    parser.add_argument("--dry", action="store_true", help="write nothing down")
    return parser.parse_args(arguments)


def report_result(result: Result, *, dry: bool) -> None:
    """Print a result; write it down, and the page anew."""
    print(json.dumps(to_dict(result), sort_keys=True), flush=True)
    if not dry and records.append_line(records.stamp_result(result)):
        page.write_page()


def run_row(row: Row, units: range, *, repeat: bool, dry: bool) -> bool:
    """Run a row; whether all was as it must be."""
    ok = True
    try:
        for result in run(
            row, units, repeat=repeat, write=lambda result: report_result(result, dry=dry)
        ):
            ok &= result.clean
            for line in [*result.violations[:10], *(f"missed {name}" for name in result.missed)]:
                print(f"{row.ROW}: {line}", file=sys.stderr)
    except Skipped as skip:
        print(f"{row.ROW}: skipped, {skip}", file=sys.stderr)
        return not skip.required
    return ok


def run_rows(chosen: argparse.Namespace, pick: Callable[[Row], range], *, repeat: bool) -> int:
    """The gate or the nightly ranges of all rows; every row runs, whatever happens to another."""
    only = {name for name in chosen.rows.upper().split(",") if name}
    by_name = load_rows()
    if only - set(by_name):
        print(f"lab: there is no row {', '.join(sorted(only - set(by_name)))}", file=sys.stderr)
        return 2
    failed = [
        name
        for name, row in by_name.items()
        if (not only or name in only) and not run_row(row, pick(row), repeat=repeat, dry=chosen.dry)
    ]
    print(f"lab: {'wrong: ' + ', '.join(failed) if failed else 'all is well'}", file=sys.stderr)
    return 1 if failed else 0


def print_status() -> int:
    """What the rows are, and what has been measured of each."""
    now = sources.digest()
    totals = records.sum_results(records.read_results())
    for name, row in load_rows().items():
        print(f"{name:4} {row.WHAT} (gate {len(row.GATE):,}, nightly {len(row.NIGHTLY):,})")
        for total in (candidate for candidate in totals if candidate.row == name):
            age = "these sources" if total.digest == now else f"older: {total.digest}"
            caught = sum(unit is not None for unit in total.planted.values())
            print(
                f"     {total.count:,} units, {len(total.violations)} violations, {caught} of "
                f"{len(total.planted)} planted bugs caught, {total.date} ({age})"
            )
    return 0


def main(arguments: list[str] | None = None) -> int:
    chosen = parse_options(arguments)
    os.environ[JOBS] = str(max(1, chosen.jobs))
    if chosen.what == "gate":
        return run_rows(chosen, lambda row: row.GATE, repeat=True)
    if chosen.what == "nightly":
        return run_rows(chosen, lambda row: row.NIGHTLY, repeat=chosen.again)
    if chosen.what == "status":
        return print_status()
    if chosen.what == "page":
        return page.main(check=chosen.check)
    row = load_rows().get(chosen.what.upper())
    if row is None:
        print(f"lab: there is no {chosen.what!r}: {', '.join(load_rows())}", file=sys.stderr)
        return 2
    ok = run_row(row, chosen.units or row.GATE, repeat=chosen.again, dry=chosen.dry)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
