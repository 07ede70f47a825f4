"""What each schedule rule means, one sentence per test."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.schedule import (
    MAX_INTERVAL_AMOUNT,
    InvalidSchedule,
    Schedule,
    check,
    find_zone,
    latest_until,
    local,
    next_after,
    occurrences,
    slots_between,
)

LONG_AGO = datetime.min.replace(tzinfo=UTC)
FAR_AHEAD = datetime.max.replace(tzinfo=UTC)


def at(text: str) -> datetime:
    """Read "2024-03-31T02:30+01:00"; without an offset it is UTC."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def rule(frequency: str, start: str, time_zone: str = "UTC", **fields: Any) -> Schedule:
    return Schedule(frequency=frequency, start=at(start), time_zone=time_zone, **fields)


def every(
    amount: int,
    interval: str,
    start: str,
    time_zone: str = "UTC",
    **fields: Any,
) -> Schedule:
    fields |= {"interval_amount": amount, "interval_frequency": interval}
    return rule("custom", start, time_zone, **fields)


def first(schedule: Schedule, count: int, after: str = "") -> list[str]:
    """Give the next slots as the report's own clock shows them."""
    slots = occurrences(schedule, at(after) if after else LONG_AGO, count)
    return [shown(slot, schedule.time_zone) for slot in slots]


def shown(slot: datetime, time_zone: str) -> str:
    return local(slot, time_zone).isoformat(timespec="minutes")


# The frequencies


def test_once_is_due_at_its_start_and_never_again() -> None:
    schedule = rule("once", "2026-01-05T09:00")
    assert next_after(schedule, at("2026-01-05T08:59")) == at("2026-01-05T09:00")
    assert next_after(schedule, at("2026-01-05T09:00")) is None
    assert latest_until(schedule, at("2027-01-01")) == at("2026-01-05T09:00")
    assert latest_until(schedule, at("2026-01-05T08:59")) is None


def test_never_has_no_slots_and_needs_no_start() -> None:
    schedule = Schedule(frequency="never")
    check(schedule)
    assert next_after(schedule, LONG_AGO) is None
    assert latest_until(schedule, FAR_AHEAD) is None
    assert slots_between(schedule, LONG_AGO, FAR_AHEAD, 5) == []
    assert occurrences(schedule, LONG_AGO, 5) == []


def test_the_start_is_the_first_slot() -> None:
    for frequency in ("once", "hourly", "daily", "weekly", "monthly"):
        schedule = rule(frequency, "2026-01-14T09:30", "Europe/Warsaw")
        assert next_after(schedule, LONG_AGO) == at("2026-01-14T09:30")


def test_hourly_fires_at_the_minute_of_the_start() -> None:
    schedule = rule("hourly", "2026-01-01T00:17:30")
    assert next_after(schedule, at("2026-05-04T11:20")) == at("2026-05-04T12:17:30")


def test_weekly_fires_on_the_local_weekday_of_the_start() -> None:
    # 20:00 in New York is already Tuesday in UTC.
    schedule = rule("weekly", "2024-01-08T20:00-05:00", "America/New_York")
    assert first(schedule, 2, after="2024-03-07") == [
        "2024-03-11T20:00-04:00",
        "2024-03-18T20:00-04:00",
    ]


def test_a_rule_keeps_its_wall_clock_time_across_a_change_of_offset() -> None:
    schedule = rule("daily", "2024-03-30T09:00+01:00", "Europe/Warsaw")
    assert first(schedule, 2) == ["2024-03-30T09:00+01:00", "2024-03-31T09:00+02:00"]


def test_custom_weeks_are_counted_from_the_start() -> None:
    schedule = every(2, "weeks", "2026-01-05T09:00")
    assert next_after(schedule, at("2026-02-01")) == at("2026-02-02T09:00")
    assert next_after(schedule, at("2026-02-02T09:00")) == at("2026-02-16T09:00")


def test_custom_days_are_counted_from_the_start() -> None:
    schedule = every(10, "days", "2026-01-01T09:00")
    assert first(schedule, 3) == [
        "2026-01-01T09:00+00:00",
        "2026-01-11T09:00+00:00",
        "2026-01-21T09:00+00:00",
    ]


