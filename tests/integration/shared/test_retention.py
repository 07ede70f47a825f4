"""What is no longer kept goes, the oldest first; what may still be needed stays."""

from __future__ import annotations

import datetime as dt

import pytest

from beat import keeping
from beat.keeping import Memory
from shared import audit, captures, db, deliveries, documents, retention, runs
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


def many(pool: db.Pool, number: int, *, days_ago: int, state: str = "sent", each: int = 1) -> None:
    """So many runs that ended so many days ago, each with `each` files and a mail."""
    with db.transaction(pool) as conn:
        conn.execute(
            """
            WITH made AS (
                INSERT INTO run (org_id, kind, scheduled_for, state, cause, spec, mail,
                    rendered_at, finished_at, complete)
                SELECT 1, 'api', now() - make_interval(days => %(days)s, secs => n), %(run)s,
                    'c', '{}', '{}', now(), now() - make_interval(days => %(days)s), true
                  FROM generate_series(1, %(number)s) AS n RETURNING id),
            mailed AS (
                INSERT INTO delivery (run_id, recipient, state, attempts, message_id, cause,
                    finished_at, smtp_code)
                SELECT id, 'a@example.org', %(state)s, 1, 'm' || id,
                    CASE WHEN %(state)s <> 'sent' THEN 'c' END, now(), 250 FROM made)
            INSERT INTO document (run_id, kind, name, media_type, size, sha256, content)
            SELECT id, 'pdf', 'a.pdf', 'application/pdf', 10, 'x', '0123456789'
              FROM made, generate_series(1, %(each)s)
            """,
            {
                "number": number,
                "days": days_ago,
                "state": state,
                "run": "sent" if state == "sent" else "failed",
                "each": each,
            },
        )


def rows(pool: db.Pool, table: str) -> int:
    with db.transaction(pool) as conn:
        row = conn.execute(f"SELECT count(*) AS n FROM {table}").fetchone()
    assert row
    return row["n"]


def keep_all(pool: db.Pool, settings: Settings) -> int:
    """Step until there is nothing more to do at once; return how many steps that took."""
    memory, steps = Memory(), 1
    while keep(pool, settings, memory) == keeping.HURRY:
        steps += 1
    return steps


def test_many_go_in_small_batches_until_what_is_kept_is_left(pool: db.Pool) -> None:
    many(pool, 1_500, days_ago=400, each=2)
    many(pool, 1_200, days_ago=100, each=2)
    many(pool, 300, days_ago=1, each=2)
    steps = keep_all(pool, Settings(document_days=90, run_days=365))
    assert (rows(pool, "run"), rows(pool, "document"), rows(pool, "delivery")) == (
        1_500,
        600,
        1_500,
    )
    assert steps >= 1_500 / retention.BATCH


def test_what_has_to_stay_however_much_it_is_hides_nothing_behind_it(
    pool: db.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "LOOKED_AT", 100)
    monkeypatch.setattr(retention, "BATCH", 50)
    many(pool, 350, days_ago=400, state="unknown")
    many(pool, 120, days_ago=400)
    many(pool, 30, days_ago=1)
    keep_all(pool, Settings(document_days=90, run_days=365))
    assert (rows(pool, "run"), rows(pool, "document")) == (380, 380)


def test_what_has_to_stay_is_looked_past_for_what_is_too_much(
    pool: db.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "LOOKED_AT", 20)
    many(pool, 50, days_ago=3, state="unknown")
    many(pool, 50, days_ago=2)
    place = retention.Place()
    dropped = []
    for _ in range(5):
        with db.transaction(pool) as conn:
            dropped.append(retention.drop_surplus(conn, 700, place))
    assert (sum(dropped), rows(pool, "document")) == (30, 70)


def test_of_many_runs_and_records_the_newest_are_kept(pool: db.Pool) -> None:
    many(pool, 900, days_ago=2)
    with db.transaction(pool) as conn:
        conn.execute(
            "INSERT INTO audit (org_id, who, name, action) "
            "SELECT 1, 'x', n::text, 'x' FROM generate_series(1, 12000) AS n"
        )
    keep_all(pool, Settings(run_rows=150, audit_rows=1_000))
    assert (rows(pool, "run"), rows(pool, "document"), rows(pool, "audit")) == (150, 150, 1_000)
    with db.transaction(pool) as conn:
        row = conn.execute("SELECT min(id) AS run FROM run").fetchone()
        oldest = conn.execute("SELECT min(name::int) AS n FROM audit").fetchone()
    assert (row, oldest) == ({"run": 751}, {"n": 11_001})


