"""What a workflow waits for and repeats, in a few words: for whoever checks it before running it.

Only counts and names what the file says, embedded workflows included. A new word for flow gets a
line in `summary` and one in `words`.
"""

from __future__ import annotations

from typing import Any

from agenthive import authoring
from agenthive.core.model.workflow import TaskSpec, WorkflowSpec


def summary(spec: WorkflowSpec) -> dict[str, Any]:
    """Counts and names, as ``validate --json`` gives them."""
    children = list(authoring.embedded(spec))
    tasks = [task for one in (spec, *children) for task in one.tasks]
    approvals = [task.approval for task in tasks if task.approval is not None]
    people = [name for one in approvals for name in (*one.approvers, *one.escalate_to)]
    signals = [task.wait_for.signal for task in tasks if task.wait_for is not None]
    return {
        "conditions": sum(bool(task.when) for task in tasks),
        "timers": sum(_timed(task) for task in tasks),
        "signals": sorted(set(signals)),
        "approvals": len(approvals),
        "people": sorted(set(people)),
        "for_each": sum(task.for_each is not None for task in tasks),
        "repeat_until": sum(task.repeat_until is not None for task in tasks),
        "workflows": len(children),
        "tools": sum(len(task.tools) for task in tasks),
        "fallback": sum(len(task.fallback) for task in tasks),
    }


def _timed(task: TaskSpec) -> bool:
    return task.delay is not None or bool(task.until)


def words(found: dict[str, Any]) -> str:
    """The same in words; empty if there is nothing but calls."""
    parts = [
        _counted(found["approvals"], "approval", found["people"], "by"),
        _counted(len(found["signals"]), "signal", found["signals"], ""),
        _counted(found["timers"], "timer"),
        _counted(found["conditions"], "condition"),
        _counted(found["for_each"], "for_each"),
        _counted(found["repeat_until"], "repeat_until"),
        _counted(found["workflows"], "embedded workflow"),
        _counted(found["tools"], "tool"),
        _counted(found["fallback"], "agent that may go on", plural="agents that may go on"),
    ]
    return ", ".join(part for part in parts if part)


def _counted(
    number: int, what: str, names: list[str] | None = None, by: str = "", plural: str = ""
) -> str:
    if not number:
        return ""
    plural = what if number == 1 or "_" in what else plural or f"{what}s"
    shown = ", ".join((names or [])[:5]) + (", ..." if names and len(names) > 5 else "")
    told = f" ({by} {shown})".replace("( ", "(") if shown else ""
    return f"{number:,} {plural}{told}"
