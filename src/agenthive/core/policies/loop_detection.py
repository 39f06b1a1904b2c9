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

MAX_CYCLE_LENGTH: Final = 4
"""Calls in a circle, at most."""
CYCLE_REPEATS: Final = (3, 4)
"""How often a circle is gone round before the warning, and before the end."""
STALE_TURNS: Final = (3, 6)
"""Turns in a row without anything new before the warning, and before the end."""
_MAX_RECENT: Final = MAX_CYCLE_LENGTH * CYCLE_REPEATS[1]

_encode = msgspec.json.Encoder(order="sorted").encode


class LoopVerdict(NamedTuple):
    """What a model is warned of, and why it is stopped; empty if there is nothing to say."""

    warning: str = ""
    stop: str = ""


class Trajectory(msgspec.Struct, kw_only=True):
    """What a run has asked for so far: how often each call, and the latest of them in order."""

    counts: dict[str, int] = {}
    recent: list[str] = []

    def assess_turn(
        self, tool_calls: Sequence[tuple[str, JSONObject, int]], stale: int
    ) -> LoopVerdict:
        """Take in what a turn asks for: tools, arguments, and how often each may be repeated.

        ``stale`` counts the turns in a row that have brought nothing new, this one too.
        """
        verdicts = [self._check_repeats(*item) for item in tool_calls]
        verdicts += [self._check_cycles(), _check_stale(stale)]
        return LoopVerdict(
            next((item.warning for item in verdicts if item.warning), ""),
            next((item.stop for item in verdicts if item.stop), ""),
        )

    def has_new_call(self, tool_calls: Sequence[tuple[str, JSONObject, int]]) -> bool:
        """Whether any of this has not been asked for yet."""
        return any(
            digest_call(tool, arguments) not in self.counts for tool, arguments, _ in tool_calls
        )

    def _check_repeats(self, tool: str, arguments: JSONObject, max_repeats: int) -> LoopVerdict:
        call_digest = digest_call(tool, arguments)
        self.counts[call_digest] = times = self.counts.get(call_digest, 0) + 1
        self.recent = [*self.recent, call_digest][-_MAX_RECENT:]
        message = f"'{tool}' was asked for {times} times with the same arguments"
        if times > max_repeats:
            return LoopVerdict(stop=f"{message}, {max_repeats} are allowed")
        return LoopVerdict(warning=message if 2 * times > max_repeats and times > 1 else "")

    def _check_cycles(self) -> LoopVerdict:
        for length in range(2, MAX_CYCLE_LENGTH + 1):
            times = _count_cycles(self.recent, length)
            message = f"the last {length} calls were made {times} times over, in the same order"
            if times >= CYCLE_REPEATS[1]:
                return LoopVerdict(stop=message)
            if times >= CYCLE_REPEATS[0]:
                return LoopVerdict(warning=message)
        return LoopVerdict()


def _check_stale(turn_count: int) -> LoopVerdict:
    message = f"{turn_count} turns in a row have brought nothing new"
    return LoopVerdict(
        message if turn_count >= STALE_TURNS[0] else "",
        message if turn_count >= STALE_TURNS[1] else "",
    )


def _count_cycles(recent: list[str], length: int) -> int:
    """How often the last ``length`` calls stand at the end one after the other."""
    last = recent[-length:]
    if len(set(last)) < 2:
        return 0
    times = 0
    while recent[len(recent) - (times + 1) * length : len(recent) - times * length] == last:
        times += 1
    return times


def digest_call(tool: str, arguments: JSONObject) -> str:
    """The name of a call: equal for equal tools and arguments."""
    return sha256(_encode((tool, arguments))).hexdigest()[:32]
