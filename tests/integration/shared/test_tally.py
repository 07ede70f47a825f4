"""What is counted: every ending, once, for good."""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path

import pytest

from shared import admission, captures, db, deliveries, reruns, resolutions, retention, runs, tally
from shared.resolutions import Resolver
from shared.runs import NewSlot
from shared.spec import DashboardSpec, RunSpec
from tests.integration.shared.ledgers import ledger_of

ANN = Resolver(who="ann", through="command line")
SPEC = RunSpec(name="Weekly", dashboards=(DashboardSpec(uid="a"),))


def counted(pool: db.Pool, name: str) -> dict[tuple[str, str], int]:
    with db.transaction(pool) as conn:
        totals = tally.read(conn).get(name, ())
    found: dict[tuple[str, str], int] = {}
    for total in totals:
        key = (total.kind, total.state)
        found[key] = found.get(key, 0) + total.number
    return found


def fold(pool: db.Pool) -> None:
    with db.transaction(pool) as conn:
        tally.fold(conn)
        [left] = conn.execute("SELECT count(*) AS n FROM notch").fetchall()
    assert left["n"] == 0


def begun(pool: db.Pool, kind: str = runs.TEST) -> int:
    """Return a run that renders its only dashboard."""
    with db.transaction(pool) as conn:
        made = admission.insert(
            conn,
            runs.NewRun(
                org_id=1,
                report_id=None,
                report_revision=None,
                kind=kind,
                scheduled_for=dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC),
                spec=SPEC,
            ),
        )
        assert made
        runs.start(conn, [made[0]])
        [capture] = captures.of_run(conn, made[0])
        captures.start(conn, capture.id, 1)
    return made[0]


def end_capture(pool: db.Pool, run_id: int, *, complete: bool) -> None:
    with db.transaction(pool) as conn:
        [capture] = captures.of_run(conn, run_id)
        captures.told(conn, capture.id, facts={}, verdict={"complete": complete}, timings={})
        captures.done(conn, capture.id)


@pytest.mark.parametrize("folded", [False, True])
def test_a_run_that_is_taken_up_again_has_ended_twice(pool: db.Pool, folded: bool) -> None:
    run_id = begun(pool)
    with db.transaction(pool) as conn:
        runs.finish(conn, run_id, "failed", "c")
    assert counted(pool, tally.RUNS) == {("test", "failed"): 1}
    if folded:
        fold(pool)
    with db.transaction(pool) as conn:
        assert not reruns.rerun(conn, run_id, who="ann", lifetime=60).refusal
    assert counted(pool, tally.RUNS) == {("test", "failed"): 1}
    with db.transaction(pool) as conn:
        conn.execute("UPDATE run SET admitted_at = now()")
        runs.start(conn, [run_id])
        runs.finish(conn, run_id, "sent")
    if folded:
        fold(pool)
    assert counted(pool, tally.RUNS) == {("test", "failed"): 1, ("test", "sent"): 1}


@pytest.mark.parametrize("verdict", ["sent", "again"])
def test_resolving_a_mail_takes_nothing_back(pool: db.Pool, verdict: str) -> None:
    [_, unknown] = ledger_of(pool, "sent", "unknown")
    mails = {("", "sent"): 1, ("", "unknown"): 1}
    assert counted(pool, tally.DELIVERIES) == mails
    assert counted(pool, tally.RUNS) == {("test", "partial"): 1}
    with db.transaction(pool) as conn:
        resolutions.resolve(conn, unknown.id, verdict, ANN)
    if verdict == "again":
        assert counted(pool, tally.DELIVERIES) == mails
        assert counted(pool, tally.RUNS) == {("test", "partial"): 1}
        with db.transaction(pool) as conn:
            deliveries.start(conn, unknown.id, 2)
            deliveries.finish(conn, unknown.id, "sent", 250, None)
            deliveries.settle_run(conn, unknown.run_id)
    assert counted(pool, tally.DELIVERIES) == mails | {("", "sent"): 2}
    assert counted(pool, tally.RUNS) == {("test", "partial"): 1, ("test", "sent"): 1}


def test_what_is_deleted_stays_counted(pool: db.Pool) -> None:
    ledger_of(pool, "sent", "failed")
    before = counted(pool, tally.RUNS), counted(pool, tally.DELIVERIES)
    with db.transaction(pool) as conn:
        conn.execute("UPDATE run SET finished_at = now() - interval '1 h'")
        assert retention.forget_runs(conn, dt.timedelta(minutes=1)) == 1
    assert (counted(pool, tally.RUNS), counted(pool, tally.DELIVERIES)) == before


