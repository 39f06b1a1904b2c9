"""Detection of loops in the tool calls that models request. There are three signs of a loop.

* Repeats: the same tool with equal arguments more often than `ToolSpec.repeats` allows.
* Cycles: a sequence of 2 to 4 calls that is repeated (two agents that hand a task back and forth,
  for example).
* Stale turns: several turns in a row that request nothing new, or that follow tool calls that all
  failed.

Each first gives a warning, which the model receives, and later ends the turns. Calls are counted
for one model task with all its turns: two tasks, or two items of a list, that make the same call
are no loop. Runs of rules 1 and 2 count over the whole run (`TASK_RULES`). Pure: requests come in,
a verdict comes out; it never looks at results. To add a sign: a method that returns a
`LoopVerdict`, and its call in `assess_turn`.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from agenthive.core.values import JSONObject

MAX_CYCLE_LENGTH: Final = 4
"""Calls of the longest cycle that is recognised."""
CYCLE_REPEATS: Final = (3, 4)
"""Times that a cycle occurs for the warning, and for the end."""
STALE_TURNS: Final = (3, 6)
"""Stale turns in a row for the warning, and for the end."""
TASK_RULES: Final = 3
"""The first rules under which calls are counted for each model task; before, for the whole run."""
_MAX_RECENT: Final = MAX_CYCLE_LENGTH * CYCLE_REPEATS[1]
"""Calls that must be remembered to recognise every cycle."""

_encode = msgspec.json.Encoder(order="sorted").encode


class LoopVerdict(NamedTuple):
    """A warning for the model, and why its turns end; each is empty if it does not apply."""

    warning: str = ""
    stop: str = ""


class Trajectory(msgspec.Struct, kw_only=True):
    """The tool calls that the models of a task have requested so far, by their digests."""

    #: Times that each call was requested.
    counts: dict[str, int] = {}
    #: The latest calls, oldest first; at most `_MAX_RECENT`.
    recent: list[str] = []

    def assess_turn(
        self, tool_calls: Sequence[tuple[str, JSONObject, int]], stale: int
    ) -> LoopVerdict:
        """Record the requests of a turn and judge them.

        ``tool_calls`` has the tool, its arguments and the repeats that it allows; ``stale`` counts
        the stale turns in a row, this one included.
        """
        verdicts = [self._check_repeats(*tool_call) for tool_call in tool_calls]
        verdicts += [self._check_cycles(), _check_stale(stale)]
        return LoopVerdict(
            next((verdict.warning for verdict in verdicts if verdict.warning), ""),
            next((verdict.stop for verdict in verdicts if verdict.stop), ""),
        )

    def has_new_call(self, tool_calls: Sequence[tuple[str, JSONObject, int]]) -> bool:
        """Whether any of the calls was not requested before."""
        return any(
            digest_call(tool, arguments) not in self.counts for tool, arguments, _ in tool_calls
        )

    def _check_repeats(self, tool: str, arguments: JSONObject, max_repeats: int) -> LoopVerdict:
        call_digest = digest_call(tool, arguments)
        self.counts[call_digest] = times = self.counts.get(call_digest, 0) + 1
        self.recent = [*self.recent, call_digest][-_MAX_RECENT:]
        message = f"'{tool}' was requested {times} times with the same arguments"
        if times > max_repeats:
            return LoopVerdict(stop=f"{message}, {max_repeats} are allowed")
        # The warning comes after half of the repeats that are allowed.
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
    """How often the last ``length`` calls occur in a row at the end of ``recent``."""
    last = recent[-length:]
    # One call that is repeated is not a cycle: `_check_repeats` counts it.
    if len(set(last)) < 2:
        return 0
    times = 0
    while recent[len(recent) - (times + 1) * length : len(recent) - times * length] == last:
        times += 1
    return times


def digest_call(tool: str, arguments: JSONObject) -> str:
    """A digest that is equal for equal tools and arguments (whatever the order of their keys)."""
    return sha256(_encode((tool, arguments))).hexdigest()[:32]
