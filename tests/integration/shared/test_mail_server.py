"""What mailers of several processes tell each other through one row."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from shared import db, mail_server
from shared.mail_server import FAILURES, MailServer

NAME = "mail.example.org:25"


def fail(pool: db.Pool, times: int = FAILURES) -> None:
    for _ in range(times):
        with db.transaction(pool) as conn:
            mail_server.change(
                conn, NAME, lambda server, now: server.failed(now, "refused", configuration=False)
            )


def turn(pool: db.Pool, rate: float = 0.0) -> mail_server.Turn:
    with db.transaction(pool) as conn:
        return mail_server.take_turn(conn, NAME, rate)


def test_a_server_that_nobody_has_told_of_is_well_and_costs_no_row(pool: db.Pool) -> None:
    assert turn(pool).go
    with db.transaction(pool) as conn:
        assert mail_server.get(conn, NAME) == MailServer(name=NAME)
        assert mail_server.find(conn) == []


def test_what_one_mailer_tells_all_know(pool: db.Pool) -> None:
    fail(pool, FAILURES - 1)
    assert turn(pool).go
    fail(pool, 1)
    assert not turn(pool).go
    with db.transaction(pool) as conn:
        mail_server.change(conn, NAME, lambda server, now: server.took(now))
    assert turn(pool).go


def test_failures_at_once_are_all_counted(pool: db.Pool) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: fail(pool, 1), range(16)))
    with db.transaction(pool) as conn:
        [server] = mail_server.find(conn)
    assert (server.failures, server.openings) == (16, 1)


def test_of_many_that_ask_at_once_one_probes(pool: db.Pool) -> None:
    fail(pool)
    with db.transaction(pool) as conn:
        conn.execute("UPDATE mail_server SET open_until = now() - interval '1 second'")
    with ThreadPoolExecutor(8) as threads:
        turns = list(threads.map(lambda _: turn(pool), range(16)))
    assert sum(turn.go for turn in turns) == 1


def test_the_rate_holds_for_all_together(pool: db.Pool) -> None:
    begun, places = time.monotonic(), []

    def ask(_: int) -> None:
        mine = turn(pool, rate=50.0)
        if mine.go:
            places.append(time.monotonic() - begun + mine.wait)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(40)))
    places.sort()
    # The first at once, the others 20 ms apart; the clocks here and there tick differently.
    assert len(places) >= 30
    assert (places[-1] - places[0]) >= (len(places) - 1) / 50 - 0.1


@pytest.mark.parametrize(
    "change",
    [
        "failures = 1",
        "openings = 1",
        "open_until = now()",
        "probe_until = now()",
        "throttles = 1",
        "quiet_until = now()",
        "cause = 'x'",
        "configuration = true",
        "size_limit = 0",
    ],
)
def test_a_row_that_makes_no_sense_is_refused(pool: db.Pool, change: str) -> None:
    with db.transaction(pool) as conn:
        mail_server.change(conn, NAME, lambda server, _: server.sized(1000))
    with pytest.raises(psycopg.errors.CheckViolation), db.transaction(pool) as conn:
        conn.execute(f"UPDATE mail_server SET {change}")
