"""Example results, durations, failure rates and costs of tasks, given for a simulation.

A map from task names to ``result``, ``duration`` (seconds, or ``{p50: ..., p95: ...}``), ``fail``
(a chance from 0 to 1) and ``cost`` (US dollars a call); a bare number is a duration. To add a key:
a field of `Example` and a reader in `_READERS`.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Collection, Mapping
from typing import Final

import msgspec

from agenthive.core.engine.reply_validation import validate_reply
from agenthive.core.history.report import NANO
from agenthive.core.model.calls import Reply
from agenthive.core.values import JSONValue
from agenthive.errors import ConfigurationError
from agenthive.insights.distributions import Distribution, log_normal, log_normal_between

#: Sigma of the log-normal distribution around a declared duration: 90 % are within a factor of 1.8.
SIGMA: Final = 0.35


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """The values given for one task; None where no value was given."""

    #: In a tuple of one, because ``null`` is a valid result.
    result: tuple[JSONValue] | None = None
    #: Seconds of one call.
    duration: Distribution | None = None
    #: The chance, from 0 to 1, that a call fails.
    fail: float | None = None
    #: US dollars of one call.
    cost: Distribution | None = None


def read_examples(answers: Mapping[str, object], tasks: Collection[str]) -> dict[str, Example]:
    """Parse ``answers`` for these tasks. Raises ConfigurationError with every problem."""
    problems: list[str] = []
    examples: dict[str, Example] = {}
    for name, entry in answers.items():
        if name not in tasks:
            problems.append(
                f"answers: the workflow has no task {name[:80]!r}{_suggest_name(name, tasks)}"
            )
            continue
        try:
            examples[name] = _parse_example(entry)
        except ValueError as fault:
            problems.append(f"answers: {name}: {fault}")
    if problems:
        raise ConfigurationError("\n".join(problems), problems=tuple(problems))
    return examples


def _parse_example(entry: object) -> Example:
    if not isinstance(entry, Mapping):
        return Example(duration=_parse_duration(entry))
    for key in entry:
        if key not in _READERS:
            raise ValueError(f"unknown key {str(key)[:80]!r}; known keys: {', '.join(_READERS)}")
    fields = {key: _READERS[key](value) for key, value in entry.items()}
    return msgspec.structs.replace(Example(), **fields)


def _suggest_name(name: str, names: Collection[str]) -> str:
    close = difflib.get_close_matches(name, names, 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _parse_duration(value: object) -> Distribution:
    if isinstance(value, Mapping):
        if set(value) != {"p50", "p95"}:
            raise ValueError("a duration is seconds, or a map of p50 and p95")
        low, high = _parse_number(value["p50"], "p50"), _parse_number(value["p95"], "p95")
        if high < low:
            raise ValueError("p95 is less than p50")
        return log_normal_between(low, high)
    return log_normal(_parse_number(value, "duration"), SIGMA)


def _parse_number(value: object, name: str, maximum: float = 1e9) -> float:
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    if not fits or not math.isfinite(value) or not 0 <= value <= maximum:  # type: ignore[arg-type,operator]
        raise ValueError(f"{name} must be a number from 0 to {maximum:g}")
    return float(value)  # type: ignore[arg-type]


def _parse_result(value: object) -> tuple[object]:
    reply = validate_reply(Reply(result=value))  # type: ignore[arg-type]
    if reply.fault is not None:
        raise ValueError(f"the result cannot be used: {reply.fault.message}")
    return (reply.result,)


def _parse_failure_rate(value: object) -> float:
    return _parse_number(value, "fail", 1)


def _parse_cost(value: object) -> Distribution:
    return Distribution((_parse_number(value, "cost", 1e6) * NANO,))


_READERS: Final[dict[str, Callable[[object], object]]] = {
    "result": _parse_result,
    "duration": _parse_duration,
    "fail": _parse_failure_rate,
    "cost": _parse_cost,
}
