"""The story of one simulated run: its facts, and between them what happened around it.

Times are seconds since its beginning. What the run itself cannot know (its process dies, the
journal refuses, a call acts again) stands between the facts, where it was when they came to disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from agenthive.core.history.replay import facts
from agenthive.core.history.story import describe, tag
from agenthive.core.model.workflow import Effect
from agenthive.core.values import SECOND, Micros
from agenthive.simulation.runner import Played


class Moment(msgspec.Struct, frozen=True):
    """One line of a story. ``seq`` is the number of a fact, 0 for what is none of the run's."""

    seconds: float
    seq: int
    type: str
    text: str


def retell(played: Played) -> list[Moment]:
    """The story, in order."""
    start = played.times[0] if played.times else 0
    around = _Around({node.key for node in played.plan.graph.nodes if node.effect is Effect.KEYED})
    found: list[Moment] = []
    told = list(_facts(played))
    for i, (now, what, data) in enumerate(played.case.seen):
        while told and told[0][0] <= i:
            found.append(told.pop(0)[1])
        text = around.tell(what, data)
        if text:
            found.append(Moment((now - start) / SECOND, 0, what, text))
    return found + [moment for _, moment in told]


def _facts(played: Played) -> Iterator[tuple[int, Moment]]:
    """Each fact of the run, and how much had been seen when it was on disk."""
    start = played.times[0] if played.times else 0
    marks = played.disk.durable.get(played.run, [])
    numbered = facts(played.disk.records(played.run))
    for (seq, event), mark, at in zip(numbered, marks, played.times, strict=True):
        yield mark, Moment(_since(start, at), seq, tag(event), describe(event))


def _since(start: Micros, at: Micros) -> float:
    return (at - start) / SECOND


class _Around:
    """Words for what happens around a run; empty for what its own facts tell."""

    def __init__(self, keyed: set[str]) -> None:
        self._keyed = keyed
        self._acted: dict[str, int] = {}
        self._answered: set[tuple[str, int]] = set()

    def tell(self, what: str, data: dict[str, Any]) -> str:
        """One line about it."""
        match what:
            case "acted":
                return self._acts(data["task"], data["key"])
            case "replied":
                return self._replied(data)
            case "crashed":
                return "the process died; another takes over"
            case "refused":
                return "the journal took nothing"
            case "jumped":
                return f"the clock was set {'forth' if data['by'] > 0 else 'back'}"
            case "ended":
                return f"the run is {data['status']}"
            case "parked":
                return "the run waits for somebody's help"
        return ""

    def _acts(self, task: str, key: str) -> str:
        times = self._acted[key] = self._acted.get(key, 0) + 1
        if times > 1 and task in self._keyed:
            return f"{task}: came in again under its key"
        return f"{task}: acted outside" + (f", time {times}" if times > 1 else "")

    def _replied(self, data: dict[str, Any]) -> str:
        one = (data["task"], data["attempt"])
        if one not in self._answered:
            self._answered.add(one)
            return ""
        return f"{data['task']}: the answer of attempt {data['attempt']} came again"
