"""Homes that a killed process of this release left behind. Written by hand, once a release:

    .venv/bin/python -m tests.lab.golden

Each folder of `left_behind/` is what `kills/server.py` goes on from: the journal as SQL, the
ledger, what was acknowledged. A folder that is there is never written again, and the flows of
`kills/flows.py` that it names are never changed: every later version must take these runs over, and
end them well.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from tests.lab.kills.server import keep_remains, start_target

FOLDER = Path(__file__).parent / "left_behind"
DEATHS = {
    "mixed-40": ("mixed", 40),
    "mixed-75": ("mixed", 75),
    "mixed-110": ("mixed", 110),
    "undo-42": ("undo", 42),
    "both-20": ("both", 20),
    "fan-30": ("fan", 30),
}
"""Name -> scenario, and the crash point where its process died."""


def list_homes() -> list[tuple[str, Path]]:
    """Scenario and folder of each."""
    return [(path.name.split("-")[1], path) for path in sorted(FOLDER.glob("*")) if path.is_dir()]


def main() -> int:
    from agenthive.core.journal.hash_chain import RULES

    with start_target() as victim:
        for name, (scenario, point) in DEATHS.items():
            target = FOLDER / f"rules{RULES}-{name}"
            if target.exists():
                continue
            keep = partial(keep_remains, target=target)
            crashed = victim.crash(scenario, [point], inspect=keep)
            print(f"{target.name}: {crashed.kills} kills, {crashed.problems}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
