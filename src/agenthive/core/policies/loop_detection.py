"""Whether the tools that models ask for get a run anywhere: three signs that they do not.

The same tool with equal arguments again and again; a few calls that come round in a circle (two
agents that hand a thing to one another, for one); turn after turn that asks for nothing new or
whose calls all fail. Each is first a warning, of which the model is told, then the end. Counted
over a whole run. Pure: what was asked comes in, a verdict goes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from agenthive.core.values import JSONObject

LONGEST_CIRCLE: Final = 4
"""Calls in a circle, at most."""
CIRCLES: Final = (3, 4)
"""How often a circle is gone round before the warning, and before the end."""
STALE: Final = (3, 6)
"""Turns in a row without anything new before the warning, and before the end."""
_KEPT: Final = LONGEST_CIRCLE * CIRCLES[1]

_encode = msgspec.json.Encoder(order="sorted").encode


class Verdict(NamedTuple):
    """What a model is warned of, and why it is stopped; empty if there is nothing to say."""

    warning: str = ""
    stop: str = ""


class Trajectory(msgspec.Struct, kw_only=True):
    """What a run has asked for so far: how often each call, and the latest of them in order."""

    counts: dict[str, int] = {}
    recent: list[str] = []

    def judge(self, asked: Sequence[tuple[str, JSONObject, int]], stale: int) -> Verdict:
        """Take in what a turn asks for: tools, arguments, and how often each may be repeated.

        ``stale`` counts the turns in a row that have brought nothing new, this one too.
        """
        found = [self._repeated(*one) for one in asked]
        found += [self._in_circles(), _stale(stale)]
        return Verdict(
            next((one.warning for one in found if one.warning), ""),
            next((one.stop for one in found if one.stop), ""),
        )

    def new(self, asked: Sequence[tuple[str, JSONObject, int]]) -> bool:
        """Whether any of this has not been asked for yet."""
        return any(digest(tool, arguments) not in self.counts for tool, arguments, _ in asked)

    def _repeated(self, tool: str, arguments: JSONObject, most: int) -> Verdict:
        name = digest(tool, arguments)
        self.counts[name] = times = self.counts.get(name, 0) + 1
        self.recent = [*self.recent, name][-_KEPT:]
        what = f"'{tool}' was asked for {times} times with the same arguments"
        if times > most:
            return Verdict(stop=f"{what}, {most} are allowed")
        return Verdict(warning=what if 2 * times > most and times > 1 else "")

    def _in_circles(self) -> Verdict:
        for length in range(2, LONGEST_CIRCLE + 1):
            times = _rounds(self.recent, length)
            what = f"the last {length} calls were made {times} times over, in the same order"
            if times >= CIRCLES[1]:
                return Verdict(stop=what)
            if times >= CIRCLES[0]:
                return Verdict(warning=what)
        return Verdict()


def _stale(turns: int) -> Verdict:
    what = f"{turns} turns in a row have brought nothing new"
    return Verdict(what if turns >= STALE[0] else "", what if turns >= STALE[1] else "")


def _rounds(recent: list[str], length: int) -> int:
    """How often the last ``length`` calls stand at the end one after the other."""
    last = recent[-length:]
    if len(set(last)) < 2:
        return 0
    times = 0
    while recent[len(recent) - (times + 1) * length : len(recent) - times * length] == last:
        times += 1
    return times


def digest(tool: str, arguments: JSONObject) -> str:
    """The name of a call: equal for equal tools and arguments."""
    return sha256(_encode((tool, arguments))).hexdigest()[:32]
