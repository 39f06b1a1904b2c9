"""Oracle of budgets: no limit is exceeded, no usage is booked twice, no usage is lost.

Books the whole journal again, batch by batch, by its own rules, and compares the results with the
accounts. Imports nothing of agenthive but the case, as all oracles do. A limit may be exceeded only
by the amount that calls cost more than their declared worst case. To add a promise: a check in
`_Ledger` where the values are known, or a function listed in `BUDGET_CHECKS`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from agenthive.simulation.case import Event, SimulationCase, shown_time

#: Microseconds.
DAY: Final = 86_400 * 1_000_000
#: Classes of fault after which the provider charges nothing, so that the hold is released.
NOTHING_CHARGED: Final = frozenset({"not_sent", "refused"})
#: (run, task, attempt)
Call = tuple[str, str, int]


def _budgets_hold(case: SimulationCase) -> Iterator[str]:
    """One line for each violation found while the journal is booked again."""
    if not case.batches:
        return
    yield from _reserved_before_call(case)
    ledger = _Ledger(case)
    for number, batch in enumerate(case.batches):
        for stream, event in batch:
            yield from ledger.apply_event(stream, event)
        yield from ledger.check_limits(number)
    yield from ledger.check_accounts()
    yield from ledger.check_charges()


def _reserved_before_call(case: SimulationCase) -> Iterator[str]:
    """A hold is on disk before its call is made, even if the call has no effect outside.

    The agent is part of the key: the same attempt in a process that crashed may have used an agent
    without a price.
    """
    holds = {
        (run, event["task"], event["attempt"], event["agent"]): at
        for run, events in case.journal.items()
        for event, at in zip(events, case.durable_at.get(run, ()), strict=False)
        if event.get("hold")
    }
    for i, _, call in case.observations_of("called"):
        if holds.get((call["run"], call["task"], call["attempt"], call["agent"]), 0) > i:
            yield f"{call['run']}/{call['task']}: called before its hold was on disk"


def _usage_booked_once(case: SimulationCase) -> Iterator[str]:
    """The usage of a call is booked once and no more, even if it returns late or more than once."""
    booked: dict[tuple[str, str, int], int] = {}
    for run, events in case.journal.items():
        for event in events:
            if event.get("usage"):
                key = (run, event["task"], event["attempt"])
                booked[key] = booked.get(key, 0) + 1
    for event in case.hive:
        if event["type"] == "hive.usage_after_end":
            key = (event["run"], event["task"], event["attempt"])
            booked[key] = booked.get(key, 0) + 1
    for key, count in booked.items():
        if count > 1:
            yield f"{key}: booked {count} times"
    if not case.crashes:
        for _, _, data in case.observations_of("replied"):
            key = (data["run"], data["task"], data["attempt"])
            if (
                data["reply"].get("usage")
                and key not in booked
                and not case.is_billed_elsewhere(*key)
            ):
                yield f"{key}: returned and its usage was never booked"


class _Ledger:
    """The oracle's own ledger of holds and spending."""

    def __init__(self, case: SimulationCase) -> None:
        self._case = case
        self._captured: Counter[str] = Counter()
        self._reserved: Counter[str] = Counter()
        self._holds: dict[Call, tuple[int, tuple[str, ...]]] = {}
        self._bookings: dict[Call, tuple[int, tuple[str, ...]]] = {}
        self._set_limits: dict[str, int | None] = {}
        self._overrun = 0
        self._heirs: set[Call] = set()
        self._call_scopes: dict[Call, tuple[str, ...]] = {}

    def apply_event(self, stream: str, event: Event) -> Iterator[str]:
        kind = event["type"]
        call: Call = (event.get("run", stream), event.get("task", ""), event.get("attempt", 0))
        if kind == "task.started":
            self._on_task_started(call, event)
        elif kind in ("task.succeeded", "task.failed", "task.late_reply"):
            self._on_task_ended(call, event)
        elif kind == "task.cancelled" and event.get("unmade") and call not in self._heirs:
            self._settle_hold(call, 0)
        elif kind == "task.hold_settled":
            if call not in self._holds:
                yield f"{call}: settled, but there is no hold"
            self._settle_hold(call, event["cost"])
        elif kind == "hive.run_closed":
            for open_call in self._call_scopes:
                if open_call[0] == event["run"]:
                    self._move_to_day(open_call, event)
            for held_call in [
                held_call for held_call in self._holds if held_call[0] == event["run"]
            ]:
                self._bookings[held_call] = self._holds[held_call]
                self._settle_hold(held_call, self._holds[held_call][0])
        elif kind == "hive.usage_after_end":
            yield from self._on_usage_after_end(call, event)
        elif kind == "hive.budget_set":
            self._set_limits[event["scope"]] = event.get("limit")

    def _on_task_started(self, call: Call, event: Event) -> None:
        for attempt in event.get("over", ()):
            self._settle_hold((*call[:2], attempt), 0)
        if event.get("over"):
            self._heirs.add(call)
        scopes = self._list_scopes(call, event)
        self._call_scopes[call] = scopes
        if event.get("hold"):
            self._holds[call] = (event["hold"], scopes)
            for scope in scopes:
                self._reserved[scope] += event["hold"]

    def _on_task_ended(self, call: Call, event: Event) -> None:
        self._move_to_day(call, event)
        cost = (event.get("usage") or {}).get("cost")
        fault = event.get("fault") or {}
        amount = self._holds.get(call, (0, ()))[0]
        if cost is None:
            in_vain = fault.get("class") in NOTHING_CHARGED or event.get("cached")
            if call not in self._holds or (in_vain and call not in self._heirs):
                cost = 0
            elif fault and fault.get("class") != "bad_end":
                return
            else:
                cost = amount
        self._settle_hold(call, cost)

    def _move_to_day(self, call: Call, event: Event) -> None:
        """A call without a hold is spent on the day on which it is booked."""
        if call not in self._holds and call in self._call_scopes and "at" in event:
            *others, day = self._call_scopes[call]
            today = f"{day.rpartition('/')[0]}/{shown_time(event) // DAY}"
            self._call_scopes[call] = (*others, today)

    def _settle_hold(self, call: Call, cost: int) -> None:
        amount, scopes = self._holds.pop(call, (0, self._call_scopes.get(call, ())))
        self._overrun += max(0, cost - amount)
        for scope in scopes:
            self._reserved[scope] -= amount
            self._captured[scope] += cost

    def _on_usage_after_end(self, call: Call, event: Event) -> Iterator[str]:
        booked, scopes = self._bookings.pop(call, (0, self._call_scopes.get(call, ())))
        if event.get("booked", 0) != booked:
            yield f"{call}: {event.get('booked', 0)} was booked at the end, not {booked}"
        cost = event["usage"].get("cost")
        if cost is not None:
            self._overrun += max(0, cost - booked)
            for scope in scopes:
                self._captured[scope] += cost - booked

    # Scopes and limits.

    def _list_scopes(self, call: Call, event: Event) -> tuple[str, ...]:
        run, key, _ = call
        agent = event["agent"]
        tenant = self._case.journal[run][0].get("tenant", "default")
        scopes = [*self._task_scopes(run, key)]
        if _find_named(self._case.specs[run], "agents", agent).get("cost_limit") is not None:
            scopes.append(f"run {run} agent {agent}")
        owner: tuple[str, str] | None = (run, "")
        while owner is not None:
            scopes.append(f"run {owner[0]}")
            owner = self._case.find_parent(owner[0])
            if owner is not None:
                scopes += self._task_scopes(*owner)
        day = shown_time(event) // DAY
        return (*scopes, f"agent {tenant}/{agent}", f"tenant {tenant}", f"day {tenant}/{day}")

    def _task_scopes(self, run: str, key: str) -> list[str]:
        name = re.split(r"[\[~#]", key)[0]
        limited = _find_named(self._case.specs[run], "tasks", name).get("cost_limit") is not None
        return [f"run {run} task {name}"] if limited and "#" not in key else []

    def _find_limit(self, scope: str) -> int | None:
        """The limit that applies: the one set at run time, or else the declared one."""
        if self._set_limits.get(scope) is not None:
            return self._set_limits[scope]
        kind, _, subject = scope.partition(" ")
        if kind == "run":
            run, _, part = subject.partition(" ")
            part_kind, _, name = part.partition(" ")
            spec = self._case.specs[run]
            if part_kind:
                limit: int | None = _find_named(spec, f"{part_kind}s", name).get("cost_limit")
                return limit
            budget: dict[str, int] = spec.get("budget") or {}
            return budget.get("limit")
        if kind == "day" and self._set_limits.get(scope.partition("/")[0]) is not None:
            return self._set_limits[scope.partition("/")[0]]
        name = f"agent {subject.partition('/')[2]}" if kind == "agent" else kind
        return self._case.limits.get(name)

    # Rules.

    def check_limits(self, number: int) -> Iterator[str]:
        for scope in self._reserved.keys() | self._captured.keys():
            limit = self._find_limit(scope)
            spent = self._captured[scope] + self._reserved[scope]
            if limit is not None and self._reserved[scope] and spent > limit + self._overrun:
                yield f"batch {number}: {scope} has {spent} of {limit}"
            if self._reserved[scope] < 0 or self._captured[scope] < 0:
                yield f"batch {number}: {scope} has a negative balance"

    def check_accounts(self) -> Iterator[str]:
        accounts = {entry["scope"]: entry for entry in self._case.accounts}
        for scope in sorted(self._reserved.keys() | self._captured.keys() | accounts.keys()):
            account: dict[str, Any] = accounts.get(scope, {})
            actual = (account.get("captured", 0), account.get("held", 0))
            expected = (self._captured[scope], self._reserved[scope])
            if actual != expected:
                yield f"{scope}: the account says {actual}, the journal {expected}"

    def check_charges(self) -> Iterator[str]:
        """What the world charged is booked or held, at least where a worst case was declared."""
        charged = sum(
            cost for call, cost in self._case.charges.items() if call in self._call_scopes
        )
        booked = self._captured["tenant default"] + self._reserved["tenant default"]
        if charged > booked:
            yield f"{charged} was charged, {booked} is booked"


def _find_named(spec: Event, kind: str, name: str) -> Event:
    match: Event = next((entry for entry in spec.get(kind, ()) if entry["name"] == name), {})
    return match


BUDGET_CHECKS: Final[tuple[Callable[[SimulationCase], Iterator[str]], ...]] = (
    _budgets_hold,
    _usage_booked_once,
)
