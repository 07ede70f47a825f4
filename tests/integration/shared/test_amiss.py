"""What keeps reports from going out is said, and said to the log by whoever is there."""

from __future__ import annotations

import datetime as dt

import structlog

from shared import admission, amiss, db, presence, runs
from shared.amiss import Watch
from shared.presence import Process
from shared.spec import DashboardSpec, RunSpec

BEAT = Process(name="a:1", role="beat", version="1")
RENDER = Process(name="a:2", role="worker", queues=["render"], version="1")
DELIVER = Process(name="a:3", role="worker", queues=["deliver"], version="1")


def read(pool: db.Pool) -> list[str]:
    with db.transaction(pool) as conn:
        return amiss.read(conn)


def test_who_is_missing_is_named_until_he_is_there(pool: db.Pool) -> None:
    assert [sentence.partition(":")[0] for sentence in read(pool)] == [
        "No beat is there",
        "No worker listens to the queue deliver. Start one with -Q deliver.",
        "No worker listens to the queue render. Start one with -Q render.",
    ]
    with db.transaction(pool) as conn:
        for process in (BEAT, RENDER, DELIVER):
            presence.renew(conn, process)
    assert read(pool) == []


def test_a_task_that_nobody_takes_is_told_within_a_minute_in_history_and_log(
    pool: db.Pool,
) -> None:
    """As where the workers are there and hang."""
    watch = Watch()
    with db.transaction(pool) as conn:
        for process in (BEAT, RENDER, DELIVER):
            presence.renew(conn, process)
        new = runs.NewRun(
            org_id=1,
            report_id=None,
            report_revision=None,
            kind=runs.TEST,
            scheduled_for=dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC),
            spec=RunSpec(name="Weekly", dashboards=(DashboardSpec(uid="a"),)),
        )
        assert admission.insert(conn, new)
        with structlog.testing.capture_logs() as logs:
            watch.look(conn)
        assert logs == []
        conn.execute("UPDATE task SET not_before = now() - interval '50 seconds'")
        with structlog.testing.capture_logs() as logs:
            for _ in range(Watch.AGAIN + 1):
                watch.look(conn)
    # Said when it begins, and again after a while.
    assert [(log["event"], log["log_level"]) for log in logs] == [("service.amiss", "error")] * 2
    assert logs[0]["sentence"].startswith("A task to render (interactive) waits since 5")
