"""Making a plan from the arguments of `agenthive plan`, and printing it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from agenthive import authoring
from agenthive.cli.support import output
from agenthive.cli.support.session import build_registry
from agenthive.cli.support.workflow_files import collect_inputs, convert_inputs, load_file
from agenthive.core.history.report import NANO
from agenthive.core.values import NanoUSD, format_dollars
from agenthive.hive.resources import bind_workflow
from agenthive.infra.home import Home
from agenthive.insights.plan import Concern, Plan, TaskPlan, plan_workflow
from agenthive.settings import Settings
from agenthive.simulation.journal_defaults import learn_from_journal

UNBOUNDED = "no bound"
UNKNOWN = "unknown"


def plan_file(
    file: Path,
    pairs: Sequence[str],
    inputs_file: Path | None,
    agent_files: Sequence[Path],
    settings: Settings,
) -> Plan:
    """Plan the workflow of a file. Raises ConfigurationError if the file or an input is wrong."""
    agents = build_registry(settings, agent_files)
    loaded = load_file(file, settings, agents, authoring.placeholder)
    for warning in loaded.warnings:
        output.print_note(f"warning: {output.escape(warning)}")
    raw_inputs = collect_inputs(pairs, inputs_file)
    inputs = convert_inputs(loaded.spec, raw_inputs, authoring.placeholder)
    spec, inputs = bind_workflow(loaded.spec, inputs)
    has_journal = Home(settings.home).journal.exists()
    fit = learn_from_journal(settings.home, spec) if has_journal else None
    return plan_workflow(spec, agents, inputs, fit=fit, limits=settings.budgets)


def show_plan(workflow_plan: Plan, *, as_json: bool) -> None:
    """Print a plan as text or JSON."""
    if as_json:
        output.print_document("plan", **plan_fields(workflow_plan))
        return
    output.print_line(f"{output.escape(workflow_plan.name)}\n")
    output.print_line(
        f"at most  {_format_worst(workflow_plan.worst)}{_format_bound(workflow_plan)}, "
        f"{_format_time(workflow_plan.worst_seconds)}"
    )
    output.print_line(
        f"typical  {_format_typical(workflow_plan.typical)}, "
        f"{output.format_duration(workflow_plan.typical_seconds)}"
    )
    output.print_line(f"path     {' -> '.join(map(output.escape, workflow_plan.path)) or '-'}")
    if workflow_plan.throughput is not None:
        throughput = workflow_plan.throughput
        rate = f"{throughput.runs_per_minute:.3g} runs per minute"
        output.print_line(
            f"limit    {rate}, by {throughput.tier} of agent '{output.escape(throughput.agent)}'"
        )
    output.print_line()
    output.print_table(
        ("TASK", "AGENT", "CALLS", "AT MOST", "TYPICAL", "TIME", "TIME SOURCE"),
        [_format_row(task) for task in workflow_plan.tasks],
    )
    if workflow_plan.worst is None:
        _print_concerns("Cost without a bound", workflow_plan.unbounded, _UNBOUNDED_ADVICE)
    else:
        _print_concerns(
            "Cost bounded only by the limit above", workflow_plan.unbounded, _LOOSE_ADVICE
        )
    _print_concerns("Effects without approval or compensation", workflow_plan.irreversible)
    _print_concerns("Never executed", workflow_plan.unreachable)


_UNBOUNDED_ADVICE = (
    "Set max_cost or cost_limit on the task or its agent, or a budget on the workflow."
)
_LOOSE_ADVICE = "Set max_cost or cost_limit on the task or its agent for a tighter bound."


def _format_bound(workflow_plan: Plan) -> str:
    return "" if workflow_plan.by in ("", "calls") else f" (by {workflow_plan.by})"


def _format_row(task: TaskPlan) -> tuple[str, ...]:
    worst = _format_worst(task.worst) + (" (limit)" if task.limit else "")
    time = output.format_duration(task.typical_seconds)
    return (
        output.escape(task.task),
        output.escape(task.agent or "-"),
        f"{task.calls:,}",
        worst,
        _format_typical(task.typical),
        time,
        output.escape(task.source),
    )


def _format_worst(amount: NanoUSD | None) -> str:
    return UNBOUNDED if amount is None else format_dollars(amount)


def _format_typical(amount: NanoUSD | None) -> str:
    return UNKNOWN if amount is None else format_dollars(amount)


def _format_time(seconds: float | None) -> str:
    return UNBOUNDED if seconds is None else output.format_duration(seconds)


def _print_concerns(title: str, concerns: Sequence[Concern], advice: str = "") -> None:
    if not concerns:
        return
    output.print_line(f"\n{title}:")
    for concern in concerns:
        output.print_line(f"  {output.escape(concern.task)}: {output.escape(concern.why)}")
    if advice:
        output.print_line(f"  {advice}")


def plan_fields(workflow_plan: Plan) -> dict[str, Any]:
    """The fields of the JSON document: money in nano-dollars, the totals in US dollars too."""
    fields: dict[str, Any] = msgspec.to_builtins(workflow_plan)
    for name in ("worst", "typical"):
        amount = fields.pop(name)
        fields[f"{name}_nano_usd"] = amount
        fields[f"{name}_usd"] = None if amount is None else amount / NANO
    for task in fields["tasks"]:
        task["worst_nano_usd"] = task.pop("worst")
        task["typical_nano_usd"] = task.pop("typical")
    return fields
