"""Faults of a simulation, and the notation in which they are given.

``crash=0.01,fail=0.1``, the name of a preset, or both: ``some,crash=0`` starts from the preset.
Each number is a probability from 0 to 1, drawn at each place where the fault can happen. To add a
fault: a field of `FaultPlan` with its text in `MEANINGS`, and its effect in `world` or in the
simulated runtime.
"""

from __future__ import annotations

import difflib
import math
from typing import Final

import msgspec

from agenthive.errors import ConfigurationError
from agenthive.simulation.ports import Faults


class FaultPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The probability of each fault; `MEANINGS` describes them."""

    crash: float = 0.0
    fail: float = 0.0
    slow: float = 0.0
    hang: float = 0.0
    lose: float = 0.0
    duplicate: float = 0.0
    limit: float = 0.0
    garbage: float = 0.0
    refuse: float = 0.0
    stall: float = 0.0
    jump: float = 0.0
    late: float = 0.0
    absent: float = 0.0

    @property
    def faults(self) -> Faults:
        """The faults of the process and its disk, for the simulated runtime."""
        return Faults(
            crash=self.crash,
            refuse=self.refuse,
            jump=self.jump,
            stale=self.late,
            absent=self.absent,
            slow=self.stall,
        )

    def __str__(self) -> str:
        """The notation that `parse_faults` reads."""
        shares = {name: getattr(self, _field_name(name)) for name in MEANINGS}
        return ",".join(f"{name}={share:g}" for name, share in shares.items() if share) or "none"


#: Fault name -> its description, which `agenthive simulate --help` shows.
MEANINGS: Final = {
    "crash": "the process dies at a step, and another takes over within 30 s",
    "fail": "a call fails",
    "slow": "a call takes 3 to 10 times as long",
    "hang": "a call never returns",
    "lose": "a call has its effect and its response is lost",
    "duplicate": "a response arrives twice",
    "429": "a call is refused by a rate limit",
    "garbage": "a response is not valid",
    "refuse": "the journal refuses writes for a second",
    "stall": "a write to the journal takes seconds",
    "jump": "the clock is set forward or back",
    "late": "a response arrives only in the process after a crash",
    "absent": "an agent is missing when a process takes over, until it is registered",
}

#: Higher probabilities than these would keep a run from ever ending.
MOST: Final = {"crash": 0.5, "refuse": 0.9}

PRESETS: Final = {
    "none": FaultPlan(),
    "some": FaultPlan(
        crash=0.002,
        fail=0.03,
        slow=0.05,
        hang=0.005,
        lose=0.005,
        duplicate=0.02,
        limit=0.02,
        garbage=0.01,
        refuse=0.01,
        late=0.5,
    ),
    "hostile": FaultPlan(
        crash=0.03,
        fail=0.15,
        slow=0.2,
        hang=0.05,
        lose=0.05,
        duplicate=0.2,
        limit=0.1,
        garbage=0.1,
        refuse=0.1,
        stall=0.1,
        jump=0.05,
        late=0.5,
    ),
}

_HINT: Final = f"Presets: {', '.join(PRESETS)}. Names: {', '.join(MEANINGS)}; as in crash=0.01."


def parse_faults(text: str) -> FaultPlan:
    """The fault plan that ``text`` describes. Raises ConfigurationError with every problem."""
    problems: list[str] = []
    plan = FaultPlan()
    seen_names: set[str] = set()
    for i, part in enumerate(text.split(",")):
        name, equals, share = (piece.strip() for piece in part.partition("="))
        if i == 0 and not equals and name in PRESETS:
            plan = PRESETS[name]
        elif problem := _find_problem(name, equals, share, seen_names):
            problems.append(f"--faults: {problem}")
        else:
            plan = msgspec.structs.replace(plan, **{_field_name(name): float(share)})
        seen_names.add(name)
    if problems:
        raise ConfigurationError("\n".join(problems), hint=_HINT, problems=tuple(problems))
    return plan


def _find_problem(name: str, equals: str, share: str, seen_names: set[str]) -> str:
    if name in PRESETS:
        return f"the preset {name!r} must come first, and only one is allowed"
    if name not in MEANINGS:
        close = difflib.get_close_matches(name, [*MEANINGS, *PRESETS], 1)
        return f"there is no {name[:80]!r}" + (f"; did you mean {close[0]!r}?" if close else "")
    if name in seen_names:
        return f"{name!r} is given twice"
    maximum = MOST.get(name, 1.0)
    if not equals or not _is_valid_share(share, maximum):
        return f"{name}={share[:80]} is not a probability from 0 to {maximum:g}"
    return ""


def _is_valid_share(text: str, maximum: float) -> bool:
    try:
        share = float(text)
    except ValueError:
        return False
    return math.isfinite(share) and 0 <= share <= maximum


def _field_name(name: str) -> str:
    return "limit" if name == "429" else name
