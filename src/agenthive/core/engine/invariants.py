"""What must hold after every step. Slow on purpose: for tests and simulations."""

from __future__ import annotations

from collections import Counter

from agenthive.core.engine.driver import Driver
from agenthive.core.machine.run_state import RunState
from agenthive.core.model.states import CLOSED, COMPENSATION, OPEN, TaskState

_ENDED = frozenset(set(TaskState) - OPEN - {TaskState.DORMANT})


def violations(state: RunState) -> list[str]:
    """One line for each invariant that does not hold; empty when all is well."""
    return [*_counters(state), *_edges(state), *_ends(state)]


def driver_violations(driver: Driver) -> list[str]:
    """The same for all runs that a driver has in hand, and for what it counts over them."""
    lives = driver.runs.values()
    found = [f"{live.run}: {line}" for live in lives for line in violations(live.state)]
    active = sum(1 for live in lives if live.state.takes_slot)
    calls = sum(live.state.in_flight for live in lives)
    if active != driver.active:
        found.append(f"{active} runs are active, not {driver.active}")
    if calls != driver.queue.used:
        found.append(f"{calls} calls are under way, not {driver.queue.used}")
    return found + _accounts(driver)


def _accounts(driver: Driver) -> list[str]:
    """What is held in each scope is what calls hold there, those under way and those in doubt."""
    held, pending = Counter[str](), Counter[str]()
    for live in driver.runs.values():
        if live.state.status in CLOSED:
            continue  # what was in doubt is spent
        for (task, attempt), hold in live.state.holds.items():
            under_way = live.state.under_way(task, attempt)
            for scope in driver.money.purse(live, task, attempt, 0):
                held[scope] += hold.amount
                pending[scope] += hold.amount * under_way
    found = []
    for scope, account in driver.money.ledger.accounts.items():
        if (account.held, account.pending) != (held[scope], pending[scope]) or account.captured < 0:
            found.append(
                f"{scope}: captured {account.captured}, held {account.held} not {held[scope]}, "
                f"under way {account.pending} not {pending[scope]}"
            )
    return found


def _counters(state: RunState) -> list[str]:
    found = [
        f"counts[{kind}] is {count}, not {state.state.count(kind)}"
        for kind, count in state.counts.items()
        if count != state.state.count(kind)
    ]
    still_open = sum(1 for kind in state.state if state.counts_as_open(kind))
    if still_open != state.open:
        found.append(f"open is {state.open}, not {still_open}")
    return found


def _edges(state: RunState) -> list[str]:
    found = []
    for task in range(state.graph.tasks):
        deps = state.graph.deps[task]
        left = sum(1 for dep in deps if state.state[dep] not in _ENDED)
        if left != state.pending[task]:
            found.append(
                f"pending of {state.graph.keys[task]} is {state.pending[task]}, not {left}"
            )
        if state.attempts[task] and any(not _usable(state, dep) for dep in deps):
            found.append(f"{state.graph.keys[task]} started without what it depends on")
    return found


def _usable(state: RunState, dep: int) -> bool:
    kind = state.state[dep]
    if kind is TaskState.FAILED:
        return state.graph.nodes[dep].tolerated
    return kind in (TaskState.SUCCEEDED, TaskState.BYPASSED) or kind in COMPENSATION


def _ends(state: RunState) -> list[str]:
    found = []
    if state.status in CLOSED and state.open:
        found.append(f"the run is {state.status} with {state.open} open tasks")
    if state.status not in CLOSED and state.finished is not None:
        found.append("the run has an end time and is open")
    if state.in_flight > max(state.graph.spec.max_parallel, 1):
        found.append(f"{state.in_flight} calls under way at once")
    found += [
        f"{node.key} was tried {state.attempts[i]} times"
        for i, node in enumerate(state.graph.nodes)
        if state.attempts[i] > node.retry.max_attempts + state.losses.get(i, 0)
    ]
    return found
