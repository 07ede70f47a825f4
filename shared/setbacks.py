"""What becomes of run, capture and delivery when a step comes to nothing.

Workers and beat both decide on that: a worker about an error it saw, beat about a worker that
stopped renewing its lease.
"""

from __future__ import annotations

from shared import captures, deliveries, runs, tasks
from shared.db import Connection
from shared.tasks import Claim

UNKNOWN_CAUSE = (
    "The worker ended between sending the mail and the server's answer; "
    "the mail may have been delivered, so it is not sent again."
)


def lock(conn: Connection, claim: Claim) -> dict[int, str]:
    """Lock what a task belongs to; return the lanes of the runs that it is for, by their ids.

    To be called before anything else of the task is changed: capture, runs, task, then the rest
    is the order of all transactions.
    """
    if claim.capture_id is not None:
        captures.lock(conn, claim.capture_id)
        return runs.lock_sharing(conn, claim.capture_id)
    assert claim.run_id is not None  # noqa: S101 - a CHECK of the table: only a render has none
    runs.lock(conn, claim.run_id)
    return {claim.run_id: claim.lane}


def try_again(conn: Connection, claim: Claim, cause: str, *, after: float) -> str:
    """Give the task back for another attempt in `after` seconds.

    Returns what was decided, for the log: a mail that may be out is never tried again. Raises
    `LostLease`.
    """
    lock(conn, claim)
    if _settled_as_unknown(conn, claim):
        return "unknown"
    tasks.release(conn, claim, after=after)
    if claim.capture_id is not None:
        captures.again(conn, claim.capture_id, cause)
    if claim.delivery_id is not None:
        deliveries.retry(conn, claim.delivery_id, None, cause)
    return "again"


def give_up(conn: Connection, claim: Claim, cause: str) -> str:
    """End the task for good: the runs whose capture or assembly failed have failed.

    A delivery that failed ends its run only when it was the last one open. Returns and raises
    like `try_again`.
    """
    ending = lock(conn, claim)
    if _settled_as_unknown(conn, claim):
        return "unknown"
    tasks.complete(conn, claim)
    if claim.delivery_id is not None:
        deliveries.finish(conn, claim.delivery_id, "failed", None, cause)
        for run_id in ending:
            deliveries.settle_run(conn, run_id)
        return "given up"
    if claim.capture_id is not None:
        captures.failed(conn, claim.capture_id, cause)
    for run_id in ending:
        runs.finish(conn, run_id, "failed", cause)
    return "given up"


def abandoned(conn: Connection, claim: Claim, *, max_attempts: int) -> str:
    """Settle the claim of a worker that died; return what was decided, for the log.

    Mail is limited by its age, not by attempts: most of those were refusals of a mail server.
    """
    attempt: int | None = claim.attempt
    if claim.delivery_id is not None:
        over = deliveries.over(conn, claim.delivery_id)
        attempt = deliveries.attempt_under_way(conn, claim.delivery_id)
    else:
        over = claim.attempt >= max_attempts
    when = f" in attempt {attempt}" if attempt else ""
    cause = f"The worker that had it ({claim.owner}) stopped{when}."
    return give_up(conn, claim, cause) if over else try_again(conn, claim, cause, after=0)


def _settled_as_unknown(conn: Connection, claim: Claim) -> bool:
    """Hold a mail whose final dot may have gone out: nobody but a person may send it again."""
    delivery = deliveries.get(conn, claim.delivery_id) if claim.delivery_id else None
    if delivery is None or delivery.state != "dot":
        return False
    tasks.complete(conn, claim)
    deliveries.finish(conn, delivery.id, "unknown", None, UNKNOWN_CAUSE)
    deliveries.settle_run(conn, delivery.run_id)
    return True
