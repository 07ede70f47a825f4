"""Resolving what is unknown: once, by whom, and what becomes of the run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from shared import db, deliveries, resolutions, runs
from shared.resolutions import AGAIN, SENT, Resolver
from tests.integration.shared.ledgers import ledger_of

ANN = Resolver(who="Ann's token", through="api", token_id=4)
ROOT = Resolver(who="root", through="command line")


@pytest.fixture
def unknown(pool: db.Pool) -> list[deliveries.Delivery]:
    """The ledger of a run that ended with a mail sent, one unknown, and one failed."""
    return ledger_of(pool, "sent", "unknown", "failed")


def resolve(
    pool: db.Pool, delivery_id: int, verdict: str, resolver: Resolver = ANN
) -> resolutions.Resolved | None:
    with db.transaction(pool) as conn:
        return resolutions.resolve(conn, delivery_id, verdict, resolver)


def now(pool: db.Pool, entry: deliveries.Delivery) -> tuple[deliveries.Delivery, runs.Run]:
    with db.transaction(pool) as conn:
        delivery, run = deliveries.get(conn, entry.id), runs.get(conn, entry.run_id)
    assert delivery and run
    return delivery, run


def test_as_sent_the_run_is_settled_anew(pool: db.Pool) -> None:
    first, second = ledger_of(pool, "unknown", "unknown")
    ended = now(pool, first)[1].finished_at
    resolved = resolve(pool, first.id, SENT)
    assert resolved == resolutions.Resolved(run_state="partial", rings=[])
    delivery, run = now(pool, first)
    assert (delivery.state, delivery.cause) == ("sent", None)
    assert (run.state, run.cause) == ("partial", "1@example.org: no answer")
    assert resolve(pool, second.id, SENT)
    run = now(pool, first)[1]
    assert (run.state, run.cause, run.finished_at) == ("sent", None, ended)


def test_again_the_run_is_delivering_with_a_task_and_the_same_message(
    pool: db.Pool, unknown: list[deliveries.Delivery]
) -> None:
    entry = unknown[1]
    resolved = resolve(pool, entry.id, AGAIN)
    assert resolved and resolved.run_state == "delivering"
    [ring] = resolved.rings
    assert (ring.kind, ring.lane) == ("deliver", "interactive")
    delivery, run = now(pool, entry)
    assert (delivery.state, delivery.message_id) == ("retry", entry.message_id)
    assert delivery.since > entry.since
    assert (run.state, run.finished_at, run.cause) == ("delivering", None, None)


def test_a_run_that_is_still_delivering_goes_on(pool: db.Pool) -> None:
    entry, _ = ledger_of(pool, "unknown", "sending")
    resolved = resolve(pool, entry.id, SENT)
    assert resolved and resolved.run_state == "delivering"


def test_who_decided_what_and_when_is_kept(
    pool: db.Pool, unknown: list[deliveries.Delivery]
) -> None:
    entry = unknown[1]
    resolve(pool, entry.id, AGAIN, ROOT)
    with db.transaction(pool) as conn:
        deliveries.start(conn, entry.id, 2)
        deliveries.finish(conn, entry.id, "unknown", None, "no answer, once more")
        deliveries.settle_run(conn, entry.run_id)
    resolve(pool, entry.id, SENT, ANN)
    with db.transaction(pool) as conn:
        decided = resolutions.of_run(conn, entry.run_id)
    assert [
        (one.attempt, one.verdict, one.through, one.token_id, one.who, one.cause)
        for one in decided[entry.id]
    ] == [
        (1, "again", "command line", None, "root", "no answer"),
        (2, "sent", "api", 4, "Ann's token", "no answer, once more"),
    ]


def test_only_what_is_unknown_is_resolved(
    pool: db.Pool, unknown: list[deliveries.Delivery]
) -> None:
    sent, _, failed = unknown
    for entry in (sent, failed):
        assert resolve(pool, entry.id, AGAIN) is None
        assert now(pool, entry)[0] == entry
    assert resolve(pool, 999, AGAIN) is None


@pytest.mark.parametrize("verdicts", [(AGAIN, AGAIN), (AGAIN, SENT), (SENT, SENT)])
def test_of_many_at_once_one_decides(
    pool: db.Pool, unknown: list[deliveries.Delivery], verdicts: tuple[str, str]
) -> None:
    entry = unknown[1]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda n: resolve(pool, entry.id, verdicts[n % 2]), range(8)))
    [resolved] = [one for one in found if one]
    with db.transaction(pool) as conn:
        tasks = conn.execute("SELECT count(*) AS n FROM task WHERE kind = 'deliver'").fetchone()
        assert len(resolutions.of_run(conn, entry.run_id)[entry.id]) == 1
    assert tasks and tasks["n"] == len(resolved.rings)


def test_what_is_sent_again_has_a_day_from_then_on(
    pool: db.Pool, unknown: list[deliveries.Delivery]
) -> None:
    entry = unknown[1]
    with db.transaction(pool) as conn:
        conn.execute(
            "UPDATE delivery SET created_at = created_at - interval '3 days', "
            "since = since - interval '3 days'"
        )
        assert deliveries.over(conn, entry.id)
    resolve(pool, entry.id, AGAIN)
    with db.transaction(pool) as conn:
        assert not deliveries.over(conn, entry.id)


def test_the_database_lets_no_attempt_be_resolved_twice_and_nothing_after_sent(
    pool: db.Pool, unknown: list[deliveries.Delivery]
) -> None:
    entry = unknown[1]
    resolve(pool, entry.id, SENT)
    insert = (
        "INSERT INTO resolution (delivery_id, attempt, verdict, cause, through, token_id, who) "
        "VALUES (%s, %s, %s, 'x', %s, %s, %s)"
    )
    for values, error in (
        ((entry.id, 1, AGAIN, "command line", None, "x"), psycopg.errors.UniqueViolation),
        ((entry.id, 2, SENT, "command line", None, "x"), psycopg.errors.UniqueViolation),
        ((entry.id, 2, "maybe", "command line", None, "x"), psycopg.errors.CheckViolation),
        ((entry.id, 2, AGAIN, "command line", 4, "x"), psycopg.errors.CheckViolation),
        ((entry.id, 2, AGAIN, "command line", None, ""), psycopg.errors.CheckViolation),
    ):
        with pytest.raises(error), db.transaction(pool) as conn:
            conn.execute(insert, values)


def test_a_ledger_that_makes_no_sense_is_refused(
    pool: db.Pool, unknown: list[deliveries.Delivery]
) -> None:
    for change in (
        "state = 'sent', cause = 'x' WHERE state = 'unknown'",
        "attempts = 0 WHERE state = 'unknown'",
        "attempts = -1",
        "attached = 'half'",
        "finished_at = NULL WHERE state = 'unknown'",
    ):
        with pytest.raises(psycopg.errors.CheckViolation), db.transaction(pool) as conn:
            conn.execute(f"UPDATE delivery SET {change}")
