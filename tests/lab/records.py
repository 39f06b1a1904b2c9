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


def read(file: Path | None = None) -> list[Line]:
    """Every line, oldest first."""
    file = file or FILE
    text = file.read_text("utf-8") if file.exists() else ""
    return [_line(json.loads(one)) for one in text.splitlines() if one]


def _line(told: dict[str, Any]) -> Line:
    result = Result(**{one.name: told[one.name] for one in fields(Result)})
    return Line(result, **{name: str(told.get(name, "")) for name in ABOUT})


def measured(result: Result, root: Path = sources.ROOT) -> Line:
    """A result of the sources as they are now."""
    date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return Line(result, sources.digest(root), sources.harness(root), sources.commit(root), date)


def append(line: Line, file: Path | None = None) -> bool:
    """Write it down, unless it only repeats what stands there; whether it was written."""
    file = file or FILE
    if line.result.clean and any(_says_the_same(line, old) for old in read(file)):
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    told = asdict(line.result) | {name: getattr(line, name) for name in ABOUT}
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(told, sort_keys=True) + "\n")
    return True


def _says_the_same(new: Line, old: Line) -> bool:
    """The same units of the same sources were clean before, and the same bugs were caught."""
    return (
        (old.result.row, old.digest) == (new.result.row, new.digest)
        and old.result.clean
        and old.result.first <= new.result.first
        and old.result.last >= new.result.last
        and set(old.result.planted) >= set(new.result.planted)
        and (old.harness == new.harness or not new.result.planted)
    )


def done(row: str, lines: Iterable[Line], digest: str) -> list[range]:
    """The units of a row that these sources have been through, cleanly."""
    return ranges.union(
        range(line.result.first, line.result.last)
        for line in lines
        if line.result.row == row and line.digest == digest and line.result.clean
    )


def planted(row: str, harness: str, lines: Iterable[Line] | None = None) -> dict[str, int | None]:
    """The planted bugs that were caught before by the same code in the same sources."""
    found: dict[str, int | None] = {}
    for line in read() if lines is None else lines:
        if line.result.row == row and line.harness == harness:
            found |= line.result.planted
    return {name: unit for name, unit in found.items() if unit is not None}


def totals(lines: Iterable[Line]) -> list[Total]:
    """One for each row and digest; the digests of a row newest first."""
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        groups.setdefault((line.result.row, line.digest), []).append(line)
    found = [_total(group) for group in groups.values()]
    found.sort(key=lambda total: total.date, reverse=True)
    return sorted(found, key=lambda total: total.row)


def _total(lines: list[Line]) -> Total:
    latest = max(lines, key=lambda line: line.date)
    spans = [_span(line.result) for line in lines]
    apart = _apart(lines)
    caught: dict[str, int | None] = {}
    for line in lines:
        caught |= line.result.planted
    return Total(
        row=latest.result.row,
        digest=latest.digest,
        ranges=ranges.union(spans),
        count=ranges.size(spans),
        violations=list(dict.fromkeys(v for line in lines for v in line.result.violations)),
        planted=caught,
        figures=_added(apart),
        seconds=round(sum(line.result.seconds for line in apart), 1),
        commit=latest.commit,
        date=latest.date,
    )


def _span(result: Result) -> range:
    return range(result.first, result.first + result.count)


def _apart(lines: list[Line]) -> list[Line]:
    """Lines whose units do not overlap, the largest first, the latest of equals: what may be added
    up. What overlaps them counts for the units alone.
    """
    found: list[Line] = []
    for line in sorted(lines, key=lambda line: (line.result.count, line.date), reverse=True):
        span = _span(line.result)
        if ranges.size([*map(_span, (one.result for one in found)), span]) == len(span) + sum(
            len(_span(one.result)) for one in found
        ):
            found.append(line)
    return found


def _added(lines: list[Line]) -> dict[str, Figure]:
    found: dict[str, Figure] = {}
    for line in sorted(lines, key=lambda line: line.date):
        for name, value in line.result.figures.items():
            old = found.get(name)
            if isinstance(value, str) or old is None or isinstance(old, str):
                found[name] = value
            elif isinstance(value, int) and isinstance(old, int):
                found[name] = old + value
            else:
                found[name] = max(old, value)
    return found
