"""Schedules as they are written: name, rule, policies and inputs, checked and made a fact.

What a rule means is the calendar's business, what it leads to the core's. To add a way of writing
a rule: a parameter of `rule_of`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, TypeVar

import msgspec

from agenthive.authoring.checks.inputs import check_inputs
from agenthive.authoring.checks.sections import duration
from agenthive.authoring.input_binding import bind_inputs
from agenthive.core.journal import run_events as ev
from agenthive.core.model import definition
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.policies.schedule import CatchUp, Overlap, Rule, utc
from agenthive.core.values import SECOND, Micros, micros
from agenthive.errors import ConfigurationError, DefinitionError

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a schedule may be called: the ids of its runs are made from it."""
_Kind = TypeVar("_Kind", bound=StrEnum)


class Planned(msgspec.Struct, frozen=True):
    """A schedule that can be set: the fact and the definition that it names."""

    fact: ev.ScheduleSet
    body: bytes


def plan_schedule(
    name: str,
    workflow: WorkflowSpec,
    inputs: Mapping[str, Any],
    rule: Rule,
    *,
    time_input: str = "",
    catch_up: str = CatchUp.ONE,
    overlap: str = Overlap.QUEUE,
    paused: bool = False,
) -> Planned:
    """Check everything but the rule. Raises DefinitionError."""
    if not NAME.fullmatch(name):
        raise DefinitionError(
            f"{name[:80]!r} cannot be the name of a schedule",
            hint="Use up to 64 letters, digits and - _ . ; the first a letter or a digit.",
        )
    if time_input in inputs:
        raise ConfigurationError(f"the input {time_input!r} is the planned time; do not give it")
    wanted = _given(workflow, inputs, time_input, 0)
    bound = bind_inputs(workflow, wanted)
    if time_input and bind_inputs(workflow, _given(workflow, inputs, time_input, SECOND)) != bound:
        raise ConfigurationError(
            f"the input {time_input!r} is the planned time, which an agent's settings must not read"
        )
    wanted.pop(time_input, None)
    body = definition.encode(bound)
    fact = ev.ScheduleSet(
        at=0, schedule=name, rule=rule, workflow=workflow.name,
        definition=definition.digest(body), inputs=wanted, time_input=time_input,
        catch_up=_one_of(CatchUp, "catch_up", catch_up),
        overlap=_one_of(Overlap, "overlap", overlap), paused=paused,
    )  # fmt: skip
    return Planned(fact, body)


def _given(
    workflow: WorkflowSpec, inputs: Mapping[str, Any], time_input: str, at: Micros
) -> dict[str, Any]:
    return check_inputs(workflow, {**inputs, **({time_input: utc(at)} if time_input else {})})


def rule_of(
    *,
    cron: str | None = None,
    every: str | float | timedelta | None = None,
    zone: str = "UTC",
    start: str | datetime | None = None,
) -> Rule:
    """The rule that is written so. Raises DefinitionError.

    ``every`` is a duration such as ``15m``, or seconds; its times are counted from ``start``,
    which is 1970 in UTC if nobody says otherwise.
    """
    if (cron is None) == (every is None):
        raise DefinitionError(
            "a schedule needs a cron expression or an interval, and not both",
            hint='Give cron="0 9 * * mon-fri" or every="15m".',
        )
    if every is not None:
        return Rule(every=_interval(every), anchor=0 if start is None else _moment(start))
    if start is not None:
        raise DefinitionError("only an interval has a start; a cron expression says its times")
    return Rule(cron=str(cron), zone=zone)


def _interval(every: str | float | timedelta) -> Micros:
    seconds: float | None
    if isinstance(every, timedelta):
        seconds = every.total_seconds()
    else:
        seconds = duration(every) if isinstance(every, str) else float(every)
    if seconds is None or not 1 <= seconds <= 1e9:
        raise DefinitionError(
            f"{every!r} is not an interval of at least a second",
            hint="Write a number with its unit, such as 90s, 15m, 6h or 1d.",
        )
    return micros(seconds)


def _moment(start: str | datetime) -> Micros:
    try:
        at = datetime.fromisoformat(start) if isinstance(start, str) else start
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        return round(at.timestamp()) * SECOND
    except (ValueError, OverflowError):
        raise DefinitionError(
            f"{str(start)[:80]!r} is not a time",
            hint="Write it as ISO 8601, such as 2027-01-01T09:00+01:00; without an offset: UTC.",
        ) from None


def _one_of(kind: type[_Kind], what: str, value: str) -> _Kind:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(kind)
        raise DefinitionError(f"{what} is {value[:80]!r}, not one of: {known}") from None
