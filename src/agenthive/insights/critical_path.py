"""The critical path of a run: the chain of tasks that determined how long it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agenthive.core.values import Micros


def critical_path(deps: Sequence[Sequence[int]], ended: Mapping[int, Micros]) -> list[int]:
    """The tasks of the critical path, in the order in which they ended.

    Found backwards: from the task that ended last to the dependency of each that ended last.
    ``deps`` are the dependencies of each task, ``ended`` the times when tasks ended; tasks that
    never started are not in it.
    """
    if not ended:
        return []
    path = [max(ended, key=lambda task: (ended[task], -task))]
    while predecessors := [dep for dep in deps[path[-1]] if dep in ended]:
        path.append(max(predecessors, key=lambda dep: (ended[dep], -dep)))
    return path[::-1]
