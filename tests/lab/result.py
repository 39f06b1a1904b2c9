"""What a row of the laboratory hands back, and what it may say when it cannot run.

A row is a module `tests/lab/rows/tN.py` with `ROW`, `WHAT` (one line), `GATE` and `NIGHTLY` (ranges
of units: seeds, kills, states, points) and `run(units, *, say) -> Result`. It may have `CHUNK`: how
many units to do before the result is written down, and `UNIT`: what they are called.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

Figure = float | int | str
Say = Callable[[str], None]


@dataclass(frozen=True)
class Result:
    """What came of units ``first`` to before ``last`` of a row.

    ``count``: units that were really done. ``violations``: one line each, with the unit that shows
    it. ``planted``: name of a planted bug -> the unit (or whatever number) that caught it, None if
    it was missed. ``figures``: whole numbers are added up over ranges, of other numbers the largest
    is shown, of text the latest.
    """

    row: str
    first: int
    last: int
    count: int
    violations: list[str]
    planted: dict[str, int | None]
    figures: dict[str, Figure]
    seconds: float

    @property
    def missed(self) -> list[str]:
        """The planted bugs that nothing caught."""
        return [name for name, unit in self.planted.items() if unit is None]

    @property
    def clean(self) -> bool:
        """Nothing broken, nothing missed, nothing left out."""
        return not self.violations and not self.missed and self.count == self.last - self.first


class Row(Protocol):
    """The module of a row."""

    ROW: str
    WHAT: str
    GATE: range
    NIGHTLY: range

    def run(self, units: range, *, say: Say) -> Result:
        """Do these units."""
        ...


class Skipped(Exception):
    """The row cannot run here: what is missing, and the command that brings it."""

    def __init__(self, requirement: str, remedy: str) -> None:
        super().__init__(f"needs {requirement}: {remedy}")
        self.requirement = requirement

    @property
    def required(self) -> bool:
        """Whether the environment says that it has to be there (AGENTHIVE_REQUIRE)."""
        return self.requirement in os.environ.get("AGENTHIVE_REQUIRE", "").replace(" ", "").split(
            ","
        )


def to_dict(result: Result) -> dict[str, Any]:
    """As JSON writes it."""
    return asdict(result)


JOBS = "AGENTHIVE_LAB_JOBS"


def jobs() -> int:
    """How many processes a row may keep busy."""
    return int(os.environ.get(JOBS, "2"))
