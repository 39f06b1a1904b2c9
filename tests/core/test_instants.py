"""Times as people write them, against the calendar of the standard library."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenthive.core.model.timestamps import parse_timestamp

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(
    st.datetimes(datetime(1970, 1, 3), datetime(9999, 12, 29)),
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
)
def test_agrees_with_the_standard_library(moment, minutes):
    moment = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    expected = (moment - EPOCH) // timedelta(microseconds=1)
    assert parse_timestamp(moment.isoformat()) == expected


def test_every_day_has_the_next_number():
    for number in range(0, 60_000, 7):
        day = EPOCH + timedelta(days=number)
        assert parse_timestamp(day.isoformat()) == number * 86_400_000_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        (" 1970-01-01t00:01z ", 60),
        ("1970-01-01 01:00:00.5+0100", 0.5),
        ("1970-01-01T00:00:00.123456789Z", 0.123456),
        ("2024-02-29T00:00:00-00:30", 1709166600),
    ],
)
def test_forms(text, seconds):
    assert parse_timestamp(text) == round(seconds * 1_000_000)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "2026-12-01",
        "2026-12-01T09:00:00",
        "2026-12-01T09Z",
        "2026-13-01T09:00:00Z",
        "2026-00-01T09:00:00Z",
        "2026-12-00T09:00:00Z",
        "2026-02-29T09:00:00Z",
        "2100-02-29T09:00:00Z",
        "2026-12-01T24:00:00Z",
        "2026-12-01T09:60:00Z",
        "2026-12-01T09:00:60Z",
        "2026-12-01T09:00:00+24:00",
        "2026-12-01T09:00:00+01:60",
        "2026-12-01T09:00:00.Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+01:00",
        "٢٠٢٦-12-01T09:00:00Z",
        "2026-12-01T09:00:00Z\n2026",
    ],
)
def test_what_is_no_time_with_its_zone(text):
    assert parse_timestamp(text) is None
