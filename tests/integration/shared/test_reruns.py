"""Taking up again what was not sent, and nothing that was."""

from __future__ import annotations

import datetime as dt

import pytest

from shared import admission, captures, db, deliveries, reruns, restores, runs
from shared.reruns import DELIVER, RENDER, Rerun
from shared.spec import DashboardSpec, RunSpec
from tests.integration.shared.ledgers import ledger_of


@pytest.fixture
def failed(pool: db.Pool) -> int:
    """A run that failed before it was rendered."""
    with db.transaction(pool) as conn:
        made = admission.insert(
            conn,
            runs.NewRun(
                org_id=1,
                report_id=None,
                report_revision=None,
                kind=runs.API,
                scheduled_for=dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC),
                spec=RunSpec(name="Weekly", dashboards=(DashboardSpec(uid="a"),)),
            ),
        )
        assert made
        runs.start(conn, [made[0]])
        captures.failed(conn, 1, "Grafana was away.")
        conn.execute("DELETE FROM task")
        assert runs.finish(conn, made[0], "failed", "Grafana was away.")
    return made[0]


def rerun(pool: db.Pool, run_id: int) -> Rerun:
    with db.transaction(pool) as conn:
        return reruns.rerun(conn, run_id, who="ann", lifetime=3_600)


def get(pool: db.Pool, run_id: int) -> runs.Run:
    with db.transaction(pool) as conn:
        run = runs.get(conn, run_id)
    assert run
    return run


def test_what_was_not_rendered_waits_for_its_turn_for_the_same_slot(
    pool: db.Pool, failed: int
) -> None:
    slot = get(pool, failed).scheduled_for
    assert rerun(pool, failed).what == RENDER
    run = get(pool, failed)
    assert (run.state, run.cause, run.finished_at, run.scheduled_for) == (
        "queued",
        None,
        None,
        slot,
    )
    turn = admission.Turn()
    with db.transaction(pool) as conn:
        waiting = admission.lock_waiting(conn, turn, room=10)
        assert [one.id for one in waiting] == [failed]
        rings = admission.admit(conn, waiting)
        # What it showed before is not shared again.
        states = [one.state for one in captures.of_run(conn, failed)]
        left = conn.execute("SELECT count(*) AS n FROM capture").fetchone()
    assert ([ring.kind for ring in rings], states, left) == (["render"], ["queued"], {"n": 1})


def test_what_was_rendered_goes_on_with_the_failed_mails_only(pool: db.Pool) -> None:
    sent, failed, unknown = ledger_of(pool, "sent", "failed", "unknown")
    done = rerun(pool, sent.run_id)
    assert (done.what, done.mails, len(done.rings)) == (DELIVER, 1, 1)
    with db.transaction(pool) as conn:
        states = [entry.state for entry in deliveries.of_run(conn, sent.run_id)]
        again = deliveries.get(conn, failed.id)
    assert states == ["sent", "retry", "unknown"]
    assert again
    assert (again.message_id, again.cause) == (
        failed.message_id,
        "It is sent again, since ann wants it so.",
    )
    assert get(pool, sent.run_id).state == "delivering"
    assert unknown.state == "unknown"


def test_mails_of_which_nobody_knows_are_left_to_be_resolved(pool: db.Pool) -> None:
    sent, _ = ledger_of(pool, "sent", "unknown")
    assert "resolve them" in rerun(pool, sent.run_id).refusal
    assert get(pool, sent.run_id).state == "partial"


@pytest.mark.parametrize("state", ["sent", "cancelled"])
def test_what_needs_nothing_is_left_alone(pool: db.Pool, failed: int, state: str) -> None:
    with db.transaction(pool) as conn:
        conn.execute("UPDATE run SET state = %s", [state])
    refusal = rerun(pool, failed).refusal
    assert refusal == f"It is {state}; only failed, partial, missed, skipped runs of reports are."
    assert rerun(pool, 99).refusal == "There is no such run."
    assert get(pool, failed).state == state


def test_of_two_who_take_up_the_same_run_the_second_finds_it_under_way(
    pool: db.Pool, failed: int
) -> None:
    assert not rerun(pool, failed).refusal
    assert "It is queued" in rerun(pool, failed).refusal


def test_a_plan_changes_nothing(pool: db.Pool, failed: int) -> None:
    with db.transaction(pool) as conn:
        assert reruns.plan(conn, failed).what == RENDER
    assert get(pool, failed).state == "failed"


def test_runs_are_found_by_how_and_since_when_they_ended(pool: db.Pool, failed: int) -> None:
    with db.transaction(pool) as conn:
        day = dt.timedelta(days=1)
        assert reruns.find(conn, ["failed"], since=day) == [failed]
        assert reruns.find(conn, ["failed"], since=day, org_id=2) == []
        assert reruns.find(conn, ["missed"], since=day) == []
        conn.execute("UPDATE run SET cause = %s", [restores.CAUSE])
        # It may have gone out before the restore: a person names it, or leaves it.
        assert reruns.find(conn, ["failed"], since=day) == []
        conn.execute("UPDATE run SET cause = 'c', finished_at = now() - interval '2 days'")
        assert reruns.find(conn, ["failed"], since=day) == []
