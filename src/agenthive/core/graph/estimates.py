"""How long tasks take, learnt inside a run, and the upward ranks that follow.

Tasks of one agent and action are taken to be alike: once some have ended, their mean stands for the
ones to come. Declared durations are never overruled. Ranks are computed anew only a few times, so
that a run costs O(n log n) however large it is.
"""

from __future__ import annotations

from typing import Final

from agenthive.core.graph.graph import Graph, upward_rank

CHECKPOINTS: Final = frozenset({1, 4, 16, 64, 256})
"""After how many ended tasks of a kind the ranks are looked at again."""

MAX_KINDS: Final = 64
"""A run with more kinds of tasks than this keeps the ranks it began with."""


class Estimates:
    """What one run has learnt. Not needed for replay: it only orders what is ready."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        # Alike tasks all rank by their number of hops, which is what a run begins with; and of
        # those that all say how long they take there is nothing to learn.
        has_undeclared = any(task.estimated_duration is None for task in graph.spec.tasks)
        self.useful = 1 < graph.kind_count <= MAX_KINDS and has_undeclared
        self._count = [0] * graph.kind_count if self.useful else []
        self._total = [0.0] * len(self._count)

    def record_duration(self, task: int, seconds: float) -> list[float] | None:
        """A task took so long; the new ranks, if it is time to look at them again."""
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
