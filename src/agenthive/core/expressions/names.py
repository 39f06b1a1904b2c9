"""The root names that each part of a task may use in its expressions.

The checks of `authoring` and the graph both call these functions, so that they cannot disagree. A
part may use the names that have values when it is evaluated. The order of evaluation is ``when``,
``delay`` or ``until``, ``wait_for``, ``for_each``, then for each item ``repeat_until``, then for
each iteration ``approval`` and the call. Nothing here evaluates an expression.

To add a name: a constant here, the functions of the parts that may use it, and its value in
`core.engine.expression_scope`.
"""

from __future__ import annotations

from typing import Final

from agenthive.core.expressions.template import ROOTS
from agenthive.core.model.workflow import TaskSpec

ITEM: Final = frozenset({"item", "index"})
"""An item of ``for_each``, and its index in the list, from 0."""

SIGNAL: Final = frozenset({"signal"})
"""The data of the signal that the task waited for."""

ROUND: Final = frozenset({"round", "previous"})
"""The number of the iteration, from 1, and the result of the one before it (null in the first)."""

ARGUMENTS: Final = frozenset({"arguments"})
"""The arguments with which a model requests a tool."""

RESULT: Final = frozenset({"result"})
"""The result of the iteration that has just ended."""

_NONE: Final[frozenset[str]] = frozenset()


def condition_names(task: TaskSpec) -> frozenset[str]:
    """For ``when``, ``delay`` and ``until``, which are evaluated first."""
    del task
    return ROOTS


def for_each_names(task: TaskSpec) -> frozenset[str]:
    """For the list of ``for_each``, which is evaluated after ``wait_for``."""
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
    """For the message and the payload of ``approval``, one for each iteration of each item."""
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
