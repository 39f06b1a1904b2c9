"""The way through a run that made it as long as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agenthive.core.values import Micros


def critical_path(deps: Sequence[Sequence[int]], ended: Mapping[int, Micros]) -> list[int]:
    """From the task that ended last back over what each waited for longest, in order of time.

    ``ended`` says when each task ended; those that never began are not in it.
    """
    if not ended:
        return []
    path = [max(ended, key=lambda task: (ended[task], -task))]
    while predecessors := [dep for dep in deps[path[-1]] if dep in ended]:
        path.append(max(predecessors, key=lambda dep: (ended[dep], -dep)))
    return path[::-1]
