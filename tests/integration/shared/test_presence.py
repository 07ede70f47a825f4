"""Who is there, and how many things ended: what operators look at."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from shared import db, presence, tally
from shared.presence import Presence, Process
from shared.tally import Ending

BEAT = Process(name="a:1", role="beat", version="1", detail={"ticked_at": 5})
CHILD = Process(name="b:2", role="worker", queues=["render"], version="1")


def test_a_process_is_there_until_it_leaves_or_falls_silent(pool: db.Pool) -> None:
    with db.transaction(pool) as conn:
        presence.renew(conn, BEAT)
        presence.renew(conn, CHILD)
        [beat, child] = presence.find(conn)
        assert (beat.name, beat.detail, beat.is_there) == ("a:1", {"ticked_at": 5}, True)
        assert (child.name, child.queues, child.is_there) == ("b:2", ["render"], True)
        conn.execute("UPDATE process SET seen_at = now() - interval '1 min' WHERE name = 'a:1'")
        presence.leave(conn, "b:2")
        [beat] = presence.find(conn)
    assert not beat.is_there
    with db.transaction(pool) as conn:
        presence.renew(conn, BEAT)
        [again] = presence.find(conn)
        assert again.is_there
        assert beat.since
        assert again.since
        # Silent for so long, it is another one of the same number.
        assert again.since > beat.since
        conn.execute("UPDATE process SET seen_at = now() - interval '2 days'")
        presence.forget(conn)
        assert presence.find(conn) == []


def test_a_row_is_kept_fresh_with_what_the_process_says_of_itself(
    pool: db.Pool, database_url: str
) -> None:
    asked = threading.Semaphore(0)

    def detail() -> Mapping[str, Any]:
        asked.release()
        return {"ticked_at": 7}

    here = Presence(database_url, presence.this("beat"), detail=detail, every=0.01)
    here.start()
    for _ in range(3):
        # The second question comes after the first answer was stored.
        assert asked.acquire(timeout=10)
    with db.transaction(pool) as conn:
        [row] = presence.find(conn)
    assert (row.role, row.detail, row.version) == ("beat", {"ticked_at": 7}, "0.1.0")
    here.close()
    with db.transaction(pool) as conn:
        assert presence.find(conn) == []


def test_a_database_that_is_away_ends_nobody() -> None:
    here = Presence("postgresql://nobody@/none?host=/nowhere", presence.this("api"), every=0.01)
    here.start()
    here.close()


def test_endings_are_counted_once_before_and_after_they_are_folded(pool: db.Pool) -> None:
    def end(kind: str, state: str, ago: str) -> None:
        with db.transaction(pool) as conn:
            conn.execute(
                "INSERT INTO run (org_id, kind, scheduled_for, state, cause, spec, finished_at) "
                "VALUES (1, %s, now(), %s, 'c', '{}', now() - %s::interval)",
                [kind, state, ago],
            )

    def counted() -> list[Ending]:
        with db.transaction(pool) as conn:
            return tally.count(conn, tally.RUNS)

    with db.transaction(pool) as conn:
        conn.execute(
            "INSERT INTO tallied VALUES ('runs', now() - interval '1 hour'), "
            "('deliveries', now() - interval '1 hour')"
        )
    end("test", "sent", "10 minutes")
    end("test", "sent", "9 minutes")
    end("test", "failed", "1 second")
    expected = [Ending("test", "failed", 1), Ending("test", "sent", 2)]
    assert counted() == expected
    with db.transaction(pool) as conn:
        tally.fold(conn)
        # What is folded may be deleted.
        conn.execute("DELETE FROM run WHERE state = 'sent'")
    assert counted() == expected
    with db.transaction(pool) as conn:
        tally.fold(conn)
    assert counted() == expected
    end("test", "sent", "0")
    assert counted() == [Ending("test", "failed", 1), Ending("test", "sent", 3)]


def test_two_beats_fold_the_same_once(pool: db.Pool) -> None:
    with db.transaction(pool) as conn:
        tally.fold(conn)
        conn.execute(
            "INSERT INTO run (org_id, kind, scheduled_for, state, spec, finished_at) "
            "VALUES (1, 'test', now(), 'sent', '{}', now() - interval '10 minutes')"
        )
        conn.execute("UPDATE tallied SET until = now() - interval '1 hour'")
    with db.transaction(pool) as first:
        tally.fold(first)
        with db.transaction(pool) as second:
            tally.fold(second)
    with db.transaction(pool) as conn:
        assert tally.count(conn, tally.RUNS) == [Ending("test", "sent", 1)]
