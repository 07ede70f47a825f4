"""How often somebody may call, counted in a real database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from shared import db, rates
from shared.settings import Rate

#: Shares of a third of a day: none comes back while a test runs.
RATE = Rate(3, 86_400)
SHARE = 86_400 / 3


def take(pool: db.Pool, key: str = "calls token:1", rate: Rate = RATE) -> float:
    with db.transaction(pool) as conn:
        return rates.take(conn, key, rate)


def pass_time(pool: db.Pool, seconds: float) -> None:
    """As if that time had passed: all that is stored is one moment per key."""
    with db.transaction(pool) as conn:
        conn.execute(
            "UPDATE call_rate SET whole_at = whole_at - make_interval(secs => %s)", [seconds]
        )


def test_so_many_calls_pass_at_once_and_the_next_is_told_how_long_to_wait(pool: db.Pool) -> None:
    assert [take(pool) for _ in range(3)] == [0, 0, 0]
    assert take(pool) == pytest.approx(SHARE, abs=5)
    assert take(pool, "calls token:2") == 0


def test_shares_come_back_one_by_one_and_a_refused_call_costs_none(pool: db.Pool) -> None:
    for _ in range(9):
        take(pool)
    pass_time(pool, SHARE)
    assert take(pool) == 0
    assert take(pool) > 0
    pass_time(pool, 10 * SHARE)
    assert [take(pool) for _ in range(3)] == [0, 0, 0]
    assert take(pool) > 0


def test_callers_at_the_same_moment_get_no_more_than_one_after_the_other(pool: db.Pool) -> None:
    with ThreadPoolExecutor(8) as crowd:
        waits = list(crowd.map(lambda _: take(pool), range(40)))
    assert waits.count(0) == 3


def test_what_says_nothing_any_more_is_deleted_by_those_who_call(pool: db.Pool) -> None:
    for number in range(rates.SWEPT):
        take(pool, f"calls token:{number}")
    pass_time(pool, 2 * 86_400)
    take(pool, "calls token:9")
    with db.transaction(pool) as conn:
        rows = conn.execute("SELECT key FROM call_rate").fetchall()
    assert rows == [{"key": "calls token:9"}]
