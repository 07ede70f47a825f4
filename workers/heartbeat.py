"""Keeps a task's lease alive while its worker is busy with a browser or a mail server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from shared import db, log, tasks
from shared.db import Pool
from shared.errors import DatabaseAway
from shared.tasks import Claim

logger = log.get(__name__)


@contextmanager
def beating(pool: Pool, claim: Claim) -> Iterator[None]:
    """Renew the lease of `claim` four times in its length until the block ends.

    A lease that is lost stops the renewing and nothing else: the transaction that stores the
    result finds out by itself, in `tasks.complete`.
    """
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(claim.lease / 4):
            try:
                with db.transaction(pool) as conn:
                    if not tasks.renew(conn, claim):
                        logger.warning("lease.lost", task_id=claim.task_id)
                        return
            except DatabaseAway as exc:
                logger.warning("lease.not_renewed", task_id=claim.task_id, error=exc.message)

    thread = threading.Thread(target=renew, name=f"lease-{claim.task_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
