from __future__ import annotations

import datetime as dt

import psycopg
import pytest

from shared import admission, db, runs, tasks
from shared.errors import LostLease
from shared.spec import DashboardSpec, RunSpec

SLOT = dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC)


def new_run(pool: db.Pool) -> tuple[int, list[tasks.Ring]]:
    with db.transaction(pool) as conn:
        made = admission.insert(
            conn,
            runs.NewRun(
                org_id=1,
                report_id=None,
                report_revision=None,
                kind=runs.TEST,
                scheduled_for=SLOT,
                spec=RunSpec(name="r", dashboards=(DashboardSpec(uid="a"), DashboardSpec(uid="b"))),
            ),
        )
    assert made
    return made


def test_a_run_comes_with_a_capture_and_a_task_for_each_dashboard(pool: db.Pool) -> None:
    run_id, rings = new_run(pool)
    assert len(rings) == 2
    with db.transaction(pool) as conn:
        run = runs.get(conn, run_id)
    assert run and run.state == "queued" and run.spec.dashboards[1].uid == "b"


def test_of_two_workers_one_gets_the_task(pool: db.Pool) -> None:
    _, rings = new_run(pool)
    with db.transaction(pool) as conn:
        first = tasks.claim(conn, rings[0].task_id, "render", "one", lease=60)
    with db.transaction(pool) as conn:
        second = tasks.claim(conn, rings[0].task_id, "render", "two", lease=60)
    assert first and first.attempt == 1
    assert second is None


def test_a_worker_whose_lease_was_taken_over_stores_nothing(pool: db.Pool) -> None:
    run_id, rings = new_run(pool)
    with db.transaction(pool) as conn:
        stale = tasks.claim(conn, rings[0].task_id, "render", "one", lease=60)
        assert stale
        tasks.release(conn, stale, after=0)
    with db.transaction(pool) as conn:
        assert tasks.claim(conn, rings[0].task_id, "render", "two", lease=60)
    with pytest.raises(LostLease), db.transaction(pool) as conn:
        runs.finish(conn, run_id, "failed", "the stale worker says so")
        tasks.complete(conn, stale)
    with db.transaction(pool) as conn:
        run = runs.get(conn, run_id)
    assert run and run.state == "queued"


def test_a_task_given_back_for_later_is_not_taken_before(pool: db.Pool) -> None:
    _, rings = new_run(pool)
    with db.transaction(pool) as conn:
        claim = tasks.claim(conn, rings[0].task_id, "render", "one", lease=60)
        assert claim
        tasks.release(conn, claim, after=60)
    with db.transaction(pool) as conn:
        assert tasks.claim(conn, rings[0].task_id, "render", "two", lease=60) is None


def test_a_task_is_rung_once_and_again_only_when_its_message_must_be_lost(pool: db.Pool) -> None:
    new_run(pool)
    with db.transaction(pool) as conn:
        assert tasks.take_unheard(conn, tasks.RENDER) == []  # whoever added them rings first
        conn.execute("UPDATE task SET ring_at = now()")
    with db.transaction(pool) as conn:
        assert len(tasks.take_unheard(conn, tasks.RENDER)) == 2
    with db.transaction(pool) as conn:
        assert tasks.take_unheard(conn, tasks.RENDER) == []
        conn.execute("UPDATE task SET ring_at = now()")
    with db.transaction(pool) as conn:
        assert len(tasks.take_unheard(conn, tasks.RENDER)) == 2


def test_an_expired_lease_is_found(pool: db.Pool) -> None:
    _, rings = new_run(pool)
    with db.transaction(pool) as conn:
        claim = tasks.claim(conn, rings[0].task_id, "render", "one", lease=60)
        assert claim
        assert tasks.renew(conn, claim)
        conn.execute("UPDATE task SET lease_until = now() - interval '1 s' WHERE owner = 'one'")
    with db.transaction(pool) as conn:
        assert tasks.expired(conn, limit=5) == [claim.task_id]


def test_an_impossible_row_is_refused_by_the_database(pool: db.Pool) -> None:
    run_id, _ = new_run(pool)
    with pytest.raises(psycopg.errors.CheckViolation), db.transaction(pool) as conn:
        conn.execute("UPDATE run SET state = 'failed' WHERE id = %s", [run_id])


def test_what_a_person_waits_for_is_rung_for_again_however_much_else_is_rung_for(
    pool: db.Pool,
) -> None:
    for _ in range(40):
        new_run(pool)
    with db.transaction(pool) as conn:
        conn.execute("UPDATE task SET lane = 'scheduled', ring_at = now() - interval '1 minute'")
        while tasks.take_unheard(conn, tasks.RENDER):
            pass  # until the window is full
    _, rings = new_run(pool)
    with db.transaction(pool) as conn:
        ids = [ring.task_id for ring in rings]
        conn.execute("UPDATE task SET ring_at = now() WHERE id = ANY(%s)", [ids])
        found = tasks.take_unheard(conn, tasks.RENDER)
    assert {ring.task_id for ring in found} == set(ids)
