"""Resolutions: what a person decided of a mail of which nobody knows whether it arrived.

Only `unknown` deliveries can be resolved, and each attempt once: as `sent`, or to be sent
`again`, with the same Message-ID and the same bytes. Who decided, when, and what, is kept.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared import deliveries, log, runs, tasks
from shared.db import Connection
from shared.tasks import Ring

logger = log.get(__name__)

SENT, AGAIN = VERDICTS = ("sent", "again")
API, COMMAND_LINE = "api", "command line"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """Who resolves, by name, and the way by which it came; of our tokens also the id."""

    who: str
    through: str
    token_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """A row of `resolution`; `attempt` is the one that was unknown, `cause` why it was."""

    id: int
    delivery_id: int
    attempt: int
    verdict: str
    cause: str
    through: str
    token_id: int | None
    who: str
    resolved_at: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What came of it: the run's state now, and the rings to send after commit."""

    run_state: str
    rings: list[Ring]


COLUMNS = ", ".join(Resolution.__dataclass_fields__)

AS_SENT = """
UPDATE delivery SET state = 'sent', cause = NULL WHERE id = %(id)s
"""
OPEN_AGAIN = """
UPDATE delivery
   SET state = 'retry', finished_at = NULL, smtp_code = NULL, since = clock_timestamp(),
       cause = 'It is sent again, since ' || %(who)s || ' decided so.'
 WHERE id = %(id)s
"""
#: The moment that its last mail ended stays.
SETTLE_ANEW = """
UPDATE run SET state = %(state)s, cause = %(cause)s
 WHERE id = %(id)s AND state IN ('partial', 'failed')
"""
DELIVER_AGAIN = """
UPDATE run SET state = 'delivering', cause = NULL, finished_at = NULL
 WHERE id = %s AND state IN ('partial', 'failed', 'delivering')
"""


def resolve(
    conn: Connection, delivery_id: int, verdict: str, resolver: Resolver
) -> Resolved | None:
    """Settle an unknown delivery; None when it is not unknown (any more).

    Of two people who decide at once, the second finds it resolved: both lock the run first, as
    everything does that settles something of it, and then the delivery.
    """
    entry = deliveries.get(conn, delivery_id)
    if entry is None:
        return None
    runs.lock(conn, entry.run_id)
    row = conn.execute(
        "SELECT state, attempts, cause FROM delivery WHERE id = %s FOR UPDATE", [delivery_id]
    ).fetchone()
    if row is None or row["state"] != deliveries.UNKNOWN:
        return None
    conn.execute(
        "INSERT INTO resolution (delivery_id, attempt, verdict, cause, through, token_id, who) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s)",
        [
            delivery_id,
            row["attempts"],
            verdict,
            row["cause"],
            resolver.through,
            resolver.token_id,
            resolver.who,
        ],
    )
    rings: list[Ring] = []
    if verdict == AGAIN:
        conn.execute(OPEN_AGAIN, {"id": delivery_id, "who": resolver.who})
        conn.execute(DELIVER_AGAIN, [entry.run_id])
        # Somebody waits for it, or would not have asked.
        rings = tasks.insert_deliveries(conn, entry.run_id, [delivery_id], tasks.INTERACTIVE)
    else:
        conn.execute(AS_SENT, {"id": delivery_id})
        ended = deliveries.outcome(conn, entry.run_id)
        if ended:
            conn.execute(SETTLE_ANEW, {"id": entry.run_id, "state": ended[0], "cause": ended[1]})
    run = conn.execute(
        "SELECT org_id, report_id, state FROM run WHERE id = %s", [entry.run_id]
    ).fetchone()
    assert run is not None  # noqa: S101 - a delivery has a run, which is locked
    logger.info(
        "delivery.resolved",
        org_id=run["org_id"],
        report_id=run["report_id"],
        run_id=entry.run_id,
        delivery_id=delivery_id,
        attempt=row["attempts"],
        verdict=verdict,
        through=resolver.through,
        token_id=resolver.token_id,
        who=resolver.who,
    )
    return Resolved(run_state=run["state"], rings=rings)


def of_run(conn: Connection, run_id: int) -> Mapping[int, Sequence[Resolution]]:
    """Return what was decided of each delivery of a run, the first first."""
    rows = conn.execute(
        f"SELECT {COLUMNS} FROM resolution WHERE delivery_id IN "
        "(SELECT id FROM delivery WHERE run_id = %s) ORDER BY id",
        [run_id],
    )
    found: dict[int, list[Resolution]] = {}
    for row in rows:
        found.setdefault(row["delivery_id"], []).append(Resolution(**row))
    return found
