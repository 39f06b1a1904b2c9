"""What a vendor's headers say about its rate limit, to the number."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from agenthive.agents.llm.rate_limit_headers import MOST, RemainingQuota, headroom
from agenthive.infra.retry_after import LONGEST

OPENAI = {
    "x-ratelimit-remaining-requests": "7",
    "x-ratelimit-reset-requests": "6m0s",
    "x-ratelimit-remaining-tokens": " 1500 ",
    "x-ratelimit-reset-tokens": "20s",
}


def read_requests(left: str, reset: str) -> RemainingQuota | None:
    return headroom({"x-ratelimit-remaining-requests": left, "x-ratelimit-reset-requests": reset})


def at(seconds: float) -> str:
    """A moment so many seconds from now, as RFC 3339."""
    return datetime.fromtimestamp(time.time() + seconds, UTC).isoformat()


def test_both_counts_and_the_shorter_time() -> None:
    assert headroom(OPENAI) == RemainingQuota(requests=7, tokens=1500, within=20.0)
    swapped = {**OPENAI, "x-ratelimit-reset-requests": "5s"}
    assert headroom(swapped) == RemainingQuota(requests=7, tokens=1500, within=5.0)


def test_what_is_used_up_counts_until_it_is_reset() -> None:
    used_up = {**OPENAI, "x-ratelimit-remaining-requests": "0"}
    assert headroom(used_up) == RemainingQuota(requests=0, tokens=1500, within=360.0)
    both = {**used_up, "x-ratelimit-remaining-tokens": "0"}
    assert headroom(both) == RemainingQuota(requests=0, tokens=0, within=360.0)
    # A delay that the server asks for in so many words is enough.
    named = {**both, "retry-after": "1"}
    assert headroom(named) == RemainingQuota(requests=0, tokens=0, within=1.0)


@pytest.mark.parametrize(
    ("kind", "requests", "tokens"),
    [("requests", 7, None), ("tokens", None, 7), ("input-tokens", None, 7)],
)
def test_one_count_alone(kind: str, requests: int | None, tokens: int | None) -> None:
    prefix = f"anthropic-ratelimit-{kind}"
    found = headroom({f"{prefix}-remaining": "7", f"{prefix}-reset": at(60)})
    assert found is not None
    assert (found.requests, found.tokens) == (requests, tokens)
    assert found.within == pytest.approx(60, abs=5)


def test_nothing_left_is_a_count_too() -> None:
    assert read_requests("0", "1s") == RemainingQuota(requests=0, tokens=None, within=1.0)


@pytest.mark.parametrize(
    ("left", "count"),
    [(str(MOST - 1), MOST - 1), (str(MOST + 1), MOST), ("9" * 19, MOST)],
)
def test_large_counts_are_capped(left: str, count: int) -> None:
    assert MOST == 1_000_000_000_000
    assert read_requests(left, "1s") == RemainingQuota(count, None, 1.0)


@pytest.mark.parametrize("left", ["", "-1", "1.5", "many", "\u0661", "\u00b2", "9" * 20])
def test_what_is_no_count_is_ignored(left: str) -> None:
    assert read_requests(left, "1s") is None


@pytest.mark.parametrize("reset", ["", "soon", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z"])
def test_what_is_no_time_is_ignored(reset: str) -> None:
    assert read_requests("7", reset) is None


@pytest.mark.parametrize(("offset", "within"), [(-60.0, 0.0), (10 * LONGEST, LONGEST)])
def test_moments_out_of_range(offset: float, within: float) -> None:
    assert read_requests("7", at(offset)) == RemainingQuota(7, None, within)


def test_no_headers() -> None:
    assert headroom({}) is None
