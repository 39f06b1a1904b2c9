"""Durations of tasks, learnt inside a run, and the upward ranks that follow.

Tasks of one agent and action count as one kind: once some have ended, their mean is the estimate
for the others of the kind. A declared duration is never replaced. Ranks are computed anew only at
`CHECKPOINTS`, so that a run costs O(n log n) however large it is. To change the estimate:
`Estimates.record_duration`.
"""

from __future__ import annotations

from typing import Final

from agenthive.core.graph.graph import Graph, upward_rank

CHECKPOINTS: Final = frozenset({1, 4, 16, 64, 256})
"""Numbers of ended tasks of a kind after which the ranks are computed anew."""

MAX_KINDS: Final = 64
"""A run with more kinds of tasks keeps its first ranks."""


class Estimates:
    """The durations of one run. Not needed for a replay: they only order ready tasks."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        # With one kind, the learnt ranks would order tasks as the first ones do, by their number
        # of hops to the end; with all durations declared there is nothing to learn.
        has_undeclared = any(task.estimated_duration is None for task in graph.spec.tasks)
        #: Whether learning can change an order; nothing is recorded otherwise.
        self.useful = 1 < graph.kind_count <= MAX_KINDS and has_undeclared
        #: Ended tasks, by kind.
        self._count = [0] * graph.kind_count if self.useful else []
        #: Sum of their durations (seconds), by kind.
        self._total = [0.0] * len(self._count)

    def record_duration(self, task: int, seconds: float) -> list[float] | None:
        """Record that ``task`` took so many seconds.

        Returns the new ranks by task if they are due, else None.
        """
        if not self.useful or task >= self._graph.tasks:
            return None
        kind = self._graph.kinds[task]
        self._count[kind] += 1
        self._total[kind] += seconds
        if self._count[kind] not in CHECKPOINTS:
            return None
        means = [
            total / count if count else None
            for total, count in zip(self._total, self._count, strict=True)
        ]
        durations = [
            means[kind] if task.estimated_duration is None else task.estimated_duration
            for kind, task in zip(self._graph.kinds, self._graph.spec.tasks, strict=True)
        ]
        known_means = [mean for mean in means if mean is not None]
        return upward_rank(self._graph.dependents, durations, sum(known_means) / len(known_means))
