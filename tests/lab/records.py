"""`lab/results.jsonl`: what was measured, one line a result, never changed afterwards.

Lines of one row and one digest add up over their ranges; units that stand in two of them count
once. Lines of other digests stay, and are told apart.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tests.lab import ranges, sources
from tests.lab.result import Figure, Result

FILE = sources.ROOT / "lab" / "results.jsonl"


@dataclass(frozen=True)
class Line:
    """One result, and what it was measured on."""

    result: Result
    digest: str
    harness: str
    commit: str
    date: str


ABOUT = tuple(one.name for one in fields(Line) if one.name != "result")


@dataclass(frozen=True)
class Total:
    """All lines of one row and one digest together."""

    row: str
    digest: str
    ranges: list[range]
    count: int
    violations: list[str]
    planted: dict[str, int | None]
    figures: dict[str, Figure]
    seconds: float
    commit: str
    date: str


def read_results(file: Path | None = None) -> list[Line]:
    """Every line, oldest first."""
    file = file or FILE
    text = file.read_text("utf-8") if file.exists() else ""
    return [_parse_line(json.loads(text_line)) for text_line in text.splitlines() if text_line]


def _parse_line(entry: dict[str, Any]) -> Line:
    result = Result(**{item.name: entry[item.name] for item in fields(Result)})
    return Line(result, **{name: str(entry.get(name, "")) for name in ABOUT})


def stamp_result(result: Result, root: Path = sources.ROOT) -> Line:
    """A result of the sources as they are now."""
    date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return Line(
        result,
        sources.digest(root),
        sources.harness_digest(root),
        sources.current_commit(root),
        date,
    )


def append_line(line: Line, file: Path | None = None) -> bool:
    """Write it down, unless it only repeats what stands there; whether it was written."""
    file = file or FILE
    if line.result.clean and any(_repeats(line, old) for old in read_results(file)):
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    entry = asdict(line.result) | {name: getattr(line, name) for name in ABOUT}
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(entry, sort_keys=True) + "\n")
    return True


def _repeats(new: Line, old: Line) -> bool:
    """The same units of the same sources were clean before, and the same bugs were caught."""
    return (
        (old.result.row, old.digest) == (new.result.row, new.digest)
        and old.result.clean
        and old.result.first <= new.result.first
        and old.result.last >= new.result.last
        and set(old.result.planted) >= set(new.result.planted)
        and (old.harness == new.harness or not new.result.planted)
    )


def finished_ranges(row: str, lines: Iterable[Line], digest: str) -> list[range]:
    """The units of a row that these sources have been through, cleanly."""
    return ranges.merge_ranges(
        range(line.result.first, line.result.last)
        for line in lines
        if line.result.row == row and line.digest == digest and line.result.clean
    )


def caught_bugs(
    row: str, harness: str, lines: Iterable[Line] | None = None
) -> dict[str, int | None]:
    """The planted bugs that were caught before by the same code in the same sources."""
    caught: dict[str, int | None] = {}
    for line in read_results() if lines is None else lines:
        if line.result.row == row and line.harness == harness:
            caught |= line.result.planted
    return {name: unit for name, unit in caught.items() if unit is not None}


def sum_results(lines: Iterable[Line]) -> list[Total]:
    """One for each row and digest; the digests of a row newest first."""
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        groups.setdefault((line.result.row, line.digest), []).append(line)
    summed = [_sum_group(group) for group in groups.values()]
    summed.sort(key=lambda total: total.date, reverse=True)
    return sorted(summed, key=lambda total: total.row)


def _sum_group(lines: list[Line]) -> Total:
    latest = max(lines, key=lambda line: line.date)
    spans = [_unit_range(line.result) for line in lines]
    disjoint = _disjoint_lines(lines)
    caught: dict[str, int | None] = {}
    for line in lines:
        caught |= line.result.planted
    return Total(
        row=latest.result.row,
        digest=latest.digest,
        ranges=ranges.merge_ranges(spans),
        count=ranges.count_units(spans),
        violations=list(dict.fromkeys(v for line in lines for v in line.result.violations)),
        planted=caught,
        figures=_add_figures(disjoint),
        seconds=round(sum(line.result.seconds for line in disjoint), 1),
        commit=latest.commit,
        date=latest.date,
    )


def _unit_range(result: Result) -> range:
    return range(result.first, result.first + result.count)


def _disjoint_lines(lines: list[Line]) -> list[Line]:
    """Lines whose units do not overlap, the largest first, the latest of equals: what may be added
    up. What overlaps them counts for the units alone.
    """
    chosen: list[Line] = []
    for line in sorted(lines, key=lambda line: (line.result.count, line.date), reverse=True):
        span = _unit_range(line.result)
        if ranges.count_units(
            [*map(_unit_range, (member.result for member in chosen)), span]
        ) == len(span) + sum(len(_unit_range(member.result)) for member in chosen):
            chosen.append(line)
    return chosen


def _add_figures(lines: list[Line]) -> dict[str, Figure]:
    figures: dict[str, Figure] = {}
    for line in sorted(lines, key=lambda line: line.date):
        for name, value in line.result.figures.items():
            old = figures.get(name)
            if isinstance(value, str) or old is None or isinstance(old, str):
                figures[name] = value
            elif isinstance(value, int) and isinstance(old, int):
                figures[name] = old + value
            else:
                figures[name] = max(old, value)
    return figures
