"""The rest of a vendor's rate limit, as response headers report it.

OpenAI: ``x-ratelimit-remaining-requests`` and ``-tokens``, ``x-ratelimit-reset-*`` as ``6m0s``.
Anthropic: ``anthropic-ratelimit-requests-remaining`` and the like, ``-reset`` as RFC 3339. A header
that cannot be parsed is ignored, never an error. To add a spelling: a row in `_REQUESTS` or
`_TOKENS`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from agenthive.infra.retry_after import LONGEST, parse_seconds

#: Requests or tokens; larger counts are capped.
MOST: Final = 10**12


class RemainingQuota(NamedTuple):
    """Requests and tokens left for the next ``within`` seconds; None if not reported."""

    requests: int | None
    tokens: int | None
    within: float


#: Header with the remaining count, header with the time until it is full again.
_REQUESTS: Final = (
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
)
_TOKENS: Final = (
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
    ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
)


def headroom(headers: Mapping[str, str]) -> RemainingQuota | None:
    """What is left; None if no header says so. Header names are in lower case."""
    requests, tokens = _find_pair(headers, _REQUESTS), _find_pair(headers, _TOKENS)
    if requests is None and tokens is None:
        return None
    pairs = [pair for pair in (requests, tokens) if pair is not None]
    # What is used up counts until it is reset. Otherwise the shorter of the two times: once it is
    # over, the next response reports both counts anew.
    used_up = [within for count, within in pairs if not count]
    within = max(used_up) if used_up else min(within for _, within in pairs)
    return RemainingQuota(requests and requests[0], tokens and tokens[0], within)


def _find_pair(
    headers: Mapping[str, str], spellings: tuple[tuple[str, str], ...]
) -> tuple[int, float] | None:
    for left, reset in spellings:
        count, within = _parse_count(headers.get(left, "")), _parse_reset(headers.get(reset, ""))
        if count is not None and within is not None:
            return count, within
    return None


def _parse_count(text: str) -> int | None:
    text = text.strip()
    return min(int(text), MOST) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _parse_reset(text: str) -> float | None:
    seconds = parse_seconds(text.strip())
    if seconds is None:
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError:
            return None
        seconds = moment.timestamp() - time.time() if moment.tzinfo is not None else None
    return None if seconds is None else min(max(seconds, 0.0), LONGEST)
