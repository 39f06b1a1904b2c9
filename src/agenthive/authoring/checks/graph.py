"""Checks of the task graph: names, dependencies, cycles, and which results a task may read.

Works on drafts, which have places, unlike specs. Takes time linear in tasks and dependencies; a
result that is read from an indirect dependency costs one bit for each task.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

import msgspec

from agenthive.authoring.readers.nodes import Place
from agenthive.authoring.readers.problems import Problems

_BLOCK: Final = 4096
"""Reads of indirect dependencies that are checked together: bits of an integer for each task."""
_SHOWN_IN_CYCLE: Final = 20
"""Tasks of a cycle that a message names."""


class Mention(msgspec.Struct, frozen=True):
    """The name of a task in ``depends_on`` or in an expression."""

    name: str
    place: Place
    path: str
    in_compensation: bool = False


class TaskDraft(msgspec.Struct, frozen=True, kw_only=True):
    """What the checks of the graph need of a task."""

    name: str
    place: Place
    path: str
    depends_on: Sequence[Mention]
    reads: Sequence[Mention]


def check_graph(drafts: Sequence[TaskDraft], problems: Problems) -> None:
    """Report every problem of the graph."""
    index: dict[str, int] = {}
    for i, draft in enumerate(drafts):
        if draft.name in index:
            first = drafts[index[draft.name]].place
            first_line = f" (first at line {first[0]})" if first[0] else ""
            message = (
                f"there is already a task named {draft.name!r}{first_line}; names must be unique"
            )
            problems.add(draft.place, draft.path, message)
        index.setdefault(draft.name, i)
    edges = [_resolve_dependencies(draft, index, problems) for draft in drafts]
    order = _sort_topologically(edges)
    if len(order) < len(drafts):
        _report_cycle(drafts, edges, set(order), problems)
    else:
        _check_reads(drafts, edges, order, index, problems)


def check_outputs(reads: Sequence[Mention], names: Collection[str], problems: Problems) -> None:
    """Report undefined tasks that the outputs of a workflow read."""
    for mention in reads:
        if mention.name not in names:
            _report_undefined_task(mention, names, problems)


def _report_undefined_task(mention: Mention, names: Iterable[str], problems: Problems) -> None:
    message = f"the expression reads undefined task {mention.name[:128]!r}."
    problems.add(mention.place, mention.path, message + problems.suggest_name(mention.name, names))


def _resolve_dependencies(draft: TaskDraft, index: dict[str, int], problems: Problems) -> list[int]:
    dependencies: dict[int, None] = {}
    for mention in draft.depends_on:
        if mention.name == draft.name:
            message = f"Task {draft.name!r} depends on itself; remove it from depends_on"
            problems.add(mention.place, mention.path, message)
        elif mention.name not in index:
            message = f"Task {draft.name!r} depends on undefined task {mention.name[:128]!r}."
            problems.add(
                mention.place, mention.path, message + problems.suggest_name(mention.name, index)
            )
        elif index[mention.name] in dependencies:
            message = f"{mention.name!r} is listed twice; remove one"
            problems.warn(mention.place, mention.path, message)
        else:
            dependencies[index[mention.name]] = None
    return list(dependencies)


def _sort_topologically(edges: Sequence[Sequence[int]]) -> list[int]:
    """Order tasks after their dependencies (Kahn 1962); tasks on or behind a cycle are missing."""
    pending = [len(dependencies) for dependencies in edges]
    dependents: list[list[int]] = [[] for _ in edges]
    for i, dependencies in enumerate(edges):
        for dependency in dependencies:
            dependents[dependency].append(i)
    order = [i for i, count in enumerate(pending) if not count]
    for i in order:
        for target in dependents[i]:
            pending[target] -= 1
            if not pending[target]:
                order.append(target)
    return order


def _report_cycle(
    drafts: Sequence[TaskDraft],
    edges: Sequence[Sequence[int]],
    ordered: set[int],
    problems: Problems,
) -> None:
    """Follow unordered dependencies until a task repeats: each of them leads into a cycle."""
    positions: dict[int, int] = {}
    path: list[int] = []
    current = next(i for i in range(len(edges)) if i not in ordered)
    while current not in positions:
        positions[current] = len(path)
        path.append(current)
        current = next(dependency for dependency in edges[current] if dependency not in ordered)
    cycle = [drafts[i].name for i in (*path[positions[current] :], current)]
    if len(cycle) > _SHOWN_IN_CYCLE:
        cycle = [*cycle[:10], f"... {len(cycle) - 15} more ...", *cycle[-5:]]
    message = (
        f"Circular dependency detected in tasks: {' -> '.join(cycle)}"
        " (each depends on the next); remove one of these dependencies"
    )
    problems.add(drafts[current].place, drafts[current].path, message)


def _check_reads(
    drafts: Sequence[TaskDraft],
    edges: Sequence[Sequence[int]],
    order: Sequence[int],
    index: dict[str, int],
    problems: Problems,
) -> None:
    distant_reads: list[tuple[int, Mention, int]] = []
    for i, draft in enumerate(drafts):
        direct = set(edges[i]) if draft.reads else set()
        for mention in draft.reads:
            if mention.name not in index:
                _report_undefined_task(mention, index, problems)
            elif mention.name == draft.name:
                if not mention.in_compensation:
                    message = "a task cannot read its own result; only its compensation can"
                    problems.add(mention.place, mention.path, message)
            elif index[mention.name] not in direct:
                distant_reads.append((i, mention, index[mention.name]))
    for start in range(0, len(distant_reads), _BLOCK):
        _check_distant_reads(drafts, edges, order, distant_reads[start : start + _BLOCK], problems)


def _check_distant_reads(
    drafts: Sequence[TaskDraft],
    edges: Sequence[Sequence[int]],
    order: Sequence[int],
    distant_reads: Sequence[tuple[int, Mention, int]],
    problems: Problems,
) -> None:
    """Check up to `_BLOCK` reads, with the ancestors of each task as a bit set."""
    bits = {
        target: 1 << position
        for position, target in enumerate(dict.fromkeys(read[2] for read in distant_reads))
    }
    ancestors = [0] * len(edges)
    for i in order:
        for dependency in edges[i]:
            ancestors[i] |= ancestors[dependency] | bits.get(dependency, 0)
    for i, mention, target in distant_reads:
        if not ancestors[i] & bits[target]:
            message = (
                f"the expression reads task {mention.name!r}, on which {drafts[i].name!r} does not"
                f" depend; add {mention.name!r} to its depends_on"
            )
            problems.add(mention.place, mention.path, message)
