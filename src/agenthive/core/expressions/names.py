"""Which names the expressions of a task may use, part by part.

Asked by whoever checks a workflow and by the graph that compiles it, so that they cannot disagree.
A part may use what is there when it is evaluated: ``when``, ``delay`` or ``until``, ``wait_for``,
``for_each``, the rounds of ``repeat_until``, ``approval`` (of each). Never evaluates anything.
To add a name: say here from which part on it is there, and give it a value where that is evaluated.
"""

from __future__ import annotations

from typing import Final

from agenthive.core.expressions.template import ROOTS
from agenthive.core.model.workflow import TaskSpec

ITEM: Final = frozenset({"item", "index"})
"""An item of `for_each` and its place in the list, from 0."""

SIGNAL: Final = frozenset({"signal"})
"""The data of the signal that was waited for."""

ROUND: Final = frozenset({"round", "previous"})
"""The number of the round, from 1, and the result of the round before (null in the first)."""

ARGUMENTS: Final = frozenset({"arguments"})
"""What a model asks a tool for."""

RESULT: Final = frozenset({"result"})
"""The result of the round that has just ended."""

_NONE: Final[frozenset[str]] = frozenset()


def condition_names(task: TaskSpec) -> frozenset[str]:
    """For ``when``, ``delay`` and ``until``: they come before everything else."""
    del task
    return ROOTS


def for_each_names(task: TaskSpec) -> frozenset[str]:
    """For the list of ``for_each``; the signal is there by then."""
    return ROOTS | (SIGNAL if task.wait_for is not None else _NONE)


def label_names(task: TaskSpec) -> frozenset[str]:
    """For the label of an item."""
    del task
    return ITEM


def parameter_names(task: TaskSpec) -> frozenset[str]:
    """For the parameters of the call or the sub-workflow, ``cache`` and ``reconcile``."""
    item = ITEM if task.for_each is not None else _NONE
    return for_each_names(task) | item | (ROUND if task.repeat_until is not None else _NONE)


def tool_names(task: TaskSpec) -> frozenset[str]:
    """For the parameters of a tool, and for its approval and ``reconcile``."""
    return parameter_names(task) | ARGUMENTS


def approval_names(task: TaskSpec) -> frozenset[str]:
    """For the message and the payload of ``approval``: asked for each round of each item."""
    return parameter_names(task)


def round_end_names(task: TaskSpec) -> frozenset[str]:
    """For the condition of ``repeat_until``."""
    return parameter_names(task) | RESULT


def compensation_names(task: TaskSpec) -> frozenset[str]:
    """For the parameters of ``compensate``."""
    del task
    return ROOTS


def output_names() -> frozenset[str]:
    """For the outputs of a workflow."""
    return ROOTS
