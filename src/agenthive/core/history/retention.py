"""How long runs are kept after they have ended: a time for each final status.

Computes only which runs are due; `queries/retention.py` deletes them. An open run is never due.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final

import msgspec

from agenthive.core.journal.records import RunRow
from agenthive.core.model.states import CLOSED, RunStatus
from agenthive.core.values import SECOND, Micros

FOREVER: Final = "forever"
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SPAN: Final = re.compile(r"([0-9]{1,9})([smhdw])")
_FAILED: Final = frozenset({RunStatus.FAILED, RunStatus.COMPENSATION_FAILED})


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """A retention policy."""

    #: Microseconds after its end by final status; runs of other statuses are kept forever.
    limits: dict[RunStatus, Micros] = {}


def retention_by_class(completed: str, failed: str, others: str) -> Retention:
    """The policy of the settings, each a span such as ``30d`` or ``forever``. Raises ValueError.

    ``failed`` is for runs that failed or whose compensation failed, ``others`` for the rest.
    """
    limits: dict[RunStatus, Micros] = {}
    for status in CLOSED:
        text = failed if status in _FAILED else others
        age = parse_span(completed if status is RunStatus.COMPLETED else text)
        if age is not None:
            limits[status] = age
    return Retention(limits=limits)


def older_than(age: Micros, statuses: Collection[RunStatus] = ()) -> Retention:
    """The same age for all ended runs, or only for those with one of ``statuses``."""
    return Retention(limits=dict.fromkeys(sorted(statuses or CLOSED), age))


def parse_span(text: str) -> Micros | None:
    """Microseconds of a span such as ``90s``, ``12h``, ``30d``, ``8w``; None for ``forever``.

    Raises ValueError.
    """
    if text == FOREVER:
        return None
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ValueError(f"must be a time span such as 12h, 30d or 8w, or {FOREVER}")
    return int(match[1]) * _UNITS[match[2]] * SECOND


def select_due_runs(
    rows: Iterable[RunRow], policy: Retention, now: Micros, needed: Collection[str] = ()
) -> list[RunRow]:
    """The runs that are kept no longer at the time ``now``, the one that ended first in front.

    ``needed`` are runs that an open run depends on, such as its parent; they are kept.
    """
    matches = [
        (row.finished, row.run, row)
        for row in rows
        if row.finished is not None and row.run not in needed and _is_expired(row, policy, now)
    ]
    return [row for _, _, row in sorted(matches, key=lambda match: match[:2])]


def _is_expired(row: RunRow, policy: Retention, now: Micros) -> bool:
    limit = policy.limits.get(RunStatus(row.status))
    return limit is not None and row.finished is not None and now - row.finished >= limit
