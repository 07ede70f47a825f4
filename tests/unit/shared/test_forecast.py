"""The load of coming minutes, and how many workers bear it."""

from __future__ import annotations

import datetime as dt

import pytest

from shared import forecast, schedule
from shared.forecast import Firing, Minute
from shared.schedule import Schedule

MONDAY = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


def daily(hour: int, **more: object) -> Schedule:
    start = dt.datetime(2026, 1, 1, hour, tzinfo=dt.UTC)
    return Schedule(**{"frequency": "daily", "start": start, "time_zone": "UTC", **more})  # type: ignore[arg-type]  # a table of keywords


def firing(number: int = 1, rule: Schedule | None = None, **more: object) -> Firing:
    return Firing(
        **{  # type: ignore[arg-type]  # a table of keywords
            "report_id": number,
            "rule": rule or daily(9),
            "captures": [("a", 2.0)],
            "assembly": 0.5,
            **more,
        }
    )


def test_what_is_due_is_counted_in_the_minute_of_its_slot() -> None:
    minutes = forecast.load([firing()], MONDAY, MONDAY + 2 * DAY)
    assert minutes == {
        MONDAY + dt.timedelta(hours=9): Minute(1, 1, 2.5),
        MONDAY + DAY + dt.timedelta(hours=9): Minute(1, 1, 2.5),
    }


def test_equal_captures_of_one_slot_count_once_and_each_run_is_assembled() -> None:
    both = [firing(1), firing(2), firing(3, captures=[("b", 4.0)])]
    [minute] = forecast.load(both, MONDAY, MONDAY + DAY).values()
    assert minute == Minute(runs=3, captures=2, seconds=2.0 + 4.0 + 3 * 0.5)
    # At another hour it is another capture.
    apart = [firing(1), firing(2, daily(10))]
    assert [m.captures for m in forecast.load(apart, MONDAY, MONDAY + DAY).values()] == [1, 1]


def test_a_report_that_spreads_its_slots_counts_where_it_begins() -> None:
    many = [firing(number, spread=3_600.0, captures=[]) for number in range(200)]
    minutes = forecast.load(many, MONDAY, MONDAY + DAY)
    assert len(minutes) > 30
    assert sum(minute.runs for minute in minutes.values()) == 200
    slot = MONDAY + dt.timedelta(hours=9)
    late = schedule.aside(7, slot, slot + DAY, 3_600.0)
    begins = (slot + dt.timedelta(seconds=late)).replace(second=0, microsecond=0)
    assert begins in minutes


def test_a_sample_stands_for_the_others() -> None:
    [minute] = forecast.load([firing(weight=20.0)], MONDAY, MONDAY + DAY).values()
    assert minute == Minute(20, 20, 50.0)


def at(minute: int, seconds: float) -> tuple[dt.datetime, Minute]:
    return MONDAY + dt.timedelta(minutes=minute), Minute(1, 1, seconds)


@pytest.mark.parametrize(
    ("load", "workers", "longest", "worst"),
    [
        # One peak: its work, shared out.
        ([at(0, 600)], 2, 300.0, 0),
        # The second comes before the first is done.
        ([at(0, 600), at(1, 600)], 2, 540.0, 1),
        # Or long after.
        ([at(0, 600), at(60, 300)], 2, 300.0, 0),
        ([], 3, 0.0, None),
    ],
)
def test_what_waits_is_worked_off_in_its_order(
    load: list[tuple[dt.datetime, Minute]], workers: int, longest: float, worst: int | None
) -> None:
    found = forecast.outlook(dict(load), workers)
    assert found.longest == longest
    moment = None if worst is None else MONDAY + dt.timedelta(minutes=worst)
    assert found.at == moment
    assert found.drained == (moment and moment + dt.timedelta(seconds=longest))


def test_the_fewest_workers_are_found_with_whom_nothing_is_late() -> None:
    load = dict([at(0, 6_000), at(3, 100), at(90, 40)])
    needed = forecast.workers_for(load, 600)
    assert needed.workers == 10
    assert needed.longest <= 600
    assert forecast.outlook(load, 9).longest > 600
    assert forecast.workers_for(dict([at(0, 1)]), 600).workers == 1


def test_hours_are_those_of_a_clock_and_name_their_peak() -> None:
    load = dict([at(30, 10), at(45, 20), at(61, 5)])
    hours = forecast.by_hour(load, lambda moment: moment + dt.timedelta(minutes=30))
    assert [(hour.seconds, hour.peak_at) for hour in hours.values()] == [
        (35.0, MONDAY + dt.timedelta(minutes=45))
    ]


def test_durations_are_told_as_people_say_them() -> None:
    assert [forecast.rounded(seconds) for seconds in (0.2, 89, 90, 3_601)] == [
        *("1 s", "89 s", "2 min", "61 min")
    ]
