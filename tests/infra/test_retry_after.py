"""Every spelling of "ask me again later" that is in use."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from agenthive.infra.retry_after import LONGEST, retry_after

USED_UP = {
    "x-ratelimit-remaining-tokens": "0",
    "x-ratelimit-reset-tokens": "1m0s",
    "x-ratelimit-reset-requests": "9s",
}


def test_a_unix_time() -> None:
    found = retry_after({"retry-after": str(int(time.time()) + 30)})
    assert found == pytest.approx(30, abs=5)
    assert retry_after({"retry-after": "1700000000"}) == 0.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after": "20s"}, 20.0),
        ({"retry-after": "1m30s"}, 90.0),
        ({"x-ratelimit-reset-requests": "1h2m3s"}, 3723.0),
        ({"x-ratelimit-reset-tokens": "6m0.5s"}, 360.5),
        ({"x-ratelimit-reset-tokens": "120ms"}, 0.12),
        ({"x-ratelimit-reset-tokens": "1d"}, LONGEST),
        # The limit that is used up counts; the longer one, if the server does not say which.
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "1m0s"}, 60.0),
        ({**USED_UP, "x-ratelimit-remaining-requests": "99"}, 60.0),
        (
            {**USED_UP, "x-ratelimit-remaining-tokens": "5", "x-ratelimit-remaining-requests": "0"},
            9.0,
        ),
        ({**USED_UP, "x-ratelimit-remaining-requests": "0"}, 60.0),
        ({**USED_UP, "retry-after": "2"}, 2.0),
        ({"retry-after": "999999999"}, LONGEST),
        ({"retry-after": "2d"}, LONGEST),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e400"}, None),
        ({"retry-after": "1_0"}, None),
        ({"retry-after": "\u0661\u0662"}, None),
        ({"x-ratelimit-reset-requests": "\u0661s"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "later"}, None),
        ({"retry-after": "5 apples"}, None),
        ({"x-ratelimit-reset-requests": "5"}, None),
        ({"x-ratelimit-reset-requests": "s"}, None),
        ({"x-ratelimit-reset-requests": "1m " * 100_000}, None),
        ({"retry-after": "Mon, 99 Foo 2026 00:00:00 GMT"}, None),
        ({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}, 0.0),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, LONGEST),
    ],
)
def test_spellings(headers: dict[str, str], seconds: float | None) -> None:
    started = time.perf_counter()
    assert retry_after(headers) == (None if seconds is None else pytest.approx(seconds))
    assert time.perf_counter() - started < 1


def test_a_date() -> None:
    wait = retry_after({"retry-after": formatdate(time.time() + 60, usegmt=True)})
    assert wait == pytest.approx(60, abs=2)
