"""The queues of ready tasks that wait for money which other calls hold.

Each scope that is short has a queue. Its order is priority, then turns (the runs that wait in a
scope take turns, so that a long backlog of one run does not delay the others), then arrival. No
call overtakes: what comes later lines up behind the first in the queue, also if it needs less.

A call that is woken has a *promise*: what it needs counts as taken in all its scopes until it has
made its hold, so that a freed amount wakes the calls that fit it and no others. A promise that was
not kept (the task did not start after all) lapses with `lapse_promises`, and its scopes are looked
at again.

`BudgetManager` decides who waits and who is woken; nothing here reads an account, a run's state or
a clock.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TypeAlias

import msgspec

from agenthive.core.values import NanoUSD

Waiter: TypeAlias = tuple[str, int]
"""Run id, and index of the task that waits."""
Order: TypeAlias = tuple[int, int, int]
"""Negated priority, turn of the run in that queue, number of arrival: the smallest is the first."""


class WaitingCall(msgspec.Struct, kw_only=True):
    """A task that waits in a queue, or was woken and has not made its hold."""

    waiter: Waiter
    #: The scope that is short, where it waits.
    scope: str
    #: All scopes that it draws on.
    scopes: tuple[str, ...]
    #: What it costs at most; None: not computed yet.
    amount: NanoUSD | None
    order: Order
    #: Whether it is in the queue; False: it was woken.
    queued: bool = True
    #: What it was promised in each of its scopes when it was woken.
    promised: NanoUSD = 0


class _ScopeQueue:
    """The calls that wait in one scope."""

    __slots__ = ("heap", "run_turns", "turn")

    def __init__(self) -> None:
        #: Calls by their order; some may no longer wait here.
        self.heap: list[tuple[Order, WaitingCall]] = []
        #: The turn of the call that was woken last.
        self.turn = 0
        #: Run id -> the last turn that it was given.
        self.run_turns: dict[str, int] = {}


class BudgetQueues:
    """All queues, the promises, and the scopes to look at again."""

    def __init__(self) -> None:
        #: Scope -> its queue; only scopes in which a call waits.
        self.by_scope: dict[str, _ScopeQueue] = {}
        self._arrivals = 0
        #: The calls that were woken and have not made their holds.
        self.promises: dict[Waiter, WaitingCall] = {}
        #: Scope -> sum of the promises there.
        self.promised: dict[str, NanoUSD] = {}
        #: Scopes in which money was freed since the last look (a dict used as an ordered set).
        self.freed: dict[str, None] = {}

    # Waiting.

    def add_call(
        self,
        waiter: Waiter,
        scope: str,
        scopes: tuple[str, ...],
        amount: NanoUSD | None,
        priority: int,
        known: WaitingCall | None,
    ) -> WaitingCall:
        """Let a call wait in a scope. A ``known`` call that waited there returns to its place."""
        if known is not None and known.scope == scope:
            order = known.order
        else:
            order = self.next_order(scope, waiter[0], priority)
            self._arrivals += 1
        call = WaitingCall(waiter=waiter, scope=scope, scopes=scopes, amount=amount, order=order)
        queue = self.by_scope.get(scope)
        if queue is None:
            queue = self.by_scope[scope] = _ScopeQueue()
        queue.run_turns[waiter[0]] = max(order[1], queue.run_turns.get(waiter[0], 0))
        heappush(queue.heap, (order, call))
        return call

    def next_order(self, scope: str, run: str, priority: int) -> Order:
        """The place of the next call of a run in a scope's queue."""
        queue = self.by_scope.get(scope)
        if queue is None:
            return -priority, 1, self._arrivals
        turn = max(queue.turn, queue.run_turns.get(run, 0)) + 1
        return -priority, turn, self._arrivals

    def first_call(self, scope: str) -> WaitingCall | None:
        """The first call in a scope's queue; None if there is none."""
        queue = self.by_scope.get(scope)
        return queue.heap[0][1] if queue is not None else None

    def drop_first(self, scope: str) -> None:
        """Remove the first call from a scope's queue."""
        queue = self.by_scope[scope]
        heappop(queue.heap)[1].queued = False
        if not queue.heap:
            del self.by_scope[scope]

    # Waking.

    def mark_freed(self, scope: str) -> None:
        """Money may be available in a scope: look at its queue."""
        if scope in self.by_scope:
            self.freed[scope] = None

    def mark_all_freed(self) -> None:
        """Look at all queues."""
        self.freed = dict.fromkeys(self.by_scope)

    def take_freed(self) -> list[str]:
        """The scopes to look at, each once."""
        scopes, self.freed = list(self.freed), {}
        return scopes

    def promise(self, call: WaitingCall, amount: NanoUSD) -> None:
        """Wake the first call of its queue: what it needs counts as taken from now on."""
        queue = self.by_scope[call.scope]
        queue.turn = max(queue.turn, call.order[1])
        self.drop_first(call.scope)
        call.promised = amount
        self.promises[call.waiter] = call
        if amount:
            for scope in call.scopes:
                self.promised[scope] = self.promised.get(scope, 0) + amount

    def find_promise(self, waiter: Waiter) -> WaitingCall | None:
        """The call of a task that was woken and has not made its hold; else None."""
        return self.promises.get(waiter)

    def keep_promise(self, waiter: Waiter) -> None:
        """A task makes its hold, which takes the place of its promise if it has one."""
        call = self.promises.pop(waiter, None)
        if call is None or not call.promised:
            return
        for scope in call.scopes:
            left = self.promised[scope] - call.promised
            if left:
                self.promised[scope] = left
            else:
                del self.promised[scope]

    def lapse_promises(self) -> None:
        """All tasks that can start have started: what the others were promised is free again."""
        for call in self.promises.values():
            for scope in call.scopes:
                self.mark_freed(scope)
        self.promises, self.promised = {}, {}
