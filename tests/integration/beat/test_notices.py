"""A slot that did not go out is told of, once, to whoever the report names."""

from __future__ import annotations

import datetime as dt

import pytest

from beat import notices
from beat.notices import Told
from shared import db, reports, runs
from shared.reports import Report
from shared.runs import NewSlot
from shared.schedule import Schedule
from shared.settings import Settings
from tests.fakes import RecordingBell

SLOT = dt.datetime(2026, 11, 2, 8, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
SETTINGS = Settings(public_url="https://reports.example.com")


@pytest.fixture
def report_id(pool: db.Pool) -> int:
    return stored(pool, failureRecipients="Olga <olga@example.com>, oskar@example.com")


def stored(pool: db.Pool, **options: object) -> int:
    report = Report(
        uid="u" + str(len(options)),
        org_id=1,
        user_id=1,
        name="Weekly",
        recipients=["a@example.com"],
        dashboards=[{"dashboard": {"uid": "a"}}],
        schedule=Schedule(frequency="daily", time_zone="Europe/Warsaw", start=SLOT),
        options=options,
        created=SLOT,
        updated=SLOT,
    )
    with db.transaction(pool) as conn:
        return reports.insert(conn, report)


def ended(pool: db.Pool, report_id: int, slot: dt.datetime, state: str = "failed") -> None:
    new = NewSlot(org_id=1, report_id=report_id, report_revision=1, scheduled_for=slot,
                  state=state, cause="Grafana was away.")  # fmt: skip
    with db.transaction(pool) as conn:
        runs.insert_slots(conn, [new], lifetime=60)


def told(pool: db.Pool, memory: Told | None = None) -> list[runs.Run]:
    notices.tell_owners(pool, RecordingBell(), memory or Told(), SETTINGS)
    with db.transaction(pool) as conn:
        return runs.find(conn, 1, None, kind=runs.NOTICE)


def test_the_notice_says_which_slot_what_became_of_it_and_why(
    pool: db.Pool, report_id: int
) -> None:
    ended(pool, report_id, SLOT)
    [notice] = told(pool)
    assert notice.spec.recipients == ("olga@example.com", "oskar@example.com")
    assert notice.spec.subject == "Weekly could not be sent"
    assert "Due: 2026-11-02 09:00 (Europe/Warsaw, +01:00)" in notice.spec.message
    assert "Cause: Grafana was away." in notice.spec.message
    assert "https://reports.example.com/api/reports/runs/1" in notice.spec.message


@pytest.mark.parametrize("state", ["failed", "missed", "skipped"])
def test_it_comes_once_whoever_looks_and_however_often(
    pool: db.Pool, report_id: int, state: str
) -> None:
    ended(pool, report_id, SLOT, state)
    memory = Told()
    told(pool, memory)
    told(pool, memory)
    assert len(told(pool, Told())) == 1


def test_of_many_slots_the_newest_is_told_of_with_the_number_of_the_others(
    pool: db.Pool, report_id: int
) -> None:
    for number in range(4):
        ended(pool, report_id, SLOT + number * DAY)
    [notice] = told(pool)
    assert notice.scheduled_for == SLOT + 3 * DAY
    assert "3 earlier slots" in notice.spec.message


def test_a_later_failure_is_told_of_again(pool: db.Pool, report_id: int) -> None:
    ended(pool, report_id, SLOT)
    memory = Told()
    told(pool, memory)
    ended(pool, report_id, SLOT + DAY)
    assert len(told(pool, memory)) == 2


def test_nobody_is_told_who_did_not_ask_or_of_what_went_out(pool: db.Pool) -> None:
    ended(pool, stored(pool), SLOT)
    assert told(pool) == []


def test_more_owners_than_one_look_finds_are_told_at_the_next(
    pool: db.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "BATCH", 1)
    first = stored(pool, failureRecipients="o@example.com")
    second = stored(pool, failureRecipients="o@example.com", timeZone="UTC")
    for report_id in (first, second):
        ended(pool, report_id, SLOT)
    with db.transaction(pool) as conn:
        conn.execute("UPDATE run SET finished_at = finished_at - interval '5 minutes'")
    memory = Told()
    told(pool, memory)
    assert len(told(pool, memory)) == 2
