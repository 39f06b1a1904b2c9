"""Which names stand in which part of a task."""

from __future__ import annotations

import pytest

from agenthive.core.expressions import names
from agenthive.core.expressions.template import ROOTS
from agenthive.core.model.control_flow import EachSpec, RepeatSpec, WaitSpec
from agenthive.core.model.workflow import TaskSpec

PLAIN = TaskSpec(name="t")
WAITS = TaskSpec(name="t", wait_for=WaitSpec(signal="go"))
EACH = TaskSpec(name="t", for_each=EachSpec(items=[1]))
ROUNDS = TaskSpec(name="t", repeat_until=RepeatSpec(until="result"))
ALL = TaskSpec(
    name="t",
    wait_for=WAITS.wait_for,
    for_each=EACH.for_each,
    repeat_until=ROUNDS.repeat_until,
)


@pytest.mark.parametrize(
    ("part", "task", "more"),
    [
        (names.condition_names, ALL, set()),
        (names.compensation_names, ALL, set()),
        (names.for_each_names, PLAIN, set()),
        (names.for_each_names, ALL, {"signal"}),
        (names.approval_names, PLAIN, set()),
        (names.approval_names, EACH, {"item", "index"}),
        (names.approval_names, ALL, {"signal", "item", "index", "round", "previous"}),
        (names.parameter_names, PLAIN, set()),
        (names.parameter_names, WAITS, {"signal"}),
        (names.parameter_names, EACH, {"item", "index"}),
        (names.parameter_names, ROUNDS, {"round", "previous"}),
        (names.parameter_names, ALL, {"signal", "item", "index", "round", "previous"}),
        (names.round_end_names, ROUNDS, {"round", "previous", "result"}),
        (names.round_end_names, ALL, {"signal", "item", "index", "round", "previous", "result"}),
    ],
)
def test_a_part_may_use_what_is_there_when_it_is_evaluated(part, task, more):
    assert part(task) == ROOTS | more


def test_a_label_is_made_of_the_item_alone():
    assert names.label_names(EACH) == {"item", "index"}


def test_outputs_read_what_any_task_may():
    assert names.output_names() == ROOTS
