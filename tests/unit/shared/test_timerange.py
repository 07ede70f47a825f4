"""What Grafana's relative and absolute times resolve to."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.timerange import InvalidTimeRange, TimeRange, check, resolve

NOW = datetime(2026, 5, 13, 10, 17, 23, 456789, tzinfo=UTC)  # a Wednesday
WARSAW = "Europe/Warsaw"


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def start(text: str, zone: str = "UTC", at: datetime = NOW, fiscal: int = 0, week: str = "") -> str:
    far = "9999-01-01T00:00:00Z"
    found = resolve(
        text, far, at=at, time_zone=zone, fiscal_year_start_month=fiscal, week_start=week
    )
    return found.start.isoformat(timespec="seconds").removesuffix("+00:00")


def end(text: str, zone: str = "UTC", at: datetime = NOW, fiscal: int = 0, week: str = "") -> str:
    found = resolve(
        "0", text, at=at, time_zone=zone, fiscal_year_start_month=fiscal, week_start=week
    )
    return found.end.isoformat(timespec="milliseconds").removesuffix("+00:00")


# Relative


def test_now_is_the_moment_given() -> None:
    found = resolve("now", "now", at=NOW, time_zone="UTC")
    assert found == TimeRange(NOW, NOW)


def test_the_last_six_hours() -> None:
    found = resolve("now-6h", "now", at=NOW, time_zone=WARSAW)
    assert found == TimeRange(NOW - timedelta(hours=6), NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now-90s", "2026-05-13T10:15:53"),
        ("now-5m", "2026-05-13T10:12:23"),
        ("now+5m", "2026-05-13T10:22:23"),
        ("now-h", "2026-05-13T09:17:23"),
        ("now-2d", "2026-05-11T10:17:23"),
        ("now-1w", "2026-05-06T10:17:23"),
        ("now-1M", "2026-04-13T10:17:23"),
        ("now-1Q", "2026-02-13T10:17:23"),
        ("now-1fQ", "2026-02-13T10:17:23"),
        ("now-2y", "2024-05-13T10:17:23"),
        ("now-1fy", "2025-05-13T10:17:23"),
        ("now - 1d / d", "2026-05-12T00:00:00"),
    ],
)
def test_steps(text: str, expected: str) -> None:
    assert start(text) == expected


@pytest.mark.parametrize(
    ("unit", "first", "last"),
    [
        ("s", "2026-05-13T10:17:23", "2026-05-13T10:17:23.999"),
        ("m", "2026-05-13T10:17:00", "2026-05-13T10:17:59.999"),
        ("h", "2026-05-13T10:00:00", "2026-05-13T10:59:59.999"),
        ("d", "2026-05-13T00:00:00", "2026-05-13T23:59:59.999"),
        ("1d", "2026-05-13T00:00:00", "2026-05-13T23:59:59.999"),
        ("w", "2026-05-10T00:00:00", "2026-05-16T23:59:59.999"),
        ("M", "2026-05-01T00:00:00", "2026-05-31T23:59:59.999"),
        ("Q", "2026-04-01T00:00:00", "2026-06-30T23:59:59.999"),
        ("y", "2026-01-01T00:00:00", "2026-12-31T23:59:59.999"),
        ("Y", "2026-01-01T00:00:00", "2026-12-31T23:59:59.999"),
    ],
)
def test_from_rounds_down_and_to_rounds_up(unit: str, first: str, last: str) -> None:
    assert start(f"now/{unit}") == first
    assert end(f"now/{unit}") == last


def test_yesterday_in_the_zone_of_the_dashboard() -> None:
    found = resolve("now-1d/d", "now-1d/d", at=NOW, time_zone=WARSAW)
    assert found.start == moment("2026-05-12T00:00:00+02:00")
    assert found.end == moment("2026-05-12T23:59:59.999+02:00")


def test_operations_apply_from_left_to_right() -> None:
    assert start("now-1d/d+8h") == "2026-05-12T08:00:00"
    assert start("now/M-1d/d") == "2026-04-30T00:00:00"
    # As in Grafana, `to` rounds up first and steps afterwards.
    assert end("now-1d/d+8h") == "2026-05-13T07:59:59.999"


@pytest.mark.parametrize(
    ("week", "first"),
    [
        ("", "2026-05-10T00:00:00"),
        ("browser", "2026-05-10T00:00:00"),
        ("sunday", "2026-05-10T00:00:00"),
        ("monday", "2026-05-11T00:00:00"),
        ("Saturday", "2026-05-09T00:00:00"),
    ],
)
def test_a_week_starts_on_sunday_unless_the_dashboard_says_otherwise(week: str, first: str) -> None:
    assert start("now/w", week=week) == first


def test_a_week_starts_today_on_its_first_day() -> None:
    sunday = datetime(2026, 5, 10, 12, tzinfo=UTC)
    assert start("now/w", at=sunday) == "2026-05-10T00:00:00"
    assert start("now/w", at=sunday, week="monday") == "2026-05-04T00:00:00"
    assert end("now/w", at=sunday, week="monday") == "2026-05-10T23:59:59.999"


@pytest.mark.parametrize(
    ("month", "year_first", "quarter_first", "quarter_last"),
    [
        (0, "2026-01-01T00:00:00", "2026-04-01T00:00:00", "2026-06-30T23:59:59.999"),
        (1, "2026-02-01T00:00:00", "2026-05-01T00:00:00", "2026-07-31T23:59:59.999"),
        (4, "2026-05-01T00:00:00", "2026-05-01T00:00:00", "2026-07-31T23:59:59.999"),
        (6, "2025-07-01T00:00:00", "2026-04-01T00:00:00", "2026-06-30T23:59:59.999"),
        (11, "2025-12-01T00:00:00", "2026-03-01T00:00:00", "2026-05-31T23:59:59.999"),
    ],
)
def test_fiscal_units_start_in_the_month_of_the_dashboard(
    month: int, year_first: str, quarter_first: str, quarter_last: str
) -> None:
    assert start("now/fy", fiscal=month) == year_first
    assert start("now/fQ", fiscal=month) == quarter_first
    assert end("now/fQ", fiscal=month) == quarter_last


def test_the_last_fiscal_year() -> None:
    assert start("now-1fy/fy", fiscal=3) == "2025-04-01T00:00:00"
    assert end("now-1fy/fy", fiscal=3) == "2026-03-31T23:59:59.999"


def test_months_and_years_stay_within_the_target_month() -> None:
    at = datetime(2024, 3, 31, 12, tzinfo=UTC)
    assert start("now-1M", at=at) == "2024-02-29T12:00:00"
    leap_day = datetime(2024, 2, 29, 12, tzinfo=UTC)
    assert start("now-1y", at=leap_day) == "2023-02-28T12:00:00"
    assert start("now-2M", at=datetime(2024, 1, 15, tzinfo=UTC)) == "2023-11-15T00:00:00"


# Zones


def test_days_step_on_the_wall_clock_and_hours_are_elapsed() -> None:
    at = moment("2024-03-31T12:00:00+02:00")  # the day lost an hour
    assert start("now-1d", WARSAW, at) == "2024-03-30T11:00:00"
    assert start("now-24h", WARSAW, at) == "2024-03-30T10:00:00"


def test_a_day_with_a_change_of_offset_has_23_or_25_hours() -> None:
    for text, hours in (("2024-03-31T12:00:00+02:00", 23), ("2024-10-27T12:00:00+01:00", 25)):
        day = resolve("now/d", "now/d", at=moment(text), time_zone=WARSAW)
        assert day.end - day.start == timedelta(hours=hours) - timedelta(milliseconds=1)


def test_rounding_to_the_hour_stays_within_the_pass_of_a_double_hour() -> None:
    second = moment("2024-10-27T02:40:00+01:00")
    assert start("now/h", WARSAW, second) == "2024-10-27T01:00:00"
    assert end("now/h", WARSAW, second) == "2024-10-27T01:59:59.999"
    assert start("now-0d", WARSAW, second) == "2024-10-27T01:40:00"
    first = moment("2024-10-27T02:40:00+02:00")
    assert start("now/h", WARSAW, first) == "2024-10-27T00:00:00"


def test_hours_are_rounded_on_the_clock_of_zones_with_odd_offsets() -> None:
    assert start("now/h", "Asia/Kathmandu") == "2026-05-13T10:15:00"
    at = moment("2024-04-07T01:45:00+10:30")  # the second pass of Lord Howe's half hour
    assert end("now/h", "Australia/Lord_Howe", at) == "2024-04-06T15:29:59.999"


def test_a_day_without_midnight_starts_when_it_does() -> None:
    at = moment("2024-03-10T12:00:00-04:00")
    assert start("now/d", "America/Havana", at) == "2024-03-10T05:00:00"
    assert end("now-1d/d", "America/Havana", at) == "2024-03-10T04:59:59.999"


def test_the_day_before_the_missing_one_in_apia() -> None:
    at = moment("2011-12-31T12:00:00+14:00")
    assert end("now-2d/d", "Pacific/Apia", at) == "2011-12-30T09:59:59.999"


# Absolute


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1659967200000", "2022-08-08T14:00:00"),
        ("0", "1970-01-01T00:00:00"),
        ("20220808", "2022-08-08T00:00:00"),
        ("20220808T150000", "2022-08-08T15:00:00"),
        ("2022-08-08T15:00:00+02:00", "2022-08-08T13:00:00"),
        ("2022-08-08T15:00:00.000Z", "2022-08-08T15:00:00"),
        ("2022-08-08t15:00:00z", "2022-08-08T15:00:00"),
        ("2022-08-08 15:00:00", "2022-08-08T13:00:00"),
        ("2022-08-08T15:00", "2022-08-08T13:00:00"),
        ("2022-08-08", "2022-08-07T22:00:00"),
        ("2024-03-31 02:30:00", "2024-03-31T01:30:00"),
        ("2024-10-27 02:30:00", "2024-10-27T00:30:00"),
    ],
)
def test_absolute_times_are_local_only_without_an_offset(text: str, expected: str) -> None:
    assert start(text, WARSAW) == expected


def test_milliseconds_are_what_a_dashboard_link_takes() -> None:
    found = resolve("1659967200123", "now/d", at=NOW, time_zone="UTC")
    assert found.from_ms == 1659967200123
    assert found.to_ms == 1778716799999


def test_absolute_and_relative_ends_mix() -> None:
    found = resolve("2026-05-01", "now", at=NOW, time_zone="UTC")
    assert found.start == datetime(2026, 5, 1, tzinfo=UTC)


# What is refused

UNREADABLE = [
    "yesterday",
    "now-",
    "now-1",
    "now-1x",
    "now-1ms",
    "now-1.5h",
    "now/2d",
    "now/fd",
    "now/fM",
    "now-1fw",
    "now//d",
    "now-1d/",
    "nowhere",
    "NOW-1h",
    "-1h",
    "1h",
    "20221340",
    "20220808T250000",
    "2022-02-30",
    "2022-08-08T25:00:00Z",
    "2022-08-08T15:00:00+99:00",
    "2022-W01-1",
    "2022-08-08x15:00",
    "08/08/2022",
    "-1659967200000",
    "1e12",
    "١٢٣",
    " ",
    "now-1h\0",
    "x" * 10_000,
]


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_is_no_time_is_refused_with_what_is_accepted(text: str) -> None:
    for refuse in (
        lambda: check(text, "now"),
        lambda: resolve(text, "now", at=NOW, time_zone="UTC"),
    ):
        with pytest.raises(InvalidTimeRange) as caught:
            refuse()
        assert '"from"' in caught.value.message
        assert "now-6h" in caught.value.message
        assert len(caught.value.message) < 300
    with pytest.raises(InvalidTimeRange, match='"to"'):
        check("now", text)


@pytest.mark.parametrize(
    "text", ["now-99999y", "now+999999999M", "now-999999999d", "now+999999999w", "9" * 15]
)
def test_times_outside_the_calendar_are_refused(text: str) -> None:
    with pytest.raises(InvalidTimeRange, match="years 1 to 9999"):
        check(text, "now")
    with pytest.raises(InvalidTimeRange, match="years 1 to 9999"):
        resolve(text, "now", at=NOW, time_zone=WARSAW)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Kiritimati"])
@pytest.mark.parametrize("text", ["now/s", "now/h", "now/d", "now/w", "now/fy", "now-1d", "now+1M"])
def test_the_ends_of_the_calendar_give_a_range_or_a_sentence(text: str, zone: str) -> None:
    for at in (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)):
        try:
            resolve(text, text, at=at, time_zone=zone)
        except InvalidTimeRange as exc:
            assert "9999" in exc.message  # noqa: PT017  (either outcome is right)


def test_a_naive_moment_is_refused_rather_than_read_in_the_zone_of_the_machine() -> None:
    with pytest.raises(ValueError, match="naive"):
        resolve("now-1h", "now", at=NOW.replace(tzinfo=None), time_zone="UTC")


def test_a_range_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(InvalidTimeRange, match='from "now", to "now-1h"'):
        resolve("now", "now-1h", at=NOW, time_zone="UTC")


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(InvalidTimeRange, match="browser"):
        resolve("now-1h", "now", at=NOW, time_zone="browser")


def test_both_ends_may_be_left_out_but_not_one() -> None:
    check("", "")
    check("now-1h", "now")
    check("2022-08-08T15:00:00+02:00", "now/fQ")
    with pytest.raises(InvalidTimeRange, match='no "to"'):
        check("now-1h", "")
    with pytest.raises(InvalidTimeRange, match='no "from"'):
        check("", "now")
