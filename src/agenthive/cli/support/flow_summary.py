"""A summary of the control flow of a workflow, for `validate`.

Counts what the file declares, embedded workflows included. To add a kind of control flow: a line in
`summarize_flow` and one in `describe_flow`.
"""

from __future__ import annotations

from typing import Any

from agenthive import authoring
from agenthive.core.model.workflow import TaskSpec, WorkflowSpec


def summarize_flow(spec: WorkflowSpec) -> dict[str, Any]:
    """Counts and names, as ``validate --json`` prints them."""
    children = list(authoring.embedded_workflows(spec))
    tasks = [task for item in (spec, *children) for task in item.tasks]
    approvals = [task.approval for task in tasks if task.approval is not None]
    people = [name for item in approvals for name in (*item.approvers, *item.escalate_to)]
    signals = [task.wait_for.signal for task in tasks if task.wait_for is not None]
    return {
        "conditions": sum(bool(task.when) for task in tasks),
        "timers": sum(_has_timer(task) for task in tasks),
        "signals": sorted(set(signals)),
        "approvals": len(approvals),
        "people": sorted(set(people)),
        "for_each": sum(task.for_each is not None for task in tasks),
        "repeat_until": sum(task.repeat_until is not None for task in tasks),
        "workflows": len(children),
        "tools": sum(len(task.tools) for task in tasks),
        "fallback": sum(len(task.fallback) for task in tasks),
    }


def _has_timer(task: TaskSpec) -> bool:
    return task.delay is not None or bool(task.until)


def describe_flow(summary: dict[str, Any]) -> str:
    """The summary in words; empty if the workflow only makes calls."""
    parts = [
        _format_count(summary["approvals"], "approval", summary["people"], "by"),
        _format_count(len(summary["signals"]), "signal", summary["signals"], ""),
        _format_count(summary["timers"], "timer"),
        _format_count(summary["conditions"], "condition"),
        _format_count(summary["for_each"], "for_each"),
        _format_count(summary["repeat_until"], "repeat_until"),
        _format_count(summary["workflows"], "embedded workflow"),
        _format_count(summary["tools"], "tool"),
        _format_count(summary["fallback"], "fallback agent"),
    ]
    return ", ".join(part for part in parts if part)


def _format_count(number: int, noun: str, names: list[str] | None = None, by: str = "") -> str:
    if not number:
        return ""
    plural = noun if number == 1 or "_" in noun else f"{noun}s"
    shown_names = ", ".join((names or [])[:5]) + (", ..." if names and len(names) > 5 else "")
    details = f" ({by} {shown_names})".replace("( ", "(") if shown_names else ""
    return f"{number:,} {plural}{details}"
