"""What is no longer kept goes, the oldest first; what may still be needed stays."""

from __future__ import annotations

import datetime as dt

import pytest

from beat import keeping
from beat.keeping import Memory
from shared import captures, db, deliveries, documents, retention, runs
from shared.settings import Settings
from shared.storage import Storage
from tests.integration.shared.ledgers import ledger_of

DAY = dt.timedelta(days=1)


def make(pool: db.Pool, days_ago: int, *states: str) -> int:
    """A run that ended so many days ago, with a file of ten bytes and mails in these states."""
    with db.transaction(pool) as conn:
        # The slot of each is another.
        conn.execute("UPDATE run SET scheduled_for = scheduled_for - interval '1 day'")
    [first, *_] = ledger_of(pool, *states)
    with db.transaction(pool) as conn:
        documents.put(conn, first.run_id, "pdf", "a.pdf", b"0123456789")
        conn.execute(
            "UPDATE run SET finished_at = finished_at - %s WHERE id = %s",
            [days_ago * DAY, first.run_id],
        )
    return first.run_id


def keep(pool: db.Pool, settings: Settings, memory: Memory | None = None) -> float:
    return keeping.step(pool, settings, Storage(), memory or Memory())


def left(pool: db.Pool) -> tuple[list[int], list[int]]:
    """The runs that are there, and those whose files are."""
    with db.transaction(pool) as conn:
        there = [row["id"] for row in conn.execute("SELECT id FROM run ORDER BY id")]
        return there, [run_id for run_id in there if documents.of_run(conn, run_id)]


def test_files_go_before_their_runs_and_what_may_still_be_sent_stays(pool: db.Pool) -> None:
    old, unknown, recent, under_way, ancient = (
        make(pool, 100, "sent"),
        make(pool, 100, "unknown", "sent"),
        make(pool, 10, "failed"),
        make(pool, 0, "sending"),
        make(pool, 400, "sent"),
    )
    keep(pool, Settings(document_days=90, run_days=365))
    assert left(pool) == ([old, unknown, recent, under_way], [unknown, recent, under_way])
    with db.transaction(pool) as conn:
        # Gone with its run: mails and captures.
        assert deliveries.of_run(conn, ancient) == []
        assert captures.of_run(conn, ancient) == []


def test_for_ever_is_for_ever(pool: db.Pool) -> None:
    run_id = make(pool, 4_000, "sent")
    keep(pool, Settings(document_days=0, run_days=0))
    assert left(pool) == ([run_id], [run_id])


def test_of_too_much_the_oldest_goes_until_it_fits(pool: db.Pool) -> None:
    made = [make(pool, 5 - number, "sent") for number in range(4)]
    with db.transaction(pool) as conn:
        assert retention.drop_surplus(conn, 25) == 2
        assert retention.drop_surplus(conn, 25) == 0
    assert left(pool) == (made, made[2:])


def test_more_than_a_batch_is_gone_on_with_soon(
    pool: db.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        make(pool, 100, "sent")
    monkeypatch.setattr(retention, "BATCH", 2)
    memory = Memory()
    assert keep(pool, Settings(), memory) == keeping.HURRY
    assert len(left(pool)[1]) == 1
    assert keep(pool, Settings(), memory) == keeping.EVERY
    assert left(pool)[1] == []


def test_two_beats_forget_the_same_runs_once(pool: db.Pool) -> None:
    for _ in range(2):
        make(pool, 400, "sent")
    with db.transaction(pool) as first:
        assert retention.forget_runs(first, DAY) == 2
        with db.transaction(pool) as second:
            assert retention.forget_runs(second, DAY) == 0
    with db.transaction(pool) as conn:
        assert runs.get(conn, 1) is None
