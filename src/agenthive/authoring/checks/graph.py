"""Checks of the graph the tasks make: names, dependencies, cycles, and who reads whose result.

Works on drafts, before any spec exists, so that every problem is told with its place. Linear in
tasks and dependencies but for results read from afar, which cost a bit a task and reader.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

import msgspec

from agenthive.authoring.readers.nodes import Place
from agenthive.authoring.readers.problems import Problems

_BLOCK: Final = 4096
_SHOWN_IN_CYCLE: Final = 20


class Mention(msgspec.Struct, frozen=True):
    """A task named somewhere: in ``depends_on`` or in an expression."""

    name: str
    place: Place
    path: str
    undo: bool = False


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What the checks need to know of a task."""

    name: str
    place: Place
    path: str
    depends_on: Sequence[Mention]
    reads: Sequence[Mention]


def check_graph(drafts: Sequence[Draft], problems: Problems) -> None:
    """Note every problem of the graph."""
    index: dict[str, int] = {}
    for i, draft in enumerate(drafts):
        if draft.name in index:
            first = drafts[index[draft.name]].place
            also = f" (first at line {first[0]})" if first[0] else ""
            what = f"there is already a task named {draft.name!r}{also}; names must be unique"
            problems.add(draft.place, draft.path, what)
        index.setdefault(draft.name, i)
    edges = [_edges(draft, index, problems) for draft in drafts]
    order = _order(edges)
    if len(order) < len(drafts):
        _tell_cycle(drafts, edges, set(order), problems)
    else:
        _check_reads(drafts, edges, order, index, problems)


def check_outputs(reads: Sequence[Mention], names: Collection[str], problems: Problems) -> None:
    """Note tasks that the outputs of a workflow read and that are not there."""
    for mention in reads:
        if mention.name not in names:
            _tell_undefined(mention, names, problems)


def _tell_undefined(mention: Mention, names: Iterable[str], problems: Problems) -> None:
    what = f"the expression reads undefined task {mention.name[:128]!r}."
    problems.add(mention.place, mention.path, what + problems.suggest(mention.name, names))


def _edges(draft: Draft, index: dict[str, int], problems: Problems) -> list[int]:
    found: dict[int, None] = {}
    for mention in draft.depends_on:
        if mention.name == draft.name:
            what = f"Task {draft.name!r} depends on itself; remove it from depends_on"
            problems.add(mention.place, mention.path, what)
        elif mention.name not in index:
            what = f"Task {draft.name!r} depends on undefined task {mention.name[:128]!r}."
            problems.add(mention.place, mention.path, what + problems.suggest(mention.name, index))
        elif index[mention.name] in found:
            what = f"{mention.name!r} is listed twice; once is enough"
            problems.warn(mention.place, mention.path, what)
        else:
            found[index[mention.name]] = None
    return list(found)


def _order(edges: Sequence[Sequence[int]]) -> list[int]:
    """Tasks after all they depend on; those on a cycle, or behind one, are missing (Kahn 1962)."""
    pending = [len(deps) for deps in edges]
    dependents: list[list[int]] = [[] for _ in edges]
    for i, deps in enumerate(edges):
        for dep in deps:
            dependents[dep].append(i)
    order = [i for i, count in enumerate(pending) if not count]
    for i in order:
        for target in dependents[i]:
            pending[target] -= 1
            if not pending[target]:
                order.append(target)
    return order


def _tell_cycle(
    drafts: Sequence[Draft], edges: Sequence[Sequence[int]], done: set[int], problems: Problems
) -> None:
    """Follow unfinished dependencies until one comes again: every one of them leads to a cycle."""
    seen: dict[int, int] = {}
    walk: list[int] = []
    at = next(i for i in range(len(edges)) if i not in done)
    while at not in seen:
        seen[at] = len(walk)
        walk.append(at)
        at = next(dep for dep in edges[at] if dep not in done)
    cycle = [drafts[i].name for i in (*walk[seen[at] :], at)]
    if len(cycle) > _SHOWN_IN_CYCLE:
        cycle = [*cycle[:10], f"... {len(cycle) - 15} more ...", *cycle[-5:]]
    what = (
        f"Circular dependency detected in tasks: {' -> '.join(cycle)}"
        " (each depends on the next); remove one of these dependencies"
    )
    problems.add(drafts[at].place, drafts[at].path, what)


def _check_reads(
    drafts: Sequence[Draft],
    edges: Sequence[Sequence[int]],
    order: Sequence[int],
    index: dict[str, int],
    problems: Problems,
) -> None:
    far: list[tuple[int, Mention, int]] = []
    for i, draft in enumerate(drafts):
        direct = set(edges[i]) if draft.reads else set()
        for mention in draft.reads:
            if mention.name not in index:
                _tell_undefined(mention, index, problems)
            elif mention.name == draft.name:
                if not mention.undo:
                    what = "a task cannot read its own result; only its compensation can"
                    problems.add(mention.place, mention.path, what)
            elif index[mention.name] not in direct:
                far.append((i, mention, index[mention.name]))
    for start in range(0, len(far), _BLOCK):
        _check_far(drafts, edges, order, far[start : start + _BLOCK], problems)


def _check_far(
    drafts: Sequence[Draft],
    edges: Sequence[Sequence[int]],
    order: Sequence[int],
    far: Sequence[tuple[int, Mention, int]],
    problems: Problems,
) -> None:
    """Ancestors as bit sets, of no more than a block of the tasks read, to bound memory."""
    bits = {target: 1 << n for n, target in enumerate(dict.fromkeys(one[2] for one in far))}
    above = [0] * len(edges)
    for i in order:
        for dep in edges[i]:
            above[i] |= above[dep] | bits.get(dep, 0)
    for i, mention, target in far:
        if not above[i] & bits[target]:
            what = (
                f"the expression reads task {mention.name!r}, which need not be done before"
                f" {drafts[i].name!r}; add {mention.name!r} to its depends_on"
            )
            problems.add(mention.place, mention.path, what)
