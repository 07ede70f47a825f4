from __future__ import annotations

import threading

from shared import db, tasks
from shared.tasks import Claim
from tests.integration.shared.test_tasks import new_run
from workers.heartbeat import beating


def claimed(pool: db.Pool, lease: float) -> Claim:
    _, rings = new_run(pool)
    with db.transaction(pool) as conn:
        claim = tasks.claim(conn, rings[0].task_id, "render", "one", lease=lease)
    assert claim
    return claim


class Watched:
    """A pool that tells when a connection was given back after use."""

    def __init__(self, pool: db.Pool) -> None:
        self.pool = pool
        self.used = threading.Semaphore(0)

    def connection(self):
        watched = self

        class Lent:
            def __enter__(self):
                self.inner = watched.pool.connection()
                return self.inner.__enter__()

            def __exit__(self, *details):
                result = self.inner.__exit__(*details)
                watched.used.release()
                return result

        return Lent()


def test_a_lease_is_renewed_while_its_worker_is_busy(pool: db.Pool) -> None:
    claim = claimed(pool, lease=1.0)
    with db.transaction(pool) as conn:
        before = conn.execute("SELECT lease_until FROM task WHERE owner = 'one'").fetchone()
    watched = Watched(pool)
    with beating(watched, claim):
        assert watched.used.acquire(timeout=10)
    with db.transaction(pool) as conn:
        after = conn.execute("SELECT lease_until FROM task WHERE owner = 'one'").fetchone()
    assert before
    assert after
    assert after["lease_until"] > before["lease_until"]


def test_a_lost_lease_ends_the_renewing_without_touching_the_new_owner(pool: db.Pool) -> None:
    claim = claimed(pool, lease=0.4)
    with db.transaction(pool) as conn:
        conn.execute("UPDATE task SET owner = 'two' WHERE owner = 'one'")
        before = conn.execute("SELECT lease_until FROM task WHERE owner = 'two'").fetchone()
    watched = Watched(pool)
    with beating(watched, claim):
        assert watched.used.acquire(timeout=10)
    with db.transaction(pool) as conn:
        after = conn.execute("SELECT lease_until FROM task WHERE owner = 'two'").fetchone()
    assert before == after
