"""Checks a schedule (name, rule, policies, inputs) and builds the event that sets it.

The calendar computes the times of a rule, and the core starts the runs. To add a way to write a
rule: a parameter of `build_rule`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, TypeVar

import msgspec

from agenthive.authoring.checks.inputs import check_inputs
from agenthive.authoring.checks.sections import parse_duration
from agenthive.authoring.input_binding import bind_inputs
from agenthive.core.journal import run_events as ev
from agenthive.core.model import definition
from agenthive.core.model.workflow import WorkflowSpec
from agenthive.core.policies.schedule import CatchUp, Overlap, Rule, format_utc
from agenthive.core.values import SECOND, Micros, to_micros
from agenthive.errors import ConfigurationError, DefinitionError

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""The names of schedules, from which the ids of their runs are derived."""
_Kind = TypeVar("_Kind", bound=StrEnum)


class PlannedSchedule(msgspec.Struct, frozen=True):
    """A checked schedule: the event that sets it, and the encoded definition that it names."""

    event: ev.ScheduleSet
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
) -> PlannedSchedule:
    """Check a schedule and build its event. Raises DefinitionError.

    ``time_input`` is the input that receives the scheduled time; it must not affect an agent,
    because the definition is bound when the schedule is set.
    """
    if not NAME.fullmatch(name):
        raise DefinitionError(
            f"{name[:80]!r} is not a valid name of a schedule",
            hint="Use up to 64 letters, digits, - _ and . ; start with a letter or a digit.",
        )
    if time_input in inputs:
        raise ConfigurationError(
            f"the input {time_input!r} receives the scheduled time; do not pass a value for it"
        )
    checked_inputs = _inputs_at(workflow, inputs, time_input, 0)
    bound_workflow = bind_inputs(workflow, checked_inputs)
    if (
        time_input
        and bind_inputs(workflow, _inputs_at(workflow, inputs, time_input, SECOND))
        != bound_workflow
    ):
        raise ConfigurationError(
            f"the input {time_input!r} receives the scheduled time; the settings of an agent must"
            " not read it"
        )
    checked_inputs.pop(time_input, None)
    body = definition.encode(bound_workflow)
    event = ev.ScheduleSet(
        at=0,
        schedule=name,
        rule=rule,
        workflow=workflow.name,
        definition=definition.compute_digest(body),
        inputs=checked_inputs,
        time_input=time_input,
        catch_up=_parse_choice(CatchUp, "catch_up", catch_up),
        overlap=_parse_choice(Overlap, "overlap", overlap),
        paused=paused,
    )
    return PlannedSchedule(event, body)


def _inputs_at(
    workflow: WorkflowSpec, inputs: Mapping[str, Any], time_input: str, at: Micros
) -> dict[str, Any]:
    return check_inputs(
        workflow, {**inputs, **({time_input: format_utc(at)} if time_input else {})}
    )


def build_rule(
    *,
    cron: str | None = None,
    every: str | float | timedelta | None = None,
    zone: str = "UTC",
    start: str | datetime | None = None,
) -> Rule:
    """Build a rule from a cron expression or an interval. Raises DefinitionError.

    ``every`` is a duration such as ``15m``, or seconds; its times are counted from ``start``, by
    default 1970-01-01T00:00Z. ``zone`` is the time zone of ``cron``.
    """
    if (cron is None) == (every is None):
        raise DefinitionError(
            "a schedule needs either a cron expression or an interval",
            hint='Use cron="0 9 * * mon-fri" or every="15m".',
        )
    if every is not None:
        return Rule(
            every=_parse_interval(every), anchor=0 if start is None else _parse_start(start)
        )
    if start is not None:
        raise DefinitionError("start applies only to an interval (every), not to a cron expression")
    return Rule(cron=str(cron), zone=zone)


def _parse_interval(every: str | float | timedelta) -> Micros:
    seconds: float | None
    if isinstance(every, timedelta):
        seconds = every.total_seconds()
    else:
        seconds = parse_duration(every) if isinstance(every, str) else float(every)
    if seconds is None or not 1 <= seconds <= 1e9:
        raise DefinitionError(
            f"{every!r} is not an interval of at least 1 second",
            hint="Write a number with its unit, such as 90s, 15m, 6h or 1d.",
        )
    return to_micros(seconds)


def _parse_start(start: str | datetime) -> Micros:
    try:
        instant = datetime.fromisoformat(start) if isinstance(start, str) else start
        instant = instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
        return round(instant.timestamp()) * SECOND
    except (ValueError, OverflowError):
        raise DefinitionError(
            f"{str(start)[:80]!r} is not a valid time",
            hint="Write ISO 8601, such as 2027-01-01T09:00+01:00; UTC if it has no offset.",
        ) from None


def _parse_choice(enum_class: type[_Kind], label: str, value: str) -> _Kind:
    try:
        return enum_class(value)
    except ValueError:
        choices = ", ".join(enum_class)
        raise DefinitionError(f"{label} is {value[:80]!r}; use one of: {choices}") from None
