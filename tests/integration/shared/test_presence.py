"""Who is there: what operators look at."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from shared import db, presence
from shared.presence import Presence, Process

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


def test_who_starts_before_the_schema_is_there_is_seen_once_it_is(
    pool: db.Pool, database_url: str
) -> None:
    looked = threading.Semaphore(0)
    with db.transaction(pool) as conn:
        conn.execute("ALTER TABLE process RENAME TO later")
    here = Presence(
        database_url, presence.this("beat"), look=lambda _: looked.release(), every=0.01
    )
    here.start()
    # The second look comes after a whole round in vain.
    for _ in range(2):
        assert looked.acquire(timeout=10)
    with db.transaction(pool) as conn:
        conn.execute("ALTER TABLE later RENAME TO process")
    # A round may have been under way meanwhile.
    for _ in range(3):
        assert looked.acquire(timeout=10)
    with db.transaction(pool) as conn:
        assert [row.role for row in presence.find(conn)] == ["beat"]
    here.close()
