"""Rate limits: five tiers that admit a call all or not at all, and are told what it used.

Requests a minute, an hour and a day, tokens a minute (GCRA), and calls at once. A tier lets its
limit pass evenly, with a burst of a tenth: no window of its length holds more than 110 % of it. A
call reserves the tokens that it may use and settles for those that it did. Pure: time is given, in
integer nanoseconds, since sums of floats may come to stand still.

GCRA: ITU-T I.371 (generic cell rate algorithm), in the form of one theoretical arrival time.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import Final

import msgspec

Nanos = int
SECOND: Final[Nanos] = 10**9
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND


class No(IntEnum):
    """Answers of `RateLimiter.acquire` that are no length of time."""

    FULL = -1
    """As many calls as may be are under way: ask again when one has ended."""
    NEVER = -2
    """The call is larger than what its tier admits at all."""


class RateLimit(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """How much may pass; None: as much as wants to."""

    requests_per_minute: int | None = None
    requests_per_hour: int | None = None
    requests_per_day: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None


class Tier:
    """One limit of so many calls a period. ``tat`` is when its bucket is full again."""

    __slots__ = ("limit", "tat", "tolerance", "unit")

    def __init__(self, limit: int, period: Nanos) -> None:
        self.limit = limit
        self.unit: Nanos = -(-period // limit)
        self.tolerance: Nanos = max(self.unit, max(1, limit // 10) * period // limit)
        self.tat: Nanos = 0


class Receipt:
    """What was admitted: when, and for how many tokens; give it back to settle."""

    __slots__ = ("at", "counts", "tokens")

    def __init__(self, at: Nanos, tokens: int) -> None:
        self.at, self.tokens, self.counts = at, tokens, True


class Tokens:
    """Tokens a minute: GCRA for what fits the burst, and a window over what was admitted.

    GCRA alone bounds windows only if nothing is larger than the burst; the window bounds them all.
    """

    __slots__ = ("_admitted", "limit", "most", "tat", "tolerance", "total")

    def __init__(self, limit: int) -> None:
        burst = max(1, limit // 10)
        self.limit, self.most = limit, limit + burst
        self.tolerance: Nanos = max(burst * MINUTE // limit, -(-MINUTE // limit))
        self.tat: Nanos = 0
        self.total = 0
        self._admitted: deque[Receipt] = deque()

    def length(self, tokens: int) -> Nanos:
        """The time that so many tokens take up."""
        return -(-tokens * MINUTE // self.limit)

    def wait(self, now: Nanos, tokens: int) -> Nanos:
        """How long until so many may pass; 0 or less: at once."""
        admitted = self._admitted
        while admitted and admitted[0].at <= now - MINUTE:
            gone = admitted.popleft()
            gone.counts = False
            self.total -= gone.tokens
        until = self.tat + self.length(tokens) - self.tolerance - now
        over = self.total + tokens - self.most
        oldest = iter(admitted)
        while over > 0:
            one = next(oldest)
            over -= one.tokens
            if one.at + MINUTE - now > until:
                until = one.at + MINUTE - now
        return until

    def take(self, now: Nanos, tokens: int) -> Receipt:
        """They pass; `wait` has said that they may."""
        length = self.length(tokens)
        least = now if length <= self.tolerance else now - length + self.tolerance
        self.tat = (self.tat if self.tat > least else least) + length
        receipt = Receipt(now, tokens)
        self._admitted.append(receipt)
        self.total += tokens
        return receipt

    def settle(self, receipt: Receipt, used: int) -> None:
        """Other tokens were used than were reserved: the difference is free, or owed."""
        more = used - receipt.tokens
        self.tat += self.length(more) if more > 0 else -self.length(-more)
        receipt.tokens = used
        if receipt.counts:
            self.total += more


class RateLimiter:
    """The tiers of one limit, and how many calls are under way.

    ``most`` calls at once is what is admitted now; see `Concurrency` for who changes it. ``last``
    is the receipt of the last call that was admitted, None where tokens have no limit.
    """

    __slots__ = (
        "_left", "_left_until", "_requests", "_tokens", "blocked", "in_flight", "last", "limit",
        "most",
    )  # fmt: skip

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        wanted = (
            (limit.requests_per_minute, MINUTE),
            (limit.requests_per_hour, HOUR),
            (limit.requests_per_day, DAY),
        )
        self._requests = tuple([Tier(most, period) for most, period in wanted if most is not None])
        tokens = limit.tokens_per_minute
        self._tokens = None if tokens is None else Tokens(tokens)
        self.most = limit.concurrent_requests
        self.in_flight = 0
        self.blocked: Nanos = 0
        self.last: Receipt | None = None
        self._left: list[int | None] = [None, None]
        self._left_until: Nanos = 0

    def acquire(self, now: Nanos, tokens: int = 0) -> Nanos:
        """0 if a call of so many tokens is admitted, in every tier; else how long it must wait.

        `No.FULL` if it waits for the end of another, `No.NEVER` if no time is enough.
        """
        sized = self._tokens if tokens else None
        if sized is not None and tokens > sized.limit:
            return No.NEVER
        most = self.most
        if most is not None and self.in_flight >= most:
            return No.FULL
        wait = self.blocked - now
        for tier in self._requests:
            until = tier.tat + tier.unit - tier.tolerance - now
            if until > wait:
                wait = until
        if sized is not None:
            until = sized.wait(now, tokens)
            if until > wait:
                wait = until
        if self._left_until > now and not self._is_left(tokens):
            wait = max(wait, self._left_until - now)
        if wait > 0:
            return wait
        for tier in self._requests:
            tat = tier.tat
            tier.tat = (tat if tat > now else now) + tier.unit
        self.last = None if sized is None else sized.take(now, tokens)
        if self._left_until > now:
            self._left = [
                None if left is None else left - one
                for left, one in zip(self._left, (1, tokens), strict=True)
            ]
        self.in_flight += 1
        return 0

    def _is_left(self, tokens: int) -> bool:
        return all(
            left is None or left >= one for left, one in zip(self._left, (1, tokens), strict=True)
        )

    def settle(self, receipt: Receipt | None, used: int) -> None:
        """A call used so many tokens; the difference to what it reserved is given back, or owed."""
        if receipt is not None and self._tokens is not None and used != receipt.tokens:
            self._tokens.settle(receipt, used)

    def release(self) -> None:
        """A call has ended."""
        self.in_flight -= 1

    def block(self, until: Nanos) -> None:
        """Nothing is admitted before that time: the other side asked for it."""
        self.blocked = max(self.blocked, until)

    def adopt(self, now: Nanos, requests: int | None, tokens: int | None, within: Nanos) -> None:
        """What the other side says is left for the next ``within``. It never gives more."""
        if self._left_until > now:
            known = self._left
            requests, tokens = (_less(known[0], requests), _less(known[1], tokens))
        self._left = [requests, tokens]
        self._left_until = max(self._left_until, now + within)

    def marks(self) -> list[tuple[int, Nanos]]:
        """(limit, arrival time) of each tier of requests, to be kept over a restart."""
        return [(tier.limit, tier.tat) for tier in self._requests]

    def restore(self, marks: list[tuple[int, Nanos]]) -> None:
        """Take over what was kept, as far as the limits are the same."""
        for tier, (limit, tat) in zip(self._requests, marks, strict=False):
            if tier.limit == limit:
                tier.tat = max(tier.tat, tat)


def _less(one: int | None, other: int | None) -> int | None:
    return one if other is None else other if one is None else min(one, other)
