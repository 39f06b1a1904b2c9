"""Figures of other packages of the field, measured with `figures.py` on their released wheels.

To measure again: install a release into an environment outside the repository, run
`python -m tests.house.figures --json FOLDER_OF_THE_PACKAGE` and copy the figures here, in the order
of `figures.COLUMNS`. All of them must be measured again when a figure changes its meaning.
"""

from __future__ import annotations

# Name, release, then one value for each of `figures.COLUMNS`.
PEERS: tuple[tuple[str | int | float, ...], ...] = (
    ("temporalio", "1.35.0", 2236, 2.74, 18.4, 0.8, 0.1, 0.0, 5.0, 22.5, 33, 23, 5, 97),
    ("dbos", "3.4.0", 1150, 2.55, 18.1, 0.1, 0.3, 0.1, 5.8, 10.0, 1, 9, 4, 118),
    ("prefect", "3.9.1", 6088, 2.62, 25.1, 0.7, 0.1, 0.1, 4.9, 20.0, 277, 73, 4, 642),
    ("langgraph", "1.2.24", 843, 2.17, 32.4, 0.9, 0.2, 0.1, 7.3, 25.1, 0, 11, 1, 70),
    ("procrastinate", "3.10.0", 428, 2.48, 18.7, 0.9, 0.2, 0.1, 4.8, 26.6, 2, 3, 2, 13),
    ("distributed", "2026.8.0", 2348, 2.01, 35.6, 1.7, 0.1, 0.1, 7.2, 26.2, 9, 14, 4, 206),
    ("trio", "0.35.0", 918, 2.01, 42.8, 2.1, 0.0, 0.0, 29.1, 43.1, 0, 10, 1, 47),
    ("h11", "0.16.0", 65, 2.75, 12.3, 0.0, 0.0, 0.0, 55.0, 29.2, 0, 0, 0, 5),
    ("llama-index-workflows", "2.26.1", 628, 2.36, 22.1, 0.6, 0.2, 0.2, 8.2, 38.4, 0, 6, 0, 37),
)
