"""The judge's eye on money: no limit is passed, nothing is booked twice, nothing is forgotten.

Books the whole journal again, batch by batch, by rules of its own, and compares. Imports nothing of
agenthive but the case, as the judge does. A limit may be passed only by as much as calls cost more
than was declared for them. To add a promise: a line where it can be seen in `_Books`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from agenthive.simulation.case import Case, Event

DAY: Final = 86_400 * 1_000_000
NOTHING_DONE: Final = frozenset(
    {"rate_limited", "overloaded", "breaker_open", "unregistered", "expression", "refused"}
)
Call = tuple[str, str, int]


def _money_is_kept(case: Case) -> Iterator[str]:
    """Every line that is wrong about money."""
    if not case.batches:
        return
    yield from _held_before_called(case)
    books = _Books(case)
    for number, batch in enumerate(case.batches):
        for stream, event in batch:
            yield from books.take(stream, event)
        yield from books.within_limits(number)
    yield from books.as_the_accounts_say()
    yield from books.no_less_than_was_billed()


def _held_before_called(case: Case) -> Iterator[str]:
    """What is paid for is on disk before it is called, also if it changes nothing outside.

    In a life that was lost the same attempt may have been somebody's who costs nothing.
    """
    holds = {
        (run, event["task"], event["attempt"], event["agent"]): at
        for run, events in case.journal.items()
        for event, at in zip(events, case.durable.get(run, ()), strict=False)
        if event.get("hold")
    }
    for i, _, call in case.observations("called"):
        if holds.get((call["run"], call["task"], call["attempt"], call["agent"]), 0) > i:
            yield f"{call['run']}/{call['task']}: called before its hold was on disk"


def _paid_once(case: Case) -> Iterator[str]:
    """What a call used is booked, once, however late it answers and however often."""
    booked: dict[tuple[str, str, int], int] = {}
    for run, events in case.journal.items():
        for event in events:
            if event.get("usage"):
                one = (run, event["task"], event["attempt"])
                booked[one] = booked.get(one, 0) + 1
    for event in case.hive:
        if event["type"] == "hive.usage_after_end":
            one = (event["run"], event["task"], event["attempt"])
            booked[one] = booked.get(one, 0) + 1
    for one, count in booked.items():
        if count > 1:
            yield f"{one}: paid {count} times"
    if not case.crashes:
        for _, _, data in case.observations("replied"):
            one = (data["run"], data["task"], data["attempt"])
            if (
                data["reply"].get("usage")
                and one not in booked
                and not case.is_paid_otherwise(*one)
            ):
                yield f"{one}: answered and was never paid"


class _Books:
    def __init__(self, case: Case) -> None:
        self._case = case
        self._captured: Counter[str] = Counter()
        self._held: Counter[str] = Counter()
        self._holds: dict[Call, tuple[int, tuple[str, ...]]] = {}
        self._booked: dict[Call, tuple[int, tuple[str, ...]]] = {}
        self._set: dict[str, int | None] = {}
        self._over = 0
        self._heirs: set[Call] = set()
        self._where: dict[Call, tuple[str, ...]] = {}

    def take(self, stream: str, event: Event) -> Iterator[str]:
        kind = event["type"]
        call: Call = (event.get("run", stream), event.get("task", ""), event.get("attempt", 0))
        if kind == "task.started":
            self._start(call, event)
        elif kind in ("task.succeeded", "task.failed", "task.late_reply"):
            self._answered(call, event)
        elif kind == "task.cancelled" and event.get("unmade") and call not in self._heirs:
            self._settle(call, 0)
        elif kind == "task.hold_settled":
            if call not in self._holds:
                yield f"{call}: settled, and holds nothing"
            self._settle(call, event["cost"])
        elif kind == "hive.run_closed":
            for one in [one for one in self._holds if one[0] == event["run"]]:
                self._booked[one] = self._holds[one]
                self._settle(one, self._holds[one][0])
        elif kind == "hive.usage_after_end":
            yield from self._after_end(call, event)
        elif kind == "hive.budget_set":
            self._set[event["scope"]] = event.get("limit")

    def _start(self, call: Call, event: Event) -> None:
        for attempt in event.get("over", ()):
            self._settle((*call[:2], attempt), 0)
        if event.get("over"):
            self._heirs.add(call)
        scopes = self._scopes(call, event)
        self._where[call] = scopes
        if event.get("hold"):
            self._holds[call] = (event["hold"], scopes)
            for scope in scopes:
                self._held[scope] += event["hold"]

    def _answered(self, call: Call, event: Event) -> None:
        cost = (event.get("usage") or {}).get("cost")
        fault = (event.get("fault") or {}).get("kind", "")
        amount = self._holds.get(call, (0, ()))[0]
        if cost is None:
            in_vain = fault in NOTHING_DONE or event.get("cached")
            if call not in self._holds or (in_vain and call not in self._heirs):
                cost = 0
            elif fault:
                return
            else:
                cost = amount
        self._settle(call, cost)

    def _settle(self, call: Call, cost: int) -> None:
        amount, scopes = self._holds.pop(call, (0, self._where.get(call, ())))
        self._over += max(0, cost - amount)
        for scope in scopes:
            self._held[scope] -= amount
            self._captured[scope] += cost

    def _after_end(self, call: Call, event: Event) -> Iterator[str]:
        booked, scopes = self._booked.pop(call, (0, self._where.get(call, ())))
        if event.get("booked", 0) != booked:
            yield f"{call}: {event.get('booked', 0)} was booked at the end, not {booked}"
        cost = event["usage"].get("cost")
        if cost is not None:
            self._over += max(0, cost - booked)
            for scope in scopes:
                self._captured[scope] += cost - booked

    # Scopes and limits.

    def _scopes(self, call: Call, event: Event) -> tuple[str, ...]:
        run, key, _ = call
        agent = event["agent"]
        tenant = self._case.journal[run][0].get("tenant", "default")
        found = [*self._of_task(run, key)]
        if _named(self._case.specs[run], "agents", agent).get("cost_limit") is not None:
            found.append(f"run {run} agent {agent}")
        above: tuple[str, str] | None = (run, "")
        while above is not None:
            found.append(f"run {above[0]}")
            above = self._case.parent(above[0])
            if above is not None:
                found += self._of_task(*above)
        day = event["at"] // DAY
        return (*found, f"agent {tenant}/{agent}", f"tenant {tenant}", f"day {tenant}/{day}")

    def _of_task(self, run: str, key: str) -> list[str]:
        name = re.split(r"[\[~#]", key)[0]
        limited = _named(self._case.specs[run], "tasks", name).get("cost_limit") is not None
        return [f"run {run} task {name}"] if limited and "#" not in key else []

    def _limit(self, scope: str) -> int | None:
        """The limit that counts: what somebody set, else what was written."""
        if self._set.get(scope) is not None:
            return self._set[scope]
        kind, _, rest = scope.partition(" ")
        if kind == "run":
            run, _, part = rest.partition(" ")
            what, _, name = part.partition(" ")
            spec = self._case.specs[run]
            if what:
                limit: int | None = _named(spec, f"{what}s", name).get("cost_limit")
                return limit
            budget: dict[str, int] = spec.get("budget") or {}
            return budget.get("limit")
        if kind == "day" and self._set.get(scope.partition("/")[0]) is not None:
            return self._set[scope.partition("/")[0]]
        name = f"agent {rest.partition('/')[2]}" if kind == "agent" else kind
        return self._case.limits.get(name)

    # What must hold.

    def within_limits(self, number: int) -> Iterator[str]:
        for scope in self._held.keys() | self._captured.keys():
            limit = self._limit(scope)
            spent = self._captured[scope] + self._held[scope]
            if limit is not None and self._held[scope] and spent > limit + self._over:
                yield f"batch {number}: {scope} has {spent} of {limit}"
            if self._held[scope] < 0 or self._captured[scope] < 0:
                yield f"batch {number}: {scope} has less than nothing"

    def as_the_accounts_say(self) -> Iterator[str]:
        told = {one["scope"]: one for one in self._case.accounts}
        for scope in sorted(self._held.keys() | self._captured.keys() | told.keys()):
            account: dict[str, Any] = told.get(scope, {})
            found = (account.get("captured", 0), account.get("held", 0))
            wanted = (self._captured[scope], self._held[scope])
            if found != wanted:
                yield f"{scope}: the account says {found}, the journal {wanted}"

    def no_less_than_was_billed(self) -> Iterator[str]:
        """What was really charged is booked or held, at least where a worst case was declared."""
        billed = sum(cost for call, cost in self._case.billed.items() if call in self._where)
        booked = self._captured["tenant default"] + self._held["tenant default"]
        if billed > booked:
            yield f"{billed} was charged, {booked} is booked"


def _named(spec: Event, kind: str, name: str) -> Event:
    found: Event = next((one for one in spec.get(kind, ()) if one["name"] == name), {})
    return found


MONEY_CHECKS: Final[tuple[Callable[[Case], Iterator[str]], ...]] = (_money_is_kept, _paid_once)