def test_seconds_of_the_start_are_kept() -> None:
    schedule = rule("daily", "2026-01-01T09:00:07.000250")
    assert next_after(schedule, at("2026-01-02")) == at("2026-01-02T09:00:07.000250")


# Months


def test_monthly_on_the_31st_fires_only_in_months_that_have_one() -> None:
    schedule = rule("monthly", "2026-01-31T08:00")
    assert [slot.month for slot in occurrences(schedule, LONG_AGO, 7)] == [1, 3, 5, 7, 8, 10, 12]


def test_monthly_on_the_29th_fires_in_february_of_leap_years() -> None:
    schedule = rule("monthly", "2027-12-29T08:00")
    assert next_after(schedule, at("2027-01-29T08:00")) == at("2027-12-29T08:00")
    assert next_after(schedule, at("2028-01-29T08:00")) == at("2028-02-29T08:00")
    assert next_after(schedule, at("2029-01-29T08:00")) == at("2029-03-29T08:00")


@pytest.mark.parametrize(("frequency", "day"), [("last", ""), ("last", "2"), ("monthly", "last")])
def test_last_and_monthly_last_both_mean_the_last_day_of_every_month(
    frequency: str, day: str
) -> None:
    schedule = rule(frequency, "2028-01-15T08:00", day_of_month=day)
    assert first(schedule, 3) == [
        "2028-01-31T08:00+00:00",
        "2028-02-29T08:00+00:00",
        "2028-03-31T08:00+00:00",
    ]


def test_last_starting_on_a_last_day_after_the_time_of_day_fires_there() -> None:
    assert first(rule("last", "2026-02-28T08:00"), 1) == ["2026-02-28T08:00+00:00"]


def test_day_of_month_overrides_the_day_of_a_monthly_start() -> None:
    schedule = rule("monthly", "2026-01-10T08:00", day_of_month="5")
    assert first(schedule, 2) == ["2026-02-05T08:00+00:00", "2026-03-05T08:00+00:00"]
    schedule = rule("monthly", "2026-01-10T08:00", day_of_month="20")
    assert first(schedule, 2) == ["2026-01-20T08:00+00:00", "2026-02-20T08:00+00:00"]


@pytest.mark.parametrize("frequency", ["once", "hourly", "daily", "weekly"])
def test_day_of_month_is_ignored_by_other_frequencies(frequency: str) -> None:
    plain = rule(frequency, "2026-01-10T08:00")
    with_day = rule(frequency, "2026-01-10T08:00", day_of_month="2")
    check(with_day)
    assert occurrences(with_day, LONG_AGO, 4) == occurrences(plain, LONG_AGO, 4)


def test_every_twelve_months_on_29_february_steps_over_2100() -> None:
    schedule = every(12, "months", "2088-02-29T08:00")
    years = [slot.year for slot in occurrences(schedule, LONG_AGO, 4)]
    assert years == [2088, 2092, 2096, 2104]
    assert latest_until(schedule, at("2104-02-29T07:59")) == at("2096-02-29T08:00")


def test_every_seven_months_on_the_30th_steps_over_february() -> None:
    schedule = every(7, "months", "2026-07-30T08:00")
    assert first(schedule, 2) == ["2026-07-30T08:00+00:00", "2027-09-30T08:00+00:00"]


def test_the_rarest_rule_that_fires_is_found() -> None:
    # 138 times in a row the month has no 31st, or it is a Saturday or Sunday.
    schedule = every(676, "months", "2145-10-31T08:00", workdays_only=True)
    check(schedule)
    assert next_after(schedule, LONG_AGO) == at("9919-10-31T08:00")


# Workdays


def test_daily_on_workdays_leaves_out_the_weekend() -> None:
    schedule = rule("daily", "2026-01-01T08:00", workdays_only=True)
    assert next_after(schedule, at("2026-01-02T08:00")) == at("2026-01-05T08:00")
    assert latest_until(schedule, at("2026-01-04T23:00")) == at("2026-01-02T08:00")


def test_a_daily_workday_rule_may_start_at_a_weekend() -> None:
    schedule = rule("daily", "2026-01-03T08:00", workdays_only=True)
    check(schedule)
    assert next_after(schedule, LONG_AGO) == at("2026-01-05T08:00")


