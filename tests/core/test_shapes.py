"""The values of the core: which can change, what stands in the journal, and the bounds that are."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import msgspec
import pytest

import agenthive.core
from agenthive.core.engine import admission, ready_queue, reply_validation
from agenthive.core.engine.budget_queues import WaitingCall
from agenthive.core.expressions import functions, template
from agenthive.core.graph import estimates
from agenthive.core.history.report import RunReport, TaskReport
from agenthive.core.journal import run_events as ev
from agenthive.core.journal.records import AccountState, Batch, LedgerEntry, Record, RunRow
from agenthive.core.machine import commands as cmd
from agenthive.core.machine.flow_state import (
    Approval,
    Iterations,
    MappedItems,
    ModelTurns,
    TurnState,
)
from agenthive.core.machine.guards import outcome
from agenthive.core.model.calls import (
    Call,
    Fault,
    Headroom,
    ModelTurn,
    Reply,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
)
from agenthive.core.model.control_flow import (
    ApprovalSpec,
    CacheSpec,
    EachSpec,
    ReconcileSpec,
    RepeatSpec,
    WaitSpec,
)
from agenthive.core.model.states import Reason
from agenthive.core.model.workflow import (
    AgentSpec,
    BudgetSpec,
    CompensationSpec,
    FallbackSpec,
    InputSpec,
    TaskSpec,
    ToolSpec,
    WorkflowSpec,
)
from agenthive.core.policies.circuit_breaker import Breaker, BreakerPolicy
from agenthive.core.policies.loop_detection import Trajectory
from agenthive.core.policies.rate_limit import RateLimit

BASES = (ev.Event, ev.TaskEvent, ev.ScheduleEvent, ev.ScheduleChanged)
CHANGE = {
    Approval,
    MappedItems,
    Iterations,
    TurnState,
    ModelTurns,
    Trajectory,
    WaitingCall,
    Breaker,
    Batch,
    RunReport,
    TaskReport,
}
"""State and results under construction; everything else is a value."""
OMIT = {
    ev.Event,
    AgentSpec,
    CompensationSpec,
    TaskSpec,
    InputSpec,
    WorkflowSpec,
    BreakerPolicy,
    Fault,
    Usage,
    TaskReport,
    ApprovalSpec,
    CacheSpec,
    EachSpec,
    ReconcileSpec,
    RepeatSpec,
    WaitSpec,
    ev.InheritedResult,
    BudgetSpec,
    Headroom,
    RateLimit,
    ToolSpec,
    FallbackSpec,
    ToolCall,
}
BY_NAME = [
    AgentSpec,
    CompensationSpec,
    TaskSpec,
    InputSpec,
    WorkflowSpec,
    BreakerPolicy,
    Fault,
    Usage,
    Call,
    Reply,
    Record,
    RunRow,
    Batch,
    TaskReport,
    RunReport,
    Reason,
    BudgetSpec,
    LedgerEntry,
    AccountState,
    Tool,
    ToolCall,
    ToolResult,
    ModelTurn,
    ToolSpec,
    FallbackSpec,
]


def structs() -> Iterator[type[msgspec.Struct]]:
    """Every struct that is defined in the core."""
    found = set()
    for module in pkgutil.walk_packages(agenthive.core.__path__, "agenthive.core."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, msgspec.Struct):
                found.add(value)
    yield from sorted(
        (one for one in found if one.__module__.startswith("agenthive.core")),
        key=lambda one: one.__qualname__,
    )


@pytest.mark.parametrize("kind", [*structs()])
def test_what_is_a_value_never_changes(kind: type[msgspec.Struct]) -> None:
    assert kind.__struct_config__.frozen is (kind not in CHANGE)


@pytest.mark.parametrize("kind", [*structs()])
def test_what_leaves_its_defaults_out(kind: type[msgspec.Struct]) -> None:
    if issubclass(kind, cmd.Command):
        return
    known = any(issubclass(kind, base) for base in OMIT)
    policy = kind.__module__.endswith(("retry", "schedule"))
    assert kind.__struct_config__.omit_defaults is (known or policy)


@pytest.mark.parametrize("kind", BY_NAME)
def test_what_takes_its_fields_by_name_only(kind: type[msgspec.Struct]) -> None:
    with pytest.raises(TypeError, match="positional"):
        kind("x")


def test_facts_carry_their_type() -> None:
    for kind in structs():
        if issubclass(kind, ev.Event) and kind not in BASES:
            assert kind.__struct_config__.tag_field == "type"
            room = "hive" if str(kind.__struct_config__.tag).startswith("hive.") else ""
            assert room or str(kind.__struct_config__.tag).split(".")[0] in ("run", "task")


def test_bounds() -> None:
    assert admission.MAX_STARTS_PER_TURN == 1000
    assert outcome.MAX_LOSSES == 100
    assert ready_queue.UNLIMITED == 1 << 62
    assert estimates.MAX_KINDS == 64
    assert (reply_validation.MAX_DEPTH, reply_validation.MAX_MESSAGE_LENGTH) == (100, 10_000)
    assert functions.MAX_STEPS == 250_000
    assert functions.MAX_OUTPUT == 4 * 2**20
    assert functions.MAX_INT == 2**63 - 1
    assert template.MAX_LENGTH == 4096


def test_defaults() -> None:
    record = Record(stream="r", seq=1, count=1, at=1, type="run", payload=b"[]")
    assert (record.v, record.rules, record.actor, record.pos, record.prev) == (
        1,
        1,
        "engine",
        0,
        b"",
    )
    row = RunRow(run="r", name="w", status="queued", created=1)
    assert (row.total_tasks, row.completed_tasks, row.failed_tasks, row.finished) == (0, 0, 0, None)
    spec = WorkflowSpec(name="w")
    assert (spec.dialect, spec.max_parallel, spec.timeout, spec.version) == (0, 1, 300.0, "1.0.0")
    used = Usage()
    assert (used.input_tokens, used.output_tokens, used.reasoning_tokens, used.cost) == (
        0,
        0,
        0,
        None,
    )
    assert (used.cache_read_tokens, used.cache_write_tokens) == (0, 0)
    task = TaskSpec(name="t", agent="a", action="do")
    assert (task.priority, task.timeout, task.continue_on_failure) == (5, None, False)
    assert AgentSpec(name="a", type="t", endpoint="e").timeout == 30.0
    assert not InputSpec().required
    fault = Fault(kind="k", message="m")
    assert (fault.retriable, fault.counts) == (True, True)
    assert (Breaker(BreakerPolicy()).failures, Breaker(BreakerPolicy()).probes) == (0, 0)
