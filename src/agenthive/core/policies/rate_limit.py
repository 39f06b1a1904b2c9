"""Rate limits: five tiers that admit a call together or not at all.

The tiers are requests a minute, an hour and a day, tokens a minute, and calls at once. A tier of
requests or tokens is a GCRA (generic cell rate algorithm, ITU-T I.371) in the form of one
theoretical arrival time, TAT. With an emission interval T = period / limit and a tolerance tau, a
request at time t is admitted if t >= TAT + T - tau, and then TAT = max(t, TAT) + T. A tolerance of
a tenth of the period allows a burst of a tenth of the limit, so that no window of the period's
length admits more than 110 % of the limit.

A call reserves the tokens that it may use, and settles at its end for those that it did use. Pure:
never reads a clock. Times are integer nanoseconds, since a sum of floats may stop growing. To add a
tier: a field of `RateLimit`, and its line in `RateLimiter.__init__`.
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
    """Results of `RateLimiter.acquire` that are not a length of time."""

    FULL = -1
    """As many calls as allowed are in flight: try again when one has ended."""
    NEVER = -2
    """The call needs more tokens than its tier ever admits."""


class RateLimit(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """The limits that a user sets for an agent; None: no limit."""

    requests_per_minute: int | None = None
    requests_per_hour: int | None = None
    requests_per_day: int | None = None
    tokens_per_minute: int | None = None
    #: Calls in flight at once.
    concurrent_requests: int | None = None


class Tier:
    """A limit of requests a period, as a GCRA."""

    __slots__ = ("limit", "tat", "tolerance", "unit")

    def __init__(self, limit: int, period: Nanos) -> None:
        #: Requests a period.
        self.limit = limit
        #: Emission interval T: nanoseconds that one request takes up, rounded up.
        self.unit: Nanos = -(-period // limit)
        #: Tolerance tau (ns): the burst of a tenth, but at least one request.
        self.tolerance: Nanos = max(self.unit, max(1, limit // 10) * period // limit)
        #: Theoretical arrival time (ns): when the whole burst is available again.
        self.tat: Nanos = 0


class Receipt:
    """One admission of tokens, which `TokenTier.settle` takes back."""

    __slots__ = ("at", "in_window", "tokens")

    def __init__(self, at: Nanos, tokens: int) -> None:
        #: When it was admitted (ns), for how many tokens (the actual ones once settled), and
        #: whether it still counts in the window of the last minute.
        self.at, self.tokens, self.in_window = at, tokens, True


class TokenTier:
    """Tokens a minute: a GCRA, and a sliding window over what was admitted.

    The GCRA alone bounds every window only if no call is larger than the burst. Larger calls are
    admitted (up to the limit), and the window keeps their sum below 110 % of the limit.
    """

    __slots__ = ("_admitted", "limit", "max_in_window", "tat", "tolerance", "total")

    def __init__(self, limit: int) -> None:
        burst = max(1, limit // 10)
        #: Tokens a minute, and tokens that a window of one minute may hold.
        self.limit, self.max_in_window = limit, limit + burst
        #: Tolerance tau (ns), at least one token.
        self.tolerance: Nanos = max(burst * MINUTE // limit, -(-MINUTE // limit))
        #: Theoretical arrival time (ns).
        self.tat: Nanos = 0
        #: Tokens in the window.
        self.total = 0
        #: What was admitted in the window, oldest first.
        self._admitted: deque[Receipt] = deque()

    def compute_duration(self, tokens: int) -> Nanos:
        """Nanoseconds that so many tokens take up at the limit, rounded up."""
        return -(-tokens * MINUTE // self.limit)

    def compute_wait(self, now: Nanos, tokens: int) -> Nanos:
        """Nanoseconds until so many tokens may be admitted; 0 or less: at once."""
        admitted = self._admitted
        while admitted and admitted[0].at <= now - MINUTE:
            expired = admitted.popleft()
            expired.in_window = False
            self.total -= expired.tokens
        until = self.tat + self.compute_duration(tokens) - self.tolerance - now
        excess = self.total + tokens - self.max_in_window
        # The tokens fit once enough of the oldest admissions have left the window.
        oldest = iter(admitted)
        while excess > 0:
            receipt = next(oldest)
            excess -= receipt.tokens
            if receipt.at + MINUTE - now > until:
                until = receipt.at + MINUTE - now
        return until

    def admit(self, now: Nanos, tokens: int) -> Receipt:
        """Admit so many tokens at ``now``; `compute_wait` must have returned 0 or less."""
        length = self.compute_duration(tokens)
        # A call larger than the burst uses up the whole burst and no more here; the window
        # accounts for the rest of it.
        start = now if length <= self.tolerance else now - length + self.tolerance
        self.tat = (self.tat if self.tat > start else start) + length
        receipt = Receipt(now, tokens)
        self._admitted.append(receipt)
        self.total += tokens
        return receipt

    def set_clock(self, now: Nanos, by: Nanos | None) -> None:
        """The clock was set and shows ``now``; ``by`` as for `RateLimiter.set_clock`."""
        for receipt in self._admitted:
            receipt.at = _set_time(receipt.at, now, by)
        # A settlement may owe more than the tolerance; the window counts that.
        self.tat = _set_time(self.tat, now + self.tolerance, by)

    def settle(self, receipt: Receipt, used: int) -> None:
        """A call used other tokens than it reserved: the difference is given back, or owed."""
        difference = used - receipt.tokens
        self.tat += (
            self.compute_duration(difference)
            if difference > 0
            else -self.compute_duration(-difference)
        )
        # What one call reports blocks the endpoint for a day at most.
        if self.tat > receipt.at + DAY:
            self.tat = receipt.at + DAY
        receipt.tokens = used
        if receipt.in_window:
            self.total += difference


class RateLimiter:
    """The tiers of one limit, and the calls in flight. Times are nanoseconds."""

    __slots__ = (
        "_blocked_for",
        "_quota",
        "_quota_for",
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
        #: Calls that may be in flight now; None without a bound. Its owner may change it (see
        #: `AdaptiveConcurrency`).
        self.max_in_flight = limit.concurrent_requests
        #: Calls that were admitted and have not ended.
        self.in_flight = 0
        #: No call is admitted before this time (ns).
        self.blocked_until: Nanos = 0
        #: Receipt of the last call that was admitted; None where tokens have no limit.
        self.last_receipt: Receipt | None = None
        #: Requests and tokens that the other side reports as left, until ``_quota_until`` (ns).
        self._quota: list[int | None] = [None, None]
        self._quota_until: Nanos = 0
        #: The longest time (ns) of ``blocked_until`` and of ``_quota_until``, from when it was set.
        self._blocked_for: Nanos = 0
        self._quota_for: Nanos = 0

    def acquire(self, now: Nanos, tokens: int = 0) -> Nanos:
        """Admit a call of so many tokens in every tier, or in none.

        Returns 0 if the call is admitted, else the nanoseconds that it must wait, or a
        `NotAdmitted`: ``FULL`` if it waits for the end of another call, ``NEVER`` if no wait is
        long enough.
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
        """A call used so many tokens; the difference to its reservation is given back, or owed."""
        if receipt is not None and self._tokens is not None and used != receipt.tokens:
            self._tokens.settle(receipt, used)

    def release(self) -> None:
        """A call has ended."""
        self.in_flight -= 1

    def block(self, until: Nanos, now: Nanos) -> None:
        """Admit no call before ``until`` (ns): the other side requires it."""
        self._blocked_for = max(self._blocked_for, until - now)
        self.blocked_until = max(self.blocked_until, until)

    def apply_quota(
        self, now: Nanos, requests: int | None, tokens: int | None, within: Nanos
    ) -> None:
        """Apply what the other side reports as left for the next ``within`` nanoseconds.

        It can only lower what the tiers admit. Of two reports for the same time the smaller counts:
        replies arrive in any order.
        """
        if self._quota_until > now:
            current = self._quota
            requests, tokens = (_smaller(current[0], requests), _smaller(current[1], tokens))
        self._quota = [requests, tokens]
        self._quota_for = max(self._quota_for, within)
        self._quota_until = max(self._quota_until, now + within)

    def set_clock(self, now: Nanos, by: Nanos | None) -> None:
        """The clock was set and shows ``now``.

        ``by`` is by how much, negative: back. None: it went back and that is not known; then no
        time is further ahead than it can be by this limit.
        """
        for tier in self._requests:
            tier.tat = _set_time(tier.tat, now + tier.tolerance, by)
        if self._tokens is not None:
            self._tokens.set_clock(now, by)
        self.blocked_until = _set_time(self.blocked_until, now + self._blocked_for, by)
        self._quota_until = _set_time(self._quota_until, now + self._quota_for, by)

    def list_marks(self) -> list[tuple[int, Nanos]]:
        """(limit, TAT) of each tier of requests, to be stored over a restart."""
        return [(tier.limit, tier.tat) for tier in self._requests]

    def restore_marks(self, marks: list[tuple[int, Nanos]], now: Nanos) -> None:
        """Take over stored marks, as far as the limits are the same.

        A mark that is further ahead of ``now`` than any admission could set it was set by a clock
        that was ahead: it counts as the latest possible one.
        """
        for tier, (limit, tat) in zip(self._requests, marks, strict=False):
            if tier.limit == limit:
                tier.tat = max(tier.tat, min(tat, now + tier.tolerance))


def _set_time(at: Nanos, latest: Nanos, by: Nanos | None) -> Nanos:
    return min(at, latest) if by is None else at + by


def _smaller(first: int | None, second: int | None) -> int | None:
    return first if second is None else second if first is None else min(first, second)
