"""The calendar: expressions, zones, the days when clocks change, and rules that make no sense."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as some

from agenthive.core.policies.schedule import Rule, utc
from agenthive.core.values import SECOND
from agenthive.errors import DefinitionError
from agenthive.infra.calendar import LATEST, Calendar

DAY = 86_400 * SECOND
NOW = round(datetime(2026, 11, 25, 20, 0, tzinfo=UTC).timestamp()) * SECOND


def at(text: str) -> int:
    """A time written as ISO 8601 with its offset."""
    return round(datetime.fromisoformat(text).timestamp() * SECOND)


def times(cron: str, zone: str, after: str, count: int) -> list[str]:
    """The next planned times, as the clocks on the wall show them."""
    found, last = [], at(after)
    for _ in range(count):
        following = Calendar().next_after(Rule(cron=cron, zone=zone), last)
        assert following is not None
        assert following > last
        last = following
        found.append(
            datetime.fromtimestamp(last / SECOND, ZoneInfo(zone)).isoformat()[:-9]
            + datetime.fromtimestamp(last / SECOND, ZoneInfo(zone)).isoformat()[-6:]
        )
    return found


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 9 * * mon-fri", ["2026-11-26T09:00", "2026-11-27T09:00", "2026-11-30T09:00"]),
        ("*/20 8-9 * * *", ["2026-11-26T08:00", "2026-11-26T08:20", "2026-11-26T08:40"]),
        ("5,35 0 1 JAN,jul *", ["2027-01-01T00:05", "2027-01-01T00:35", "2027-07-01T00:05"]),
        ("0 0 L * *", ["2026-11-30T00:00", "2026-12-31T00:00", "2027-01-31T00:00"]),
        ("0 0 LW * *", ["2026-11-30T00:00", "2026-12-31T00:00", "2027-01-29T00:00"]),
        ("0 12 * * mon#1", ["2026-12-07T12:00", "2027-01-04T12:00", "2027-02-01T12:00"]),
        ("0 12 * * 5L", ["2026-11-27T12:00", "2026-12-25T12:00", "2027-01-29T12:00"]),
        ("0 0 13 * fri", ["2026-11-27T00:00", "2026-12-04T00:00", "2026-12-11T00:00"]),
        ("0 0 29 2 *", ["2028-02-29T00:00", "2032-02-29T00:00", "2036-02-29T00:00"]),
        ("@daily", ["2026-11-26T00:00", "2026-11-27T00:00", "2026-11-28T00:00"]),
        (" @Hourly ", ["2026-11-25T21:00", "2026-11-25T22:00", "2026-11-25T23:00"]),
        ("@weekly", ["2026-11-29T00:00", "2026-12-06T00:00", "2026-12-13T00:00"]),
        ("@monthly", ["2026-12-01T00:00", "2027-01-01T00:00", "2027-02-01T00:00"]),
        ("@yearly", ["2027-01-01T00:00", "2028-01-01T00:00", "2029-01-01T00:00"]),
    ],
)  # fmt: skip
def test_expressions(cron: str, expected: list[str]) -> None:
    found = times(cron, "UTC", "2026-11-25T20:00:00+00:00", 3)
    assert found == [f"{one}+00:00" for one in expected]


# Days on which clocks change. In Berlin they skip 02:00-03:00 on 29 March 2026, and show it twice
# on 25 October; in New York on 8 March and 1 November; on Lord Howe only half an hour.


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00+01:00",
         ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]),
        ("0,30 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00+01:00",
         ["2026-03-29T03:00+02:00", "2026-03-29T03:30+02:00", "2026-03-30T02:00+02:00"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00+02:00",
         ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T02:10+01:00",
         ["2026-10-26T02:30+01:00"]),
        ("15 2 * * sun", "America/New_York", "2026-03-07T12:00-05:00",
         ["2026-03-08T03:00-04:00", "2026-03-15T02:15-04:00"]),
        ("0 1 * * *", "America/New_York", "2026-10-31T12:00-04:00",
         ["2026-11-01T01:00-04:00", "2026-11-02T01:00-05:00"]),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00+10:30",
         ["2026-10-04T02:30+11:00", "2026-10-05T02:15+11:00"]),
        ("0 12 * * *", "Pacific/Apia", "2011-12-29T13:00-10:00",
         ["2011-12-31T00:00+14:00", "2011-12-31T12:00+14:00"]),
        ("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00-03:00",
         ["2018-11-04T01:00-02:00", "2018-11-05T00:00-02:00"]),
    ],
)  # fmt: skip
def test_fixed_times_come_once_a_day(cron: str, zone: str, after: str, expected: list[str]) -> None:
    assert times(cron, zone, after, len(expected)) == expected


def test_rules_with_a_star_go_by_real_time() -> None:
    found = times("*/30 * * * *", "Europe/Berlin", "2026-03-29T01:30+01:00", 2)
    assert found == ["2026-03-29T03:00+02:00", "2026-03-29T03:30+02:00"]
    found = times("*/30 * * * *", "Europe/Berlin", "2026-10-25T02:00+02:00", 4)
    assert found == ["2026-10-25T02:30+02:00", "2026-10-25T02:00+01:00",
                     "2026-10-25T02:30+01:00", "2026-10-25T03:00+01:00"]  # fmt: skip


@given(
    cron=some.sampled_from(["30 2 * * *", "0 9 * * 1-5", "0,30 1-3 * * *", "59 23 L * *"]),
    zone=some.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]),
    start=some.integers(1_700_000_000, 1_900_000_000),
)
def test_it_does_not_matter_where_one_begins(cron: str, zone: str, start: int) -> None:
    """Nothing lies between a time and the next; from anywhere between them that is the next."""
    rule, calendar = Rule(cron=cron, zone=zone), Calendar()
    first = calendar.next_after(rule, start * SECOND)
    assert first is not None
    for begin in (start * SECOND + 1, (start * SECOND + first) // 2, first - 1):
        if begin < first:
            assert calendar.next_after(rule, begin) == first


@given(start=some.integers(1_700_000_000, 1_900_000_000))
def test_a_daily_time_comes_once_on_every_date(start: int) -> None:
    zone = ZoneInfo("Europe/Berlin")
    rule, calendar = Rule(cron="30 2 * * *", zone=zone.key), Calendar()
    one = calendar.next_after(rule, start * SECOND)
    assert one is not None
    two = calendar.next_after(rule, one)
    assert two is not None
    dates = [datetime.fromtimestamp(t / SECOND, zone).date() for t in (one, two)]
    assert dates[1] - dates[0] == timedelta(days=1)


def test_intervals_have_an_anchor() -> None:
    calendar = Calendar()
    quarter = Rule(every=900 * SECOND)
    assert calendar.next_after(quarter, 0) == 900 * SECOND
    assert calendar.next_after(quarter, 900 * SECOND) == 1800 * SECOND
    assert calendar.next_after(quarter, 900 * SECOND - 1) == 900 * SECOND
    calendar.check(quarter, NOW)
    later = Rule(every=900 * SECOND, anchor=NOW + 60 * SECOND)
    assert calendar.next_after(later, NOW) == NOW + 60 * SECOND
    assert calendar.next_after(later, NOW + 60 * SECOND) == NOW + 960 * SECOND


# What is refused.


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (Rule(cron="0 0 30 2 *"), "never fires: its months have no day 30"),
        (Rule(cron="0 0 31 apr,jun *"), "never fires: its months have no day 31"),
        (Rule(cron="0 0 */20 * 1L"), "never fires: no day of the next 50 years fits"),
        (Rule(cron="61 * * * *"), "cannot be read: '61'"),
        (Rule(cron="0 24 * * *"), "cannot be read: '24'"),
        (Rule(cron="0 0 32 * *"), "cannot be read: '32'"),
        (Rule(cron="0 0 * foo *"), "cannot be read: 'foo'"),
        (Rule(cron="0 0 * * fri-mon"), "cannot be read: 'fri-mon'"),
        (Rule(cron="*/0 * * * *"), "cannot be read: '*/0'"),
        (Rule(cron="* * * *"), "not have 5 fields, but 4"),
        (Rule(cron="* * * * * *"), "not have 5 fields, but 6"),
        (Rule(cron=""), "not have 5 fields, but 0"),
        (Rule(cron="@reboot"), "not have 5 fields, but 1"),
        (Rule(cron="0," * 200 + "0 * * * *"), "cannot be read: too long"),
        (Rule(cron="@daily", zone="Mars/Olympus"), "no time zone 'Mars/Olympus'"),
        (Rule(cron="@daily", zone=""), "no time zone ''"),
        (Rule(cron="@daily", zone="../../etc/passwd"), "no time zone"),
        (Rule(cron="@daily", zone="/etc/localtime"), "no time zone"),
        (Rule(cron="@daily", zone="localtime"), "no time zone"),
        (Rule(cron="@daily", zone="Europe"), "no time zone"),
        (Rule(cron="@daily", zone="x\0y"), "no time zone"),
        (Rule(cron="@daily", zone="é" * 300), "no time zone"),
        (Rule(every=SECOND // 2), "at least 1"),
        (Rule(every=-SECOND), "at least 1"),
        (Rule(every=SECOND * 3 // 2), "whole number of seconds"),
        (Rule(every=SECOND, anchor=1), "whole number of seconds"),
        (Rule(every=SECOND, cron="@daily"), "not both"),
    ],
)
def test_what_makes_no_sense_is_refused(rule: Rule, says: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        Calendar().check(rule, NOW)
    assert says in refused.value.message


@given(some.text(max_size=30) | some.from_regex(r"([0-9*LW#/,-]{1,6} ){4}[0-9A-Z*#/L-]{1,6}"))
def test_nonsense_is_refused_and_never_breaks(cron: str) -> None:
    rule, calendar = Rule(cron=cron), Calendar()
    following = calendar.next_after(rule, NOW)
    if following is None:
        with pytest.raises(DefinitionError, match="cron expression"):
            calendar.check(rule, NOW)
    else:
        calendar.check(rule, NOW)
        assert following > NOW


def test_there_is_an_end_of_time() -> None:
    daily = Rule(cron="@daily", zone="Europe/Berlin")
    assert Calendar().next_after(daily, LATEST + 1) is None
    assert Calendar().next_after(daily, LATEST) is not None
    assert Calendar().next_after(Rule(cron="@daily", zone="gone"), NOW) is None


@given(some.integers(-10_000_000_000, 200_000_000_000))
def test_times_are_written_as_iso_8601(second: int) -> None:
    told = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    assert utc(second * SECOND + 5) == told.isoformat()[:19] + "Z"
