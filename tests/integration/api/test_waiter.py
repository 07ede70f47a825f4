"""Waiting for runs, with the real thread and a real LISTEN connection."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from api.app import create_app
from api.waiter import NoSlot, Waiter
from shared import admission, db, runs
from shared.spec import DashboardSpec, RunSpec
from tests.integration.api.fakes import NOW, Caller, report_body

#: Far longer than any of this takes; only a failing test waits so long.
PATIENCE = 30.0


@pytest.fixture
def open_waiter(database_url: str) -> Iterator[Callable[..., Waiter]]:
    opened: list[Waiter] = []

    def start(**how: float) -> Waiter:
        waiter = Waiter(database_url, **{"slots": 4, "poll": PATIENCE, **how})
        opened.append(waiter)
        waiter.start()
        assert waiter.listening.wait(PATIENCE)
        return waiter

    yield start
    for waiter in opened:
        waiter.close()


def new_run(pool: db.Pool) -> int:
    with db.transaction(pool) as conn:
        made = admission.insert(
            conn,
            runs.NewRun(
                org_id=1,
                report_id=None,
                report_revision=None,
                kind=runs.TEST,
                scheduled_for=NOW,
                spec=RunSpec(name="r", dashboards=(DashboardSpec(uid="x"),)),
            ),
        )
    assert made
    return made[0]


def end(pool: db.Pool, run_id: int) -> None:
    with db.transaction(pool) as conn:
        assert runs.finish(conn, run_id, "sent")


def test_a_notification_ends_the_waiting_long_before_the_poll(pool, open_waiter):
    waiter = open_waiter()
    run_id = new_run(pool)
    with waiter.slot() as slot:
        slot.expect(run_id)
        end(pool, run_id)
        assert slot.wait(PATIENCE / 2)


def test_a_run_that_ended_before_it_was_watched_is_found_by_the_poll(pool, open_waiter):
    waiter = open_waiter(poll=0.05)
    run_id = new_run(pool)
    end(pool, run_id)
    with waiter.slot() as slot:
        slot.expect(run_id)
        assert slot.wait(PATIENCE)


def test_the_end_of_another_run_wakes_nobody(pool, open_waiter):
    waiter = open_waiter()
    mine, other = new_run(pool), new_run(pool)
    with waiter.slot() as slot, waiter.slot() as second:
        slot.expect(mine)
        second.expect(other)
        end(pool, other)
        assert second.wait(PATIENCE)
        assert not slot.wait(0)


def test_after_a_lost_connection_it_listens_again(pool, open_waiter, postgres_url):
    waiter = open_waiter()
    run_id = new_run(pool)
    with waiter.slot() as slot:
        slot.expect(run_id)
        with psycopg.connect(postgres_url, autocommit=True) as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'broadsheet-wait'"
            )
        end(pool, run_id)
        assert slot.wait(PATIENCE)


def test_no_more_wait_than_there_are_slots_and_slots_come_back(open_waiter):
    waiter = open_waiter(slots=1)
    with waiter.slot(), pytest.raises(NoSlot), waiter.slot():
        pass
    with waiter.slot():
        pass


def test_closing_releases_whoever_waits(pool, open_waiter):
    waiter = open_waiter()
    with ThreadPoolExecutor() as threads, waiter.slot() as slot:
        slot.expect(new_run(pool))
        waiting = threads.submit(slot.wait, PATIENCE)
        waiter.close()
        assert waiting.result(PATIENCE)


def test_a_mail_call_waits_for_the_workers_without_holding_a_connection(
    settings, pool, bell, grafana, clock, open_waiter, token
):
    """Sixteen callers, a pool of eight connections, and one worker that ends what it is told of."""
    waiter = open_waiter(slots=16)
    rung = threading.Semaphore(0)
    ring = bell.ring
    bell.ring = lambda rings: [ring(rings), rung.release()][0]
    app = create_app(settings, pool=pool, bell=bell, grafana=grafana, waiter=waiter, clock=clock)
    somebody = Caller(app.test_client(), token(role="Admin"))

    def send(number: int) -> int:
        mine = Caller(app.test_client(), None)
        mine.headers = somebody.headers
        # Equal captures would be shared, and rung for once.
        own = {"dashboard": {"uid": "x"}, "reportVariables": {"n": str(number)}}
        return mine("POST", "/api/reports/test-email", report_body(dashboards=[own]))[0]

    with ThreadPoolExecutor(max_workers=16) as threads:
        answers = threads.map(send, range(16))
        for _ in range(16):
            assert rung.acquire(timeout=PATIENCE)
        with db.transaction(pool) as conn:
            started = conn.execute("SELECT id FROM run").fetchall()
        assert len(started) == 16
        for row in started:
            end(pool, row["id"])
        assert list(answers) == [200] * 16


def test_one_caller_too_many_is_429_and_starts_no_run(
    settings, pool, bell, grafana, clock, open_waiter, token
):
    waiter = open_waiter(slots=1)
    app = create_app(settings, pool=pool, bell=bell, grafana=grafana, waiter=waiter, clock=clock)
    somebody = Caller(app.test_client(), token(role="Admin"))
    with waiter.slot():
        answer = somebody.ask("POST", "/api/reports/test-email", report_body())
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    with db.transaction(pool) as conn:
        assert conn.execute("SELECT count(*) AS n FROM run").fetchone()["n"] == 0


def test_at_the_deadline_the_answer_is_504(
    settings, pool, bell, grafana, clock, open_waiter, token
):
    app = create_app(
        replace(settings, wait_timeout=0.1),
        pool=pool,
        bell=bell,
        grafana=grafana,
        waiter=open_waiter(),
        clock=clock,
    )
    somebody = Caller(app.test_client(), token(role="Admin"))
    answer = somebody.ask("POST", "/api/reports/test-email", report_body())
    assert answer.status_code == 504
    assert somebody("GET", answer.headers["Location"])[1]["state"] == "queued"
