"""Every rule against an independent oracle: dateutil's rrule on naive times, then the policy.

The oracle walks from the start, and finds the instant of a local time by asking the zone what it
shows at candidate instants. It shares no arithmetic with the code under test.
"""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise, takewhile
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

from dateutil.rrule import DAILY, HOURLY, MONTHLY, WEEKLY, rrule
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.schedule import (
    Schedule,
    around,
    latest_until,
    next_after,
    occurrences,
    slots_between,
)

ZONES = (
    "UTC",
    "Africa/Cairo",
    "Africa/Casablanca",
    "America/Havana",
    "America/New_York",
    "America/Sao_Paulo",
    "America/Scoresbysund",
    "America/St_Johns",
    "Antarctica/Troll",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Europe/Warsaw",
    "Pacific/Apia",
    "Pacific/Chatham",
)
YEAR = 365 * 24 * 60 * 60
TICK = timedelta(microseconds=1)
SETTINGS = settings(max_examples=400, deadline=None, derandomize=True)


# The oracle


def resolve(wall: datetime, zone: ZoneInfo) -> datetime:
    """Find the first instant at which the zone shows a local time, or would without the gap."""
    long_before = wall.replace(tzinfo=UTC) - timedelta(hours=15)
    long_after = wall.replace(tzinfo=UTC) + timedelta(hours=13)
    offsets = [moment.astimezone(zone).utcoffset() for moment in (long_before, long_after)]
    guesses = [wall.replace(tzinfo=UTC) - offset for offset in offsets if offset is not None]
    shown = [g for g in guesses if g.astimezone(zone).replace(tzinfo=None) == wall]
    return min(shown) if shown else guesses[0]


def walk(schedule: Schedule, until: datetime) -> list[datetime]:
    """Give every slot up to `until`."""
    assert schedule.start is not None
    zone = ZoneInfo(schedule.time_zone)
    start = schedule.start
    wall = start.astimezone(zone).replace(tzinfo=None, fold=0)
    until = min(until, schedule.end or until)
    interval, amount = schedule.interval_frequency, schedule.interval_amount
    naive_start = start.astimezone(UTC).replace(tzinfo=None)
    day: int | None = None
    if schedule.frequency == "last" or schedule.day_of_month == "last":
        day = -1
    elif schedule.day_of_month:
        day = int(schedule.day_of_month)
    match schedule.frequency, interval:
        case ("once", _):
            found = [start]
        case ("hourly", _) | ("custom", "hours"):
            instants = rrule(HOURLY, dtstart=naive_start, interval=amount or 1)
            end = until.replace(tzinfo=None)
            found = [i.replace(tzinfo=UTC) for i in takewhile(lambda i: i <= end, instants)]
        case (frequency, _):
            names: dict[str, Literal[1, 2, 3]] = {
                "daily": DAILY,
                "weekly": WEEKLY,
                "days": DAILY,
                "weeks": WEEKLY,
            }
            freq = names.get(interval if frequency == "custom" else frequency, MONTHLY)
            if frequency not in {"monthly", "last"}:
                day = None
            walls = rrule(freq, dtstart=wall, interval=amount or 1, bymonthday=day)
            end = until.replace(tzinfo=None) + timedelta(days=2)
            found = [
                start if number == 0 and time == wall else resolve(time, zone)
                for number, time in enumerate(takewhile(lambda time: time <= end, walls))
            ]
    if schedule.workdays_only and schedule.frequency in {"hourly", "daily", "custom"}:
        found = [slot for slot in found if slot.astimezone(zone).isoweekday() <= 5]
    return sorted({slot for slot in found if start <= slot <= until})


# The cases


