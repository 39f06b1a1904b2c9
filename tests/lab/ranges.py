"""Ranges of units: read, joined, taken away from each other."""

from __future__ import annotations

from collections.abc import Iterable


def parsed(text: str) -> range:
    """``A:B``, from A to before B. Raises ValueError."""
    first, colon, last = text.partition(":")
    if not colon or int(first) < 0 or int(last) <= int(first):
        raise ValueError(f"{text!r} is no range: A:B, from A to before B")
    return range(int(first), int(last))


def union(ranges: Iterable[range]) -> list[range]:
    """The same units, each once, in order."""
    found: list[range] = []
    for one in sorted(ranges, key=lambda r: (r.start, r.stop)):
        if found and one.start <= found[-1].stop:
            found[-1] = range(found[-1].start, max(found[-1].stop, one.stop))
        elif one:
            found.append(one)
    return found


def size(ranges: Iterable[range]) -> int:
    """How many different units."""
    return sum(len(one) for one in union(ranges))


def without(wanted: range, done: Iterable[range]) -> list[range]:
    """The units of ``wanted`` that are not in ``done``."""
    found, start = [], wanted.start
    for one in union(done):
        if one.stop <= start or one.start >= wanted.stop:
            continue
        if one.start > start:
            found.append(range(start, one.start))
        start = max(start, one.stop)
    return [*found, *([range(start, wanted.stop)] if start < wanted.stop else [])]


def chunks(whole: range, most: int) -> list[range]:
    """Cut into pieces of at most ``most`` units, at multiples of ``most``."""
    found, start = [], whole.start
    while start < whole.stop:
        end = min(start - start % most + most, whole.stop)
        found.append(range(start, end))
        start = end
    return found
