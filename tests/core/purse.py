"""What tests of budgets share: a price list of ten a token, and ways to look at accounts."""

from __future__ import annotations

from typing import Any

from agenthive.core.journal import run_events as ev
from agenthive.core.model.calls import Call, Fault, Usage
from agenthive.core.model.states import TaskState
from agenthive.core.model.workflow import AgentSpec, BudgetSpec, OnExceeded, WorkflowSpec
from tests.core.rig import NO_RETRY, Bench, flow, task

LIMITED = Fault(kind="rate_limited", message="slow", counts=False)
TIMEOUT = Fault(kind="timeout", message="too slow")
BROKEN = Fault(kind="agent_error", message="no", retriable=False)


class Quotes:
    """A model's price is 10 a token; one named `unknown` has none; `free` costs nothing."""

    def is_priced(self, spec: AgentSpec) -> bool:
        return spec.name != "free"

    def estimate_max_cost(self, spec: AgentSpec, call: Call) -> int | None:
        return None if spec.name == "unknown" else 10 * (call.max_tokens or 5)

    def explain_unpriced(self, spec: AgentSpec, call: Call) -> str:
        return f"no list has the price of {spec.name}" if spec.name == "unknown" else ""

    def fit_max_tokens(self, spec: AgentSpec, call: Call, max_cost: int) -> tuple[int, int] | None:
        return (max_cost // 10, max_cost // 10 * 10) if max_cost >= 10 else None


def bench(**limits: int) -> Bench:
    return Bench(quoter=Quotes(), limits=limits)


def budget(limit: int, how: OnExceeded = OnExceeded.FAIL, **more: Any) -> BudgetSpec:
    return BudgetSpec(limit=limit, on_exceeded=how, **more)


def pair(limit: int, how: OnExceeded = OnExceeded.FAIL, **more: Any) -> WorkflowSpec:
    """Two tasks at once, each of which may cost 50."""
    return flow(task("a"), task("b"), budget=budget(limit, how), **more)


def used(cost: int | None) -> Usage:
    return Usage(model="m", cost=cost)


def account(found: Bench, scope: str) -> tuple[int, int]:
    one = found.driver.budgets.ledger.accounts[scope]
    return one.captured, one.held


def disk(found: Bench) -> dict[str, tuple[int, int]]:
    return {one.scope: (one.captured, one.held) for one in found.disk.accounts()}


def facts(found: Bench, kind: type[Any], run: str = "r") -> list[Any]:
    decode = ev.decode_hive_events if run == ev.HIVE else ev.decode_run_events
    every = [e for record in found.disk.records(run) for e in decode(record.payload)]  # type: ignore[operator]
    return [event for event in every if isinstance(event, kind)]


def state_of(found: Bench, name: str, run: str = "r") -> TaskState:
    state = found.driver.runs[run].state
    return state.state[state.graph.index[name]]


def doubtful() -> Bench:
    """A run with 100 to spend that waits for three days, after a call of 50 that timed out."""
    found = bench()
    found.run(
        flow(
            task("a", retry=NO_RETRY, continue_on_failure=True),
            task("w", agent="", delay=3 * 86_400.0),
            timeout=None,
            budget=budget(100),
        )
    )
    found.answer("a", fault=TIMEOUT)
    return found