def test_an_ending_that_is_rolled_back_is_none(pool: db.Pool) -> None:
    run_id = begun(pool)
    with pytest.raises(ZeroDivisionError), db.transaction(pool) as conn:
        runs.finish(conn, run_id, "failed", "c")
        raise ZeroDivisionError
    assert counted(pool, tally.RUNS) == {}


def test_slots_are_counted_as_beat_wrote_them_down(pool: db.Pool) -> None:
    slots = [
        NewSlot(
            org_id=1,
            report_id=number,
            report_revision=1,
            scheduled_for=dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC),
            state=state,
            cause="c",
        )
        for number, state in enumerate(["queued", "queued", "missed", "skipped"], start=1)
    ]
    with db.transaction(pool) as conn:
        # Without the reports that they are of.
        conn.execute("ALTER TABLE run DROP CONSTRAINT run_report_id_fkey")
        runs.insert_slots(conn, slots, lifetime=60)
        totals = tally.read(conn)
        conn.rollback()
    assert {(one.state, one.number) for one in totals[tally.SLOTS]} == {
        ("queued", 2),
        ("missed", 1),
        ("skipped", 1),
    }
    assert {(one.kind, one.state, one.number) for one in totals[tally.RUNS]} == {
        ("schedule", "missed", 1),
        ("schedule", "skipped", 1),
    }


def test_captures_are_told_apart_by_what_came_of_them(pool: db.Pool) -> None:
    end_capture(pool, begun(pool), complete=True)
    end_capture(pool, begun(pool), complete=False)
    failed, dropped = begun(pool), begun(pool)
    with db.transaction(pool) as conn:
        [capture] = captures.of_run(conn, failed)
        captures.failed(conn, capture.id, "Grafana was away.")
        assert runs.cancel(conn, dropped, "not wanted")
        [capture] = captures.of_run(conn, dropped)
        captures.failed(conn, capture.id, captures.UNWANTED)
    assert counted(pool, tally.CAPTURES) == {
        ("", outcome): 1 for outcome in ("complete", "incomplete", "failed", "unwanted")
    }


def test_lag_and_duration_fall_into_buckets_that_folding_keeps(pool: db.Pool) -> None:
    run_id = begun(pool)
    with db.transaction(pool) as conn:
        conn.execute("UPDATE run SET started_at = now() - interval '90 s'")
        runs.finish(conn, run_id, "sent")
    for _ in range(2):
        with db.transaction(pool) as conn:
            totals = tally.read(conn)
        [lag], [duration] = totals[tally.LAG], totals[tally.DURATION]
        assert (lag.kind, lag.le, lag.number) == ("test", 1.0, 1)
        assert (duration.kind, duration.le, duration.number) == ("test", 120.0, 1)
        assert 90 <= duration.seconds < 120
        fold(pool)


def test_what_is_longer_than_all_buckets_is_in_the_last(pool: db.Pool) -> None:
    with db.transaction(pool) as conn:
        conn.execute("INSERT INTO notch (name, kind, seconds) VALUES ('run_lag', 'api', 1e5)")
        [lag] = tally.read(conn)[tally.LAG]
    assert lag.le == math.inf


def test_an_organisations_own_transaction_counts_and_cannot_count_by_itself(pool: db.Pool) -> None:
    run_id = begun(pool)
    with db.org_transaction(pool, 1) as conn:
        assert runs.cancel(conn, run_id, "not wanted")
    assert counted(pool, tally.RUNS) == {("test", "cancelled"): 1}
    with pytest.raises(Exception, match="permission denied"), db.org_transaction(pool, 1) as conn:
        tally.notch(conn, tally.RUNS, kind="test", state="sent")


def test_two_beats_fold_the_same_once_and_who_asks_meanwhile_finds_all(pool: db.Pool) -> None:
    ledger_of(pool, "sent")
    expected = counted(pool, tally.RUNS)
    with db.transaction(pool) as first:
        tally.fold(first)
        with db.transaction(pool) as second:
            tally.fold(second)
        assert counted(pool, tally.RUNS) == expected
    assert counted(pool, tally.RUNS) == expected


def test_the_migration_may_be_repeated_where_it_broke_off(pool: db.Pool, checkout: Path) -> None:
    ledger_of(pool, "sent", "unknown")
    before = counted(pool, tally.RUNS), counted(pool, tally.DELIVERIES)
    text = (checkout / "shared" / "migrations" / "0009_tallies.sql").read_text(encoding="utf-8")
    with db.transaction(pool) as conn:
        conn.execute(text.encode())
    assert (counted(pool, tally.RUNS), counted(pool, tally.DELIVERIES)) == before