def test_hourly_on_workdays_resumes_at_local_midnight_of_monday() -> None:
    schedule = rule("hourly", "2026-01-01T00:00", "Asia/Tokyo", workdays_only=True)
    assert first(schedule, 2, after="2026-01-02T13:59") == [
        "2026-01-02T23:00+09:00",
        "2026-01-05T00:00+09:00",
    ]


def test_workdays_are_those_of_the_local_date() -> None:
    # Sunday evening in UTC is Monday morning in Auckland.
    schedule = rule("daily", "2026-01-04T20:00", "Pacific/Auckland", workdays_only=True)
    assert first(schedule, 1) == ["2026-01-05T09:00+13:00"]


@pytest.mark.parametrize("frequency", ["once", "weekly", "monthly", "last"])
def test_workdays_only_is_ignored_by_rules_it_is_not_offered_for(frequency: str) -> None:
    plain = rule(frequency, "2026-01-03T08:00")
    workdays = rule(frequency, "2026-01-03T08:00", workdays_only=True)
    check(workdays)
    assert occurrences(workdays, LONG_AGO, 3) == occurrences(plain, LONG_AGO, 3)


def test_custom_months_on_workdays_leave_out_months_where_the_day_is_a_weekend() -> None:
    schedule = every(1, "months", "2026-01-01T08:00", workdays_only=True)
    assert [slot.month for slot in occurrences(schedule, LONG_AGO, 4)] == [1, 4, 5, 6]


# Gaps and folds (of past years: what a government decides about the next ones changes the data)


def test_a_daily_time_in_the_gap_moves_forward_by_the_gap() -> None:
    schedule = rule("daily", "2024-03-29T02:30+01:00", "Europe/Warsaw")
    assert first(schedule, 3, after="2024-03-29T12:00") == [
        "2024-03-30T02:30+01:00",
        "2024-03-31T03:30+02:00",
        "2024-04-01T02:30+02:00",
    ]


def test_a_daily_time_that_occurs_twice_fires_at_the_first() -> None:
    schedule = rule("daily", "2024-10-25T02:30+02:00", "Europe/Warsaw")
    assert first(schedule, 3, after="2024-10-25T12:00") == [
        "2024-10-26T02:30+02:00",
        "2024-10-27T02:30+02:00",
        "2024-10-28T02:30+01:00",
    ]


def test_hourly_neither_repeats_nor_leaves_out_an_hour_at_a_fold() -> None:
    schedule = rule("hourly", "2024-10-01T00:30", "Europe/Warsaw")
    assert first(schedule, 4, after="2024-10-26T23:00") == [
        "2024-10-27T01:30+02:00",
        "2024-10-27T02:30+02:00",
        "2024-10-27T02:30+01:00",
        "2024-10-27T03:30+01:00",
    ]


def test_every_six_hours_moves_on_the_clock_after_a_change() -> None:
    schedule = every(6, "hours", "2024-03-30T06:00+01:00", "Europe/Warsaw")
    assert first(schedule, 5)[-2:] == ["2024-03-31T00:00+01:00", "2024-03-31T07:00+02:00"]


def test_a_start_in_the_gap_is_read_as_the_shifted_time() -> None:
    start = datetime(2024, 3, 31, 2, 30, tzinfo=find_zone("Europe/Warsaw"))
    schedule = Schedule(frequency="daily", start=start, time_zone="Europe/Warsaw")
    assert first(schedule, 2) == ["2024-03-31T03:30+02:00", "2024-04-01T03:30+02:00"]


def test_a_start_in_the_second_pass_of_an_hour_is_itself_the_first_slot() -> None:
    schedule = rule("daily", "2024-10-27T02:30+01:00", "Europe/Warsaw")
    assert first(schedule, 2) == ["2024-10-27T02:30+01:00", "2024-10-28T02:30+01:00"]
    assert latest_until(schedule, at("2024-10-27T02:30+02:00")) is None


