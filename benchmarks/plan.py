"""How near plans are to what workflows then cost: `agenthive plan` beside simulated runs.

    python3 x.py bench plan [--workflows 100]

Each random workflow is run ten times: at its worst, at its worst and then undone, and eight times
with random trouble. One JSON line: how many runs cost more than planned (must be none), and the
ratio of the plan to the dearest run, over the workflows that can go well.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.fuzz.plan_vs_actual import compare_plans


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workflows", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    options = parser.parse_args()
    found = compare_plans(range(options.first, options.first + options.workflows))
    ratios = sorted(one.ratio for one in found if one.ratio is not None)
    line = {
        "workflows": len(found),
        "runs": sum(len(one.costs) for one in found),
        "below_a_run": [one.seed for one in found if one.is_below],
        "unbounded": sum(one.planned is None for one in found),
        "compared": len(ratios),
        "least": round(ratios[0], 3),
        "median": round(median(ratios), 3),
        "p95": round(ratios[int(0.95 * len(ratios))], 3),
        "largest": round(ratios[-1], 3),
        "above_3": [one.seed for one in found if one.ratio is not None and one.ratio > 3],
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
