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


class NotAdmitted(IntEnum):
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

    __slots__ = ("at", "in_window", "tokens")

    def __init__(self, at: Nanos, tokens: int) -> None:
        self.at, self.tokens, self.in_window = at, tokens, True


class TokenTier:
    """Tokens a minute: GCRA for what fits the burst, and a window over what was admitted.

    GCRA alone bounds windows only if nothing is larger than the burst; the window bounds them all.
    """

    __slots__ = ("_admitted", "limit", "max_in_window", "tat", "tolerance", "total")

    def __init__(self, limit: int) -> None:
        burst = max(1, limit // 10)
        self.limit, self.max_in_window = limit, limit + burst
        self.tolerance: Nanos = max(burst * MINUTE // limit, -(-MINUTE // limit))
        self.tat: Nanos = 0
        self.total = 0
        self._admitted: deque[Receipt] = deque()

    def compute_duration(self, tokens: int) -> Nanos:
        """The time that so many tokens take up."""
        return -(-tokens * MINUTE // self.limit)

    def compute_wait(self, now: Nanos, tokens: int) -> Nanos:
        """How long until so many may pass; 0 or less: at once."""
        admitted = self._admitted
        while admitted and admitted[0].at <= now - MINUTE:
            expired = admitted.popleft()
            expired.in_window = False
            self.total -= expired.tokens
        until = self.tat + self.compute_duration(tokens) - self.tolerance - now
        excess = self.total + tokens - self.max_in_window
        oldest = iter(admitted)
        while excess > 0:
            receipt = next(oldest)
            excess -= receipt.tokens
            if receipt.at + MINUTE - now > until:
                until = receipt.at + MINUTE - now
        return until

    def admit(self, now: Nanos, tokens: int) -> Receipt:
        """They pass; `wait` has said that they may."""
        length = self.compute_duration(tokens)
        start = now if length <= self.tolerance else now - length + self.tolerance
        self.tat = (self.tat if self.tat > start else start) + length
        receipt = Receipt(now, tokens)
        self._admitted.append(receipt)
        self.total += tokens
        return receipt

    def settle(self, receipt: Receipt, used: int) -> None:
        """Other tokens were used than were reserved: the difference is free, or owed."""
        difference = used - receipt.tokens
        self.tat += (
            self.compute_duration(difference)
            if difference > 0
            else -self.compute_duration(-difference)
        )
        receipt.tokens = used
        if receipt.in_window:
            self.total += difference


class RateLimiter:
    """The tiers of one limit, and how many calls are under way.

    ``most`` calls at once is what is admitted now; see `AdaptiveConcurrency` for who changes it.
    ``last`` is the receipt of the last call that was admitted, None where tokens have no limit.
    """

    __slots__ = (
        "_quota",
        "_quota_until",
        "_requests",
        "_tokens",
        "blocked_until",
        "in_flight",
        "last_receipt",
        "limit",
        "max_in_flight",
    )

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        windows = (
            (limit.requests_per_minute, MINUTE),
            (limit.requests_per_hour, HOUR),
            (limit.requests_per_day, DAY),
        )
        self._requests = tuple(
            [
                Tier(max_requests, period)
                for max_requests, period in windows
                if max_requests is not None
            ]
        )
        tokens = limit.tokens_per_minute
        self._tokens = None if tokens is None else TokenTier(tokens)
        self.max_in_flight = limit.concurrent_requests
        self.in_flight = 0
        self.blocked_until: Nanos = 0
        self.last_receipt: Receipt | None = None
        self._quota: list[int | None] = [None, None]
        self._quota_until: Nanos = 0

    def acquire(self, now: Nanos, tokens: int = 0) -> Nanos:
        """0 if a call of so many tokens is admitted, in every tier; else how long it must wait.

        `No.FULL` if it waits for the end of another, `No.NEVER` if no time is enough.
        """
        token_tier = self._tokens if tokens else None
        if token_tier is not None and tokens > token_tier.limit:
            return NotAdmitted.NEVER
        max_in_flight = self.max_in_flight
        if max_in_flight is not None and self.in_flight >= max_in_flight:
            return NotAdmitted.FULL
        wait = self.blocked_until - now
        for tier in self._requests:
            until = tier.tat + tier.unit - tier.tolerance - now
            if until > wait:
                wait = until
        if token_tier is not None:
            until = token_tier.compute_wait(now, tokens)
            if until > wait:
                wait = until
        if self._quota_until > now and not self._quota_allows(tokens):
            wait = max(wait, self._quota_until - now)
        if wait > 0:
            return wait
        for tier in self._requests:
            tat = tier.tat
            tier.tat = (tat if tat > now else now) + tier.unit
        self.last_receipt = None if token_tier is None else token_tier.admit(now, tokens)
        if self._quota_until > now:
            self._quota = [
                None if remaining is None else remaining - cost
                for remaining, cost in zip(self._quota, (1, tokens), strict=True)
            ]
        self.in_flight += 1
        return 0

    def _quota_allows(self, tokens: int) -> bool:
        return all(
            remaining is None or remaining >= cost
            for remaining, cost in zip(self._quota, (1, tokens), strict=True)
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
        self.blocked_until = max(self.blocked_until, until)

    def apply_quota(
        self, now: Nanos, requests: int | None, tokens: int | None, within: Nanos
    ) -> None:
        """What the other side says is left for the next ``within``. It never gives more."""
        if self._quota_until > now:
            current = self._quota
            requests, tokens = (_smaller(current[0], requests), _smaller(current[1], tokens))
        self._quota = [requests, tokens]
        self._quota_until = max(self._quota_until, now + within)

    def list_marks(self) -> list[tuple[int, Nanos]]:
        """(limit, arrival time) of each tier of requests, to be kept over a restart."""
        return [(tier.limit, tier.tat) for tier in self._requests]

    def restore_marks(self, marks: list[tuple[int, Nanos]]) -> None:
        """Take over what was kept, as far as the limits are the same."""
        for tier, (limit, tat) in zip(self._requests, marks, strict=False):
            if tier.limit == limit:
                tier.tat = max(tier.tat, tat)


def _smaller(first: int | None, second: int | None) -> int | None:
    return first if second is None else second if first is None else min(first, second)