def test_lord_howe_shifts_by_its_half_hour() -> None:
    schedule = rule("daily", "2024-10-01T02:15+10:30", "Australia/Lord_Howe")
    assert first(schedule, 2, after="2024-10-05T00:00") == [
        "2024-10-06T02:45+11:00",
        "2024-10-07T02:15+11:00",
    ]


def test_troll_shifts_by_its_two_hours() -> None:
    schedule = rule("daily", "2024-03-01T01:30", "Antarctica/Troll")
    assert first(schedule, 3, after="2024-03-29T12:00") == [
        "2024-03-30T01:30+00:00",
        "2024-03-31T03:30+02:00",
        "2024-04-01T01:30+02:00",
    ]


def test_the_day_that_apia_left_out_gives_one_slot_not_two() -> None:
    schedule = rule("daily", "2011-12-28T10:00-10:00", "Pacific/Apia")
    expected = [
        "2011-12-28T10:00-10:00",
        "2011-12-29T10:00-10:00",
        "2011-12-31T10:00+14:00",
        "2012-01-01T10:00+14:00",
    ]
    assert first(schedule, 4) == expected
    slots = slots_between(schedule, LONG_AGO, at("2012-01-01T12:00+14:00"), 10)
    assert [shown(slot, "Pacific/Apia") for slot in slots] == expected


def test_midnight_in_havana_fires_once_whether_missing_or_double() -> None:
    schedule = rule("daily", "2024-01-01T00:00-05:00", "America/Havana")
    assert first(schedule, 2, after="2024-03-09T12:00") == [
        "2024-03-10T01:00-04:00",
        "2024-03-11T00:00-04:00",
    ]
    assert first(schedule, 2, after="2024-11-02T12:00") == [
        "2024-11-03T00:00-04:00",
        "2024-11-04T00:00-05:00",
    ]


def test_a_gap_before_midnight_moves_a_slot_to_the_next_date_without_losing_it() -> None:
    # On 29 March 2025 Scoresbysund's clock went from 23:00 straight to midnight.
    schedule = rule("daily", "2025-01-01T23:30-02:00", "America/Scoresbysund")
    expected = [
        "2025-03-28T23:30-02:00",
        "2025-03-30T00:30-01:00",
        "2025-03-30T23:30-01:00",
    ]
    assert first(schedule, 3, after="2025-03-28T12:00") == expected
    assert first(schedule, 1, after="2025-03-30T00:10-01:00") == expected[1:2]
    latest = latest_until(schedule, at("2025-03-30T23:29-01:00"))
    assert latest == at(expected[1])


def test_a_fold_across_midnight_does_not_hide_a_slot_of_the_next_date() -> None:
    # On 7 November 2010 at 00:01 the clock of St. John's went back to 23:01 of the 6th.
    schedule = rule("daily", "2010-11-01T00:00:30-02:30", "America/St_Johns")
    slot = at("2010-11-07T00:00:30-02:30")
    second_pass = at("2010-11-06T23:30-03:30")
    assert slot < second_pass
    assert latest_until(schedule, second_pass) == slot
    assert next_after(schedule, second_pass) == at("2010-11-08T00:00:30-03:30")


def test_casablanca_keeps_its_local_time_through_ramadan() -> None:
    # In 2025 the clock went back on 23 February and forward on 6 April at 02:00.
    schedule = rule("daily", "2025-01-01T02:30+01:00", "Africa/Casablanca")
    assert first(schedule, 2, after="2025-02-22T12:00") == [
        "2025-02-23T02:30+01:00",
        "2025-02-24T02:30+00:00",
    ]
    assert first(schedule, 2, after="2025-04-05T12:00") == [
        "2025-04-06T03:30+01:00",
        "2025-04-07T02:30+01:00",
    ]


def test_cairo_has_summer_time_again_since_2023() -> None:
    schedule = rule("daily", "2022-01-01T00:30+02:00", "Africa/Cairo")
    assert first(schedule, 2, after="2023-04-27T12:00") == [
        "2023-04-28T01:30+03:00",
        "2023-04-29T00:30+03:00",
    ]


# The end


def test_an_end_equal_to_an_occurrence_includes_it() -> None:
    schedule = rule("daily", "2026-01-01T08:00", end=at("2026-01-03T08:00"))
    assert len(occurrences(schedule, LONG_AGO, 9)) == 3
    assert latest_until(schedule, FAR_AHEAD) == at("2026-01-03T08:00")


