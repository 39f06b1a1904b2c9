"""Ranges of units: read, joined, taken away from each other."""

from __future__ import annotations

from collections.abc import Iterable


def parse_range(text: str) -> range:
    """``A:B``, from A to before B. Raises ValueError."""
    first, colon, last = text.partition(":")
    if not colon or int(first) < 0 or int(last) <= int(first):
        raise ValueError(f"{text!r} is no range: A:B, from A to before B")
    return range(int(first), int(last))


def merge_ranges(ranges: Iterable[range]) -> list[range]:
    """The same units, each once, in order."""
    merged: list[range] = []
    for span in sorted(ranges, key=lambda r: (r.start, r.stop)):
        if merged and span.start <= merged[-1].stop:
            merged[-1] = range(merged[-1].start, max(merged[-1].stop, span.stop))
        elif span:
            merged.append(span)
    return merged


def count_units(ranges: Iterable[range]) -> int:
    """How many different units."""
    return sum(len(span) for span in merge_ranges(ranges))


def subtract_ranges(whole: range, finished: Iterable[range]) -> list[range]:
    """The units of ``whole`` that are not in ``done``."""
    gaps, start = [], whole.start
    for span in merge_ranges(finished):
        if span.stop <= start or span.start >= whole.stop:
            continue
        if span.start > start:
            gaps.append(range(start, span.start))
        start = max(start, span.stop)
    return [*gaps, *([range(start, whole.stop)] if start < whole.stop else [])]


def split_range(whole: range, limit: int) -> list[range]:
    """Cut into pieces of at most ``limit`` units, at multiples of ``limit``."""
    pieces, start = [], whole.start
    while start < whole.stop:
        end = min(start - start % limit + limit, whole.stop)
        pieces.append(range(start, end))
        start = end
    return pieces
