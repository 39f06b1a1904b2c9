"""The calendar: expressions, zones, the days when clocks change, and rules that make no sense."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as some

from agenthive.errors import DefinitionError
from agenthive.infra.calendar import LATEST, SECOND, SystemCalendar

NOW = round(datetime(2026, 11, 25, 20, 0, tzinfo=UTC).timestamp()) * SECOND


def at(text: str) -> int:
    """A time written as ISO 8601 with its offset."""
    return round(datetime.fromisoformat(text).timestamp() * SECOND)


def times(cron: str, zone: str, after: str, count: int) -> list[str]:
    """The next planned times, as the clocks on the wall show them."""
    found, last = [], at(after)
    SystemCalendar().check_cron(cron, zone, last)
    for _ in range(count):
        following = SystemCalendar().next_after(cron, zone, last)
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
)
def test_expressions(cron: str, expected: list[str]) -> None:
    found = times(cron, "UTC", "2026-11-25T20:00:00+00:00", 3)
    assert found == [f"{one}+00:00" for one in expected]


# Days on which clocks change. In Berlin they skip 02:00-03:00 on 29 March 2026, and show it twice
# on 25 October; in New York on 8 March and 1 November; on Lord Howe only half an hour.


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00+01:00",
            ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"],
        ),
        (
            "0,30 2,3 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00+01:00",
            ["2026-03-29T03:00+02:00", "2026-03-29T03:30+02:00", "2026-03-30T02:00+02:00"],
        ),
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00+02:00",
            ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"],
        ),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T02:10+01:00", ["2026-10-26T02:30+01:00"]),
        (
            "15 2 * * sun",
            "America/New_York",
            "2026-03-07T12:00-05:00",
            ["2026-03-08T03:00-04:00", "2026-03-15T02:15-04:00"],
        ),
        (
            "0 1 * * *",
            "America/New_York",
            "2026-10-31T12:00-04:00",
            ["2026-11-01T01:00-04:00", "2026-11-02T01:00-05:00"],
        ),
        (
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03T12:00+10:30",
            ["2026-10-04T02:30+11:00", "2026-10-05T02:15+11:00"],
        ),
        (
            "0 12 * * *",
            "Pacific/Apia",
            "2011-12-29T13:00-10:00",
            ["2011-12-31T00:00+14:00", "2011-12-31T12:00+14:00"],
        ),
        (
            "0 0 * * *",
            "America/Sao_Paulo",
            "2018-11-03T12:00-03:00",
            ["2018-11-04T01:00-02:00", "2018-11-05T00:00-02:00"],
        ),
    ],
)
def test_fixed_times_come_once_a_day(cron: str, zone: str, after: str, expected: list[str]) -> None:
    assert times(cron, zone, after, len(expected)) == expected


def test_rules_with_a_star_go_by_real_time() -> None:
    found = times("*/30 * * * *", "Europe/Berlin", "2026-03-29T01:30+01:00", 2)
    assert found == ["2026-03-29T03:00+02:00", "2026-03-29T03:30+02:00"]
    found = times("*/30 * * * *", "Europe/Berlin", "2026-10-25T02:00+02:00", 4)
    assert found == [
        "2026-10-25T02:30+02:00",
        "2026-10-25T02:00+01:00",
        "2026-10-25T02:30+01:00",
        "2026-10-25T03:00+01:00",
    ]


@given(
    cron=some.sampled_from(["30 2 * * *", "0 9 * * 1-5", "0,30 1-3 * * *", "59 23 L * *"]),
    zone=some.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]),
    start=some.integers(1_700_000_000, 1_900_000_000),
)
def test_it_does_not_matter_where_one_begins(cron: str, zone: str, start: int) -> None:
    """Nothing lies between a time and the next; from anywhere between them that is the next."""
    calendar = SystemCalendar()
    first = calendar.next_after(cron, zone, start * SECOND)
    assert first is not None
    for begin in (start * SECOND + 1, (start * SECOND + first) // 2, first - 1):
        if begin < first:
            assert calendar.next_after(cron, zone, begin) == first


@given(start=some.integers(1_700_000_000, 1_900_000_000))
def test_a_daily_time_comes_once_on_every_date(start: int) -> None:
    zone = ZoneInfo("Europe/Berlin")
    calendar = SystemCalendar()
    one = calendar.next_after("30 2 * * *", zone.key, start * SECOND)
    assert one is not None
    two = calendar.next_after("30 2 * * *", zone.key, one)
    assert two is not None
    dates = [datetime.fromtimestamp(t / SECOND, zone).date() for t in (one, two)]
    assert dates[1] - dates[0] == timedelta(days=1)


# What is refused.


@pytest.mark.parametrize(
    ("cron", "zone", "says"),
    [
        ("0 0 30 2 *", "UTC", "never fires: its months have no day 30"),
        ("0 0 31 apr,jun *", "UTC", "never fires: its months have no day 31"),
        ("0 0 */20 * 1L", "UTC", "never fires: no day of the next 50 years matches"),
        ("61 * * * *", "UTC", "is invalid: '61'"),
        ("0 24 * * *", "UTC", "is invalid: '24'"),
        ("0 0 32 * *", "UTC", "is invalid: '32'"),
        ("0 0 * foo *", "UTC", "is invalid: 'foo'"),
        ("0 0 * * fri-mon", "UTC", "is invalid: 'fri-mon'"),
        ("*/0 * * * *", "UTC", "is invalid: '*/0'"),
        ("* * * *", "UTC", "must have 5 fields and has 4"),
        ("* * * * * *", "UTC", "must have 5 fields and has 6"),
        ("", "UTC", "must have 5 fields and has 0"),
        ("@reboot", "UTC", "must have 5 fields and has 1"),
        ("0," * 200 + "0 * * * *", "UTC", "is invalid: too long"),
        ("@daily", "Mars/Olympus", "no time zone 'Mars/Olympus'"),
        ("@daily", "", "no time zone ''"),
        ("@daily", "../../etc/passwd", "no time zone"),
        ("@daily", "/etc/localtime", "no time zone"),
        ("@daily", "localtime", "no time zone"),
        ("@daily", "Europe", "no time zone"),
        ("@daily", "x\0y", "no time zone"),
        ("@daily", "é" * 300, "no time zone"),
    ],
)
def test_what_makes_no_sense_is_refused(cron: str, zone: str, says: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        SystemCalendar().check_cron(cron, zone, NOW)
    assert says in refused.value.message


@given(some.text(max_size=30) | some.from_regex(r"([0-9*LW#/,-]{1,6} ){4}[0-9A-Z*#/L-]{1,6}"))
def test_nonsense_is_refused_and_never_breaks(cron: str) -> None:
    calendar = SystemCalendar()
    following = calendar.next_after(cron, "UTC", NOW)
    if following is None:
        with pytest.raises(DefinitionError, match="cron expression"):
            calendar.check_cron(cron, "UTC", NOW)
    else:
        calendar.check_cron(cron, "UTC", NOW)
        assert following > NOW


def test_there_is_an_end_of_time() -> None:
    assert SystemCalendar().next_after("@daily", "Europe/Berlin", LATEST + 1) is None
    assert SystemCalendar().next_after("@daily", "Europe/Berlin", LATEST) is not None
    assert SystemCalendar().next_after("@daily", "gone", NOW) is None