def test_an_end_just_before_an_occurrence_leaves_it_out() -> None:
    schedule = rule("daily", "2026-01-01T08:00", end=at("2026-01-03T07:59:59.999999"))
    assert len(occurrences(schedule, LONG_AGO, 9)) == 2
    assert next_after(schedule, at("2026-01-02T08:00")) is None


def test_an_end_date_in_the_past_is_accepted() -> None:
    schedule = rule("daily", "2020-01-01T07:00", end=at("2020-01-15T07:00"))
    check(schedule)
    assert next_after(schedule, at("2026-01-01")) is None


# Between


def test_slots_between_leaves_out_its_start_and_includes_its_end() -> None:
    schedule = rule("daily", "2026-01-01T08:00")
    slots = slots_between(schedule, at("2026-01-02T08:00"), at("2026-01-04T08:00"), 10)
    assert slots == [at("2026-01-03T08:00"), at("2026-01-04T08:00")]


def test_slots_between_keeps_the_newest() -> None:
    schedule = rule("hourly", "2000-01-01T00:00")
    slots = slots_between(schedule, at("2000-01-01"), at("2026-01-01T05:10"), 3)
    assert slots == [at("2026-01-01T03:00"), at("2026-01-01T04:00"), at("2026-01-01T05:00")]
    assert slots_between(schedule, at("2000-01-01"), at("2026-01-01"), 0) == []


def test_old_schedules_cost_no_more_than_new_ones() -> None:
    schedule = rule("hourly", "0001-01-01T00:00")
    before = time.process_time()
    for _ in range(1000):
        next_after(schedule, at("9000-01-01T00:30"))
    assert time.process_time() - before < 1


# The ends of the calendar


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Kiritimati"])
@pytest.mark.parametrize(
    "frequency", ["once", "hourly", "daily", "weekly", "monthly", "last", "custom"]
)
def test_the_first_and_last_instants_of_the_calendar_raise_nothing(
    frequency: str, zone: str
) -> None:
    for start in (LONG_AGO, at("2026-01-31T08:00"), FAR_AHEAD):
        schedule = Schedule(
            frequency=frequency,
            start=start,
            time_zone=zone,
            interval_frequency="months",
            interval_amount=MAX_INTERVAL_AMOUNT,
        )
        assert next_after(schedule, FAR_AHEAD) is None
        for moment in (LONG_AGO, FAR_AHEAD):
            following = next_after(schedule, moment)
            assert following is None or following > moment
            latest = latest_until(schedule, moment)
            assert latest is None or latest <= moment
            assert len(slots_between(schedule, LONG_AGO, moment, 3)) <= 3
            local(moment, zone)


def test_a_naive_time_is_refused_rather_than_read_in_the_zone_of_the_machine() -> None:
    naive = at("2026-01-01").replace(tzinfo=None)
    with pytest.raises(ValueError, match="naive"):
        next_after(rule("daily", "2026-01-01"), naive)
    with pytest.raises(InvalidSchedule, match=r"startDate.*offset"):
        check(Schedule(frequency="daily", start=naive))


@pytest.fixture
def _restored_process_zone() -> Iterator[None]:
    before = os.environ.get("TZ")
    yield
    if before is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.usefixtures("_restored_process_zone")
def test_the_zone_of_the_process_does_not_matter() -> None:
    schedule = rule("daily", "2024-03-29T02:30+01:00", "Europe/Warsaw", workdays_only=True)
    results = set()
    for zone in ("UTC", "America/New_York", "Pacific/Kiritimati", "Europe/Warsaw"):
        os.environ["TZ"] = zone
        time.tzset()
        slots = occurrences(schedule, LONG_AGO, 300)
        assert slots == slots_between(schedule, LONG_AGO, slots[-1], 300)
        results.add(tuple(slot.isoformat() for slot in slots))
    assert len(results) == 1


# Zones


