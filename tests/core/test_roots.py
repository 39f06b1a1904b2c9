"""Which names stand in which part of a task."""

from __future__ import annotations

import pytest

from agenthive.core import roots
from agenthive.core.expressions import ROOTS
from agenthive.core.flow_spec import EachSpec, RepeatSpec, WaitSpec
from agenthive.core.spec import TaskSpec

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
        (roots.condition, ALL, set()),
        (roots.undo, ALL, set()),
        (roots.items, PLAIN, set()),
        (roots.items, ALL, {"signal"}),
        (roots.approval, PLAIN, set()),
        (roots.approval, EACH, {"item", "index"}),
        (roots.approval, ALL, {"signal", "item", "index", "round", "previous"}),
        (roots.parameters, PLAIN, set()),
        (roots.parameters, WAITS, {"signal"}),
        (roots.parameters, EACH, {"item", "index"}),
        (roots.parameters, ROUNDS, {"round", "previous"}),
        (roots.parameters, ALL, {"signal", "item", "index", "round", "previous"}),
        (roots.round_end, ROUNDS, {"round", "previous", "result"}),
        (roots.round_end, ALL, {"signal", "item", "index", "round", "previous", "result"}),
    ],
)
def test_a_part_may_use_what_is_there_when_it_is_evaluated(part, task, more):
    assert part(task) == ROOTS | more


def test_a_label_is_made_of_the_item_alone():
    assert roots.label(EACH) == {"item", "index"}


def test_outputs_read_what_any_task_may():
    assert roots.outputs() == ROOTS
