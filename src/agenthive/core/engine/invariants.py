"""Invariants of the engine: what must hold after every step.

Slow, because everything is counted anew: for tests and simulations only. Each check returns one
text for each violation.
"""

from __future__ import annotations

from collections import Counter

from agenthive.core.engine.driver import Driver
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import CLOSED, COMPENSATION_STATES, OPEN, TaskState

_ENDED_STATES = frozenset(set(TaskState) - OPEN - {TaskState.DORMANT})


def find_violations(state: RunState) -> list[str]:
    """One text for each invariant that a run's state violates; empty if none."""
    return [*_check_counters(state), *_check_dependencies(state), *_check_endings(state)]


def find_driver_violations(driver: Driver) -> list[str]:
    """The violations of all runs of a driver, and of what it counts over them."""
    runs = driver.runs.values()
    problems = [
        f"{run.id}: {violation}" for run in runs for violation in find_violations(run.state)
    ]
    slots_used = sum(1 for run in runs if run.state.takes_slot)
    calls_under_way = sum(run.state.calls_in_flight for run in runs)
    if slots_used != driver.used_run_slots:
        problems.append(f"{slots_used} runs are active, not {driver.used_run_slots}")
    if calls_under_way != driver.queue.used:
        problems.append(f"{calls_under_way} calls are under way, not {driver.queue.used}")
    problems += driver.budgets.list_forgotten_waiters()
    return problems + _check_accounts(driver)


def _check_accounts(driver: Driver) -> list[str]:
    """Each scope holds what its calls hold: those in progress and those in doubt."""
    held_amounts, pending_amounts = Counter[str](), Counter[str]()
    for run in driver.runs.values():
        if run.state.status in CLOSED:
            continue  # the holds of an ended run count as spent
        for (task, attempt), hold in run.state.holds.items():
            under_way = run.state.is_call_running(task, attempt)
            for scope in driver.budgets.call_scopes(run, task, attempt, 0):
                held_amounts[scope] += hold.amount
                pending_amounts[scope] += hold.amount * under_way
    problems = []
    for scope, account in driver.budgets.ledger.accounts.items():
        # What a run holds that was set apart stays reserved, and is in no run here.
        excess = account.held - held_amounts[scope]
        is_held = excess == 0 or (excess > 0 and driver.set_apart_runs)
        if not is_held or account.pending != pending_amounts[scope] or account.captured < 0:
            problems.append(
                f"{scope}: captured {account.captured}, held {account.held} not "
                f"{held_amounts[scope]}, "
                f"under way {account.pending} not {pending_amounts[scope]}"
            )
    return problems


def _check_counters(state: RunState) -> list[str]:
    problems = [
        f"counts[{task_state}] is {count}, not {state.state.count(task_state)}"
        for task_state, count in state.counts.items()
        if count != state.state.count(task_state)
    ]
    open_count = sum(1 for task_state in state.state if state.counts_as_open(task_state))
    if open_count != state.open:
        problems.append(f"open is {state.open}, not {open_count}")
    return problems


def _check_dependencies(state: RunState) -> list[str]:
    problems = []
    for task in range(state.graph.tasks):
        dependencies = state.graph.deps[task]
        unfinished = sum(
            1 for dependency in dependencies if state.state[dependency] not in _ENDED_STATES
        )
        if unfinished != state.pending[task]:
            problems.append(
                f"pending of {state.graph.keys[task]} is {state.pending[task]}, not {unfinished}"
            )
        if state.attempts[task] and any(
            not _is_usable(state, dependency) for dependency in dependencies
        ):
            problems.append(f"{state.graph.keys[task]} started without what it depends on")
    return problems


def _is_usable(state: RunState, dependency: int) -> bool:
    task_state = state.state[dependency]
    if task_state is TaskState.FAILED:
        return state.graph.nodes[dependency].tolerated
    return (
        task_state in (TaskState.SUCCEEDED, TaskState.BYPASSED) or task_state in COMPENSATION_STATES
    )


def _check_endings(state: RunState) -> list[str]:
    problems = []
    if state.status in CLOSED and state.open:
        problems.append(f"the run is {state.status} with {state.open} open tasks")
    if state.status not in CLOSED and state.finished is not None:
        problems.append("the run has an end time and is open")
    if state.calls_in_flight > max(state.graph.spec.max_parallel, 1):
        problems.append(f"{state.calls_in_flight} calls under way at once")
    problems += [
        f"{node.key} was tried {state.attempts[index]} times"
        for index, node in enumerate(state.graph.nodes)
        if state.attempts[index] > node.retry.max_attempts + state.losses.get(index, 0)
    ]
    return problems