@pytest.mark.parametrize("name", ["UTC", "GMT", "Europe/Warsaw", "America/Argentina/Ushuaia"])
def test_iana_names_are_zones(name: str) -> None:
    assert find_zone(name) is not None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Local",
        "browser",
        "local",
        "Mars/Base",
        "Europe",
        "Europe/",
        "/etc/passwd",
        "/usr/share/zoneinfo/Europe/Warsaw",
        "../../etc/passwd",
        "Europe/../Europe/Warsaw",
        "CET-1CEST,M3.5.0,M10.5.0/3",
        "<+03>-3",
        ":Europe/Warsaw",
        "posix/Europe/Warsaw",
        "right/Europe/Warsaw",
        "posixrules",
        "localtime",
        "Factory",
        "zone.tab",
        "leapseconds",
        "Europe/War\0saw",
        "Europe/Warsaw\n",
        "Łódź",
        "A" * 5000,
    ],
)
def test_what_is_no_iana_name_is_refused_with_a_sentence(name: str) -> None:
    assert find_zone(name) is None
    with pytest.raises(InvalidSchedule) as caught:
        check(rule("daily", "2026-01-01", name))
    assert caught.value.field == "schedule.timeZone"
    assert "IANA" in caught.value.message
    assert len(caught.value.message) < 200


# What is refused


@pytest.mark.parametrize(
    ("schedule", "field"),
    [
        (rule("fortnightly", "2026-01-01"), "schedule.frequency"),
        (rule("", "2026-01-01"), "schedule.frequency"),
        (Schedule(frequency="daily"), "schedule.startDate"),
        (Schedule(frequency="never", time_zone="Nowhere"), "schedule.timeZone"),
        (every(1, "minutes", "2026-01-01"), "schedule.intervalFrequency"),
        (every(1, "", "2026-01-01"), "schedule.intervalFrequency"),
        (every(0, "days", "2026-01-01"), "schedule.intervalAmount"),
        (every(-3, "days", "2026-01-01"), "schedule.intervalAmount"),
        (every(MAX_INTERVAL_AMOUNT + 1, "days", "2026-01-01"), "schedule.intervalAmount"),
        (rule("monthly", "2026-01-01", day_of_month="32"), "schedule.dayOfMonth"),
        (rule("monthly", "2026-01-01", day_of_month="0"), "schedule.dayOfMonth"),
        (rule("monthly", "2026-01-01", day_of_month="first"), "schedule.dayOfMonth"),
        (rule("daily", "2026-01-01", day_of_month="1.5"), "schedule.dayOfMonth"),
        (rule("daily", "2026-01-02", end=at("2026-01-01")), "schedule.endDate"),
        (rule("weekly", "2026-01-02", end=datetime(2027, 1, 1)), "schedule.endDate"),  # noqa: DTZ001  (naive on purpose)
        (
            rule("monthly", "2026-02-01", day_of_month="31", end=at("2026-02-20")),
            "schedule.endDate",
        ),
        (every(168, "hours", "2026-01-03T08:00", workdays_only=True), "schedule.workdaysOnly"),
        (every(7, "days", "2026-01-03T08:00", workdays_only=True), "schedule.workdaysOnly"),
        (every(3, "weeks", "2026-01-04T08:00", workdays_only=True), "schedule.workdaysOnly"),
        (every(4800, "months", "2026-01-03T08:00", workdays_only=True), "schedule.workdaysOnly"),
    ],
)
def test_a_rule_that_is_malformed_or_never_due_names_its_field(
    schedule: Schedule, field: str
) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        check(schedule)
    assert caught.value.field == field
    assert caught.value.message.endswith(".")
    assert str(caught.value) == f"{field}: {caught.value.message}"


def test_a_weekly_interval_in_hours_that_reaches_monday_only_in_summer_is_accepted() -> None:
    # Sunday 23:30 in winter is Monday 00:30 in summer, 168 elapsed hours apart.
    schedule = every(168, "hours", "2024-01-07T23:30+01:00", "Europe/Warsaw", workdays_only=True)
    check(schedule)
    assert first(schedule, 1) == ["2024-04-01T00:30+02:00"]


def test_intervals_are_ignored_unless_custom() -> None:
    check(rule("daily", "2026-01-01", interval_frequency="fortnights", interval_amount=-1))