def test_runs_under_way_or_unknown_stay_whatever_the_limit(pool: db.Pool) -> None:
    under_way, unknown = make(pool, 0, "sending"), make(pool, 0, "unknown")
    many(pool, 20, days_ago=0)
    keep_all(pool, Settings(run_rows=1))
    with db.transaction(pool) as conn:
        left_over = [row["id"] for row in conn.execute("SELECT id FROM run ORDER BY id")]
    assert left_over[:2] == [under_way, unknown]
    assert len(left_over) == 3


def test_who_has_a_row_holds_up_nobody_who_deletes(pool: db.Pool) -> None:
    """A download, an edit or another beat has them locked, and goes on to."""
    many(pool, 10, days_ago=400)
    with db.transaction(pool) as conn:
        conn.execute("INSERT INTO audit (org_id, who, name, action, at) SELECT 1, 'x', 'x', 'x', "
                     "now() - interval '400 days' FROM generate_series(1, 5)")  # fmt: skip
    with db.transaction(pool) as busy:
        busy.execute("SELECT FROM document WHERE id = 3 FOR UPDATE")
        busy.execute("SELECT FROM audit WHERE id = 2 FOR UPDATE")
        with db.transaction(pool) as conn:
            conn.execute("SET LOCAL lock_timeout = '1ms'")
            assert retention.drop_old_documents(conn, DAY) == 9
            assert audit.forget(conn, older_than=DAY) == 4
        busy.execute("SELECT FROM run WHERE id = 5 FOR UPDATE")
        with db.transaction(pool) as conn:
            conn.execute("DELETE FROM document WHERE id <> 3")
            conn.execute("SET LOCAL lock_timeout = '1ms'")
            # That of the document, too: with its run the row would go.
            conn.execute("UPDATE run SET finished_at = now() WHERE id = 3")
            assert retention.forget_runs(conn, DAY) == 8


def test_files_of_a_run_that_somebody_has_locked_stay(pool: db.Pool) -> None:
    """It may be just about to be taken up again, and would have nothing to send."""
    many(pool, 3, days_ago=2)
    with db.transaction(pool) as busy:
        busy.execute("SELECT FROM run WHERE id = 2 FOR UPDATE")
        with db.transaction(pool) as conn:
            conn.execute("SET LOCAL lock_timeout = '1ms'")
            assert retention.drop_old_documents(conn, DAY) == 2
            assert retention.drop_surplus(conn, 1) == 0
    assert left(pool)[1] == [2]


def test_while_there_is_too_much_not_all_is_counted_with_each_batch(
    pool: db.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(pool, 10, days_ago=2)
    monkeypatch.setattr(retention, "BATCH", 2)
    place = retention.Place()
    for left_of_it in (80, 60):
        with db.transaction(pool) as conn:
            assert retention.drop_surplus(conn, 50, place) == 2
            assert [one.bytes for one in retention.stored(conn)] == [left_of_it, 0]
            # Of which only a count would know.
            conn.execute("UPDATE document SET size = size + 1000 WHERE id = 10")
    with db.transaction(pool) as conn:
        # Others take off what they delete.
        assert retention.drop_old_documents(conn, DAY) == 2
        assert [one.bytes for one in retention.stored(conn)] == [40, 0]
        assert retention.drop_surplus(conn, 50, place) == 0
        assert retention.forget_runs(conn, DAY) == 2
    with db.transaction(pool) as conn:
        conn.execute("UPDATE stored SET bytes = 60")
        # Found to be too much anew, so it is counted.
        assert retention.drop_surplus(conn, 50, place) > 0


def test_of_two_beats_one_deletes_what_is_too_much(pool: db.Pool) -> None:
    many(pool, 4, days_ago=2)
    with db.transaction(pool) as one, db.transaction(pool) as other:
        assert retention.drop_surplus(one, 25) == 2
        assert retention.drop_surplus(other, 25) == 0
    assert rows(pool, "document") == 2


def test_what_is_too_much_is_counted_anew_before_anything_goes(pool: db.Pool) -> None:
    many(pool, 10, days_ago=2)
    with db.transaction(pool) as conn:
        assert retention.count_if_due(conn)
        assert not retention.count_if_due(conn)
        conn.execute("DELETE FROM document WHERE id <= 5")
    with db.transaction(pool) as conn:
        assert [one.bytes for one in retention.stored(conn)] == [100, 0]
        assert retention.drop_surplus(conn, 50) == 0
