"""Keeps a task's lease alive while its worker is busy with a browser or a mail server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from shared import captures, db, log, tasks
from shared.db import Pool
from shared.errors import DatabaseAway
from shared.tasks import Claim

logger = log.get(__name__)


@contextmanager
def beating(pool: Pool, claim: Claim) -> Iterator[threading.Event]:
    """Renew the lease of `claim` four times in its length until the block ends.

    The event is set once the work is for nothing: the lease is lost, or of a capture the last run
    that waited for it was cancelled. The block need not look at it: the transaction that stores
    the result finds out by itself, in `tasks.complete`.
    """
    ended = threading.Event()
    in_vain = threading.Event()

    def renew() -> None:
        while not ended.wait(claim.lease / 4):
            try:
                with db.transaction(pool) as conn:
                    if not tasks.renew(conn, claim):
                        logger.warning("lease.lost", task_id=claim.task_id)
                        in_vain.set()
                        return
                    if claim.capture_id and not captures.is_wanted(conn, claim.capture_id):
                        in_vain.set()
            except DatabaseAway as exc:
                logger.warning("lease.not_renewed", task_id=claim.task_id, error=exc.message)

    thread = threading.Thread(target=renew, name=f"lease-{claim.task_id}", daemon=True)
    thread.start()
    try:
        yield in_vain
    finally:
        ended.set()
        thread.join()
