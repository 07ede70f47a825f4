from __future__ import annotations

import datetime as dt

from beat.plan import MISSED_ROWS, plan
from shared.schedule import Schedule

DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)
START = dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC)
DAILY = Schedule(frequency="daily", time_zone="UTC", start=START)
HOURLY = Schedule(frequency="hourly", time_zone="UTC", start=START)


def test_a_report_claimed_in_time_runs_for_its_slot() -> None:
    decided = plan(DAILY, START, START + dt.timedelta(milliseconds=5), DAY)
    assert decided.slot == START
    assert not decided.missed
    assert decided.next_run_at == START + DAY


def test_of_several_missed_slots_the_latest_runs_and_the_others_are_told_of() -> None:
    decided = plan(HOURLY, START, START + 3 * HOUR + dt.timedelta(minutes=30), DAY)
    assert decided.slot == START + 3 * HOUR
    assert list(decided.missed) == [START, START + HOUR, START + 2 * HOUR]
    assert decided.next_run_at == START + 4 * HOUR


def test_a_slot_older_than_the_catch_up_time_is_missed_and_not_run() -> None:
    decided = plan(DAILY, START, START + 20 * HOUR, 6 * HOUR)
    assert decided.slot is None
    assert list(decided.missed) == [START]
    assert decided.next_run_at == START + DAY


def test_the_list_of_missed_slots_is_bounded_and_keeps_the_newest() -> None:
    now = START + 1000 * HOUR
    decided = plan(HOURLY, START, now, DAY)
    assert len(decided.missed) == MISSED_ROWS
    assert decided.more_missed
    assert decided.missed[-1] == now - HOUR
    assert decided.slot == now


def test_a_report_that_ran_once_has_no_next_slot() -> None:
    once = Schedule(frequency="once", time_zone="UTC", start=START)
    decided = plan(once, START, START, DAY)
    assert decided.slot == START
    assert decided.next_run_at is None


def test_a_cached_slot_that_the_rule_no_longer_has_is_not_run() -> None:
    ten = Schedule(frequency="daily", time_zone="UTC", start=START + HOUR)
    decided = plan(ten, START, START, DAY)
    assert decided.slot is None
    assert not decided.missed
    assert decided.next_run_at == START + HOUR
