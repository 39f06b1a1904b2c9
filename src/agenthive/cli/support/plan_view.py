"""How a plan is made from the words of a command, and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from agenthive import authoring
from agenthive.cli.support import output
from agenthive.cli.support.session import directory
from agenthive.cli.support.workflow_files import given_inputs, load, typed_inputs
from agenthive.core.history.report import NANO
from agenthive.core.values import NanoUSD, dollars
from agenthive.hive.resources import bound
from agenthive.infra.home import Home
from agenthive.insights.plan import Concern, Plan, TaskPlan, plan
from agenthive.settings import Settings
from agenthive.simulation.journal_defaults import recall

UNBOUNDED = "no bound"
UNKNOWN = "unknown"


def look(
    file: Path,
    pairs: Sequence[str],
    inputs_file: Path | None,
    agent_files: Sequence[Path],
    settings: Settings,
) -> Plan:
    """The plan of a file. Raises ConfigurationError if the file or an input is wrong."""
    agents = directory(settings, agent_files)
    loaded = load(file, settings, agents, authoring.placeholder)
    for warning in loaded.warnings:
        output.note(f"warning: {output.safe(warning)}")
    given = given_inputs(pairs, inputs_file)
    inputs = typed_inputs(loaded.spec, given, authoring.placeholder)
    spec, inputs = bound(loaded.spec, inputs)
    known = Home(settings.home).journal.exists()
    fit = recall(settings.home, spec) if known else None
    return plan(spec, agents, inputs, fit=fit, limits=settings.budgets)


def show(found: Plan, *, as_json: bool) -> None:
    """All of it."""
    if as_json:
        output.document("plan", **document(found))
        return
    output.line(f"{output.safe(found.name)}\n")
    output.line(f"worst    {_money(found.worst)}{_by(found)}, {_time(found.worst_seconds)}")
    output.line(f"usually  {_usual(found.typical)}, {output.span(found.typical_seconds)}")
    output.line(f"path     {' -> '.join(map(output.safe, found.path)) or '-'}")
    if found.throughput is not None:
        flow = found.throughput
        rate = f"{flow.runs_per_minute:.3g} runs a minute"
        output.line(f"limit    {rate}, by {flow.tier} of agent '{output.safe(flow.agent)}'")
    output.line()
    output.table(
        ("TASK", "AGENT", "CALLS", "WORST", "USUALLY", "TIME", "TIME IS FROM"),
        [_row(task) for task in found.tasks],
    )
    if found.worst is None:
        _concerns("Nobody bounds the cost of", found.unbounded, _UNBOUNDED)
    else:
        _concerns("Only the limit above bounds the cost of", found.unbounded, _LOOSE)
    _concerns("Nobody can take back or refuse", found.irreversible)
    _concerns("Never done", found.unreachable)


_UNBOUNDED = "Give it max_cost or cost_limit, or the workflow a budget."
_LOOSE = "With max_cost or cost_limit the worst case would be closer."


def _by(found: Plan) -> str:
    return "" if found.by in ("", "calls") else f" (by {found.by})"


def _row(task: TaskPlan) -> tuple[str, ...]:
    worst = _money(task.worst) + (" (limit)" if task.limit else "")
    time = output.span(task.typical_seconds)
    return (output.safe(task.task), output.safe(task.agent or "-"), f"{task.calls:,}", worst,
            _usual(task.typical), time, output.safe(task.source))  # fmt: skip


def _money(amount: NanoUSD | None) -> str:
    return UNBOUNDED if amount is None else dollars(amount)


def _usual(amount: NanoUSD | None) -> str:
    return UNKNOWN if amount is None else dollars(amount)


def _time(seconds: float | None) -> str:
    return UNBOUNDED if seconds is None else output.span(seconds)


def _concerns(title: str, concerns: Sequence[Concern], advice: str = "") -> None:
    if not concerns:
        return
    output.line(f"\n{title}:")
    for one in concerns:
        output.line(f"  {output.safe(one.task)}: {output.safe(one.why)}")
    if advice:
        output.line(f"  {advice}")


def document(found: Plan) -> dict[str, Any]:
    """As JSON has it: money in nano-dollars, and the whole in dollars too."""
    plain: dict[str, Any] = msgspec.to_builtins(found)
    for name in ("worst", "typical"):
        amount = plain.pop(name)
        plain[f"{name}_nano_usd"] = amount
        plain[f"{name}_usd"] = None if amount is None else amount / NANO
    for task in plain["tasks"]:
        task["worst_nano_usd"] = task.pop("worst")
        task["typical_nano_usd"] = task.pop("typical")
    return plain