@cache
def transitions(name: str) -> list[datetime]:
    """Find the changes of a zone's offset from 2009 to 2031."""
    zone = ZoneInfo(name)
    hours = [datetime(2009, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(22 * 365)]
    found = []
    for low, high in pairwise(hours):
        if low.astimezone(zone).utcoffset() == high.astimezone(zone).utcoffset():
            continue
        before, after = low, high
        while after - before > timedelta(seconds=1):
            middle = before + ((after - before) // 2)
            same = middle.astimezone(zone).utcoffset() == low.astimezone(zone).utcoffset()
            before, after = (middle, after) if same else (before, middle)
        found.append(after.replace(microsecond=0))
    return found


@cache
def moving_zones() -> list[str]:
    """All zones of the database whose offset changes in these years."""
    months = [datetime(2009 + n // 12, n % 12 + 1, 1, 12, tzinfo=UTC) for n in range(22 * 12)]
    return [
        name
        for name in sorted(available_timezones() - {"localtime", "Factory"})
        if len({month.astimezone(ZoneInfo(name)).utcoffset() for month in months}) > 1
    ]


@st.composite
def schedules(draw: st.DrawFn) -> tuple[Schedule, datetime]:
    """Draw a rule, and a moment; half of the moments stand at a change of the offset."""
    zone = draw(st.sampled_from(ZONES) | st.deferred(lambda: st.sampled_from(moving_zones())))
    frequency = draw(
        st.sampled_from(["once", "hourly", "daily", "weekly", "monthly", "last", "custom"])
    )
    interval = draw(st.sampled_from(["hours", "days", "weeks", "months"]))
    # Whole seconds, because rrule drops the rest.
    moment = datetime(2009, 1, 1, tzinfo=UTC) + timedelta(seconds=draw(st.integers(0, 21 * YEAR)))
    changes = transitions(zone)
    if draw(st.booleans()) and changes:
        minutes = draw(st.integers(-180, 180))
        moment = draw(st.sampled_from(changes)) + timedelta(minutes=minutes)
    unit = {"hourly": "hours", "custom": interval}.get(frequency, "days")
    age = {"hours": 60, "days": 400, "weeks": 2000, "months": 8000}[unit]
    days = draw(st.integers(-5, age))
    shift = draw(st.sampled_from([0, 0, 1, 15, 30, 60, 90, 12 * 60]))
    start = moment - timedelta(days=days, minutes=shift)
    end = draw(st.none() | st.integers(0, 800).map(lambda n: start + timedelta(days=n)))
    day = st.sampled_from(["", "", "last", "1", "15", "28", "29", "30", "31"])
    schedule = Schedule(
        frequency=frequency,
        time_zone=zone,
        start=start,
        end=end,
        interval_frequency=interval if frequency == "custom" else "",
        interval_amount=draw(st.integers(1, 40)) if frequency == "custom" else 0,
        workdays_only=draw(st.booleans()),
        day_of_month=draw(day) if frequency == "monthly" else "",
    )
    return schedule, moment


# The properties


@SETTINGS
@given(schedules())
def test_searching_agrees_with_walking_from_the_start(case: tuple[Schedule, datetime]) -> None:
    schedule, moment = case
    assert schedule.start is not None
    horizon = max(moment, schedule.start) + timedelta(days=30)
    walked = walk(schedule, horizon)
    earlier = [slot for slot in walked if slot <= moment]
    later = [slot for slot in walked if slot > moment]
    assert latest_until(schedule, moment) == (earlier[-1] if earlier else None)
    assert (
        slots_between(schedule, moment - timedelta(days=30), moment, 7)
        == [slot for slot in earlier if slot > moment - timedelta(days=30)][-7:]
    )
    found = occurrences(schedule, moment, 5)
    assert [slot for slot in found if slot <= horizon] == later[:5]


@SETTINGS
@given(schedules())
def test_slots_ascend_strictly_and_both_searches_agree(case: tuple[Schedule, datetime]) -> None:
    schedule, moment = case
    slots = occurrences(schedule, moment, 8)
    assert all(low < high for low, high in pairwise([moment, *slots]))
    for instant in (moment, *slots, *(slot - TICK for slot in slots)):
        assert around(schedule, instant) == (
            latest_until(schedule, instant),
            next_after(schedule, instant),
        )
    for slot in slots:
        assert slot.tzinfo is UTC
        assert next_after(schedule, slot - TICK) == slot
        assert latest_until(schedule, slot) == slot
    for low, high in pairwise(slots):
        assert latest_until(schedule, high - TICK) == low
    if slots:
        assert slots_between(schedule, moment, slots[-1], 100) == slots


def test_every_zone_keeps_the_policy_at_its_latest_changes() -> None:
    zones = moving_zones()
    assert len(zones) > 300
    for zone in zones:
        for change in transitions(zone)[-2:]:
            for minutes in (-30, 30):
                start = change + timedelta(days=-3, minutes=minutes)
                for frequency in ("daily", "hourly"):
                    schedule = Schedule(frequency=frequency, time_zone=zone, start=start)
                    expected = walk(schedule, start + timedelta(days=7))[:8]
                    found = occurrences(schedule, start - TICK, 8)
                    assert found[: len(expected)] == expected, (zone, change, minutes, frequency)


@SETTINGS
@given(st.sampled_from(ZONES), st.integers(0, 22 * 365), st.integers(0, 24 * 60 - 1))
def test_a_daily_rule_is_due_once_for_every_local_date(zone: str, day: int, minute: int) -> None:
    start = datetime(2009, 1, 1, tzinfo=UTC) + timedelta(days=day, minutes=minute)
    schedule = Schedule(frequency="daily", time_zone=zone, start=start)
    wall = start.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    dates = [wall.date() + timedelta(days=n) for n in range(200)]
    if zone == "Pacific/Apia" and date(2011, 12, 30) in dates[1:]:
        dates.append(dates[-1] + timedelta(days=1))  # one of them never came
    slots = occurrences(schedule, start - TICK, 200)
    assert slots[0] == start
    assert slots[-1] == resolve(datetime.combine(dates[-1], wall.time()), ZoneInfo(zone))
