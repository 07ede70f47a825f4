"""Deliveries: one mail of a run to one recipient each. The ledger that keeps mail from doubling.

`pending → sending → dot → sent | retry | failed | unknown`. `dot` is committed before the final
dot of the mail goes out: whoever finds a delivery there does not know whether the server took
it, and nothing sends it again by itself.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass

from shared import runs, tasks
from shared.db import Connection
from shared.tasks import Ring


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A row of `delivery`; `recipient` is the bare envelope address."""

    id: int
    run_id: int
    recipient: str
    state: str
    attempts: int
    message_id: str
    smtp_code: int | None
    cause: str | None
    created_at: dt.datetime
    finished_at: dt.datetime | None


#: A mail that could not be handed over is tried this long, in seconds; its report is stale then.
LIFETIME = 86_400.0

COLUMNS = """id, run_id, recipient, state, attempts, message_id, smtp_code, cause, created_at,
 finished_at"""


def message_id(run_id: int, recipient: str, domain: str) -> str:
    """Return the Message-ID of this delivery: the same at every attempt."""
    digest = hashlib.sha256(recipient.encode()).hexdigest()[:12]
    return f"<r{run_id}.{digest}@{domain}>"


def insert(
    conn: Connection, run_id: int, recipients: tuple[str, ...], *, domain: str, lane: str
) -> list[Ring]:
    """Add a delivery with its task for each recipient; return the rings to send after commit."""
    made = []
    for recipient in dict.fromkeys(recipients):
        row = conn.execute(
            "INSERT INTO delivery (run_id, recipient, message_id) VALUES (%s, %s, %s) "
            "ON CONFLICT DO NOTHING RETURNING id",
            [run_id, recipient, message_id(run_id, recipient, domain)],
        ).fetchone()
        made += [row["id"]] if row else []
    return tasks.insert_deliveries(conn, run_id, made, lane)


def get(conn: Connection, delivery_id: int) -> Delivery | None:
    """Return the delivery, or None."""
    row = conn.execute(f"SELECT {COLUMNS} FROM delivery WHERE id = %s", [delivery_id]).fetchone()
    return Delivery(**row) if row else None


def of_run(conn: Connection, run_id: int) -> list[Delivery]:
    """Return the deliveries of a run."""
    rows = conn.execute(f"SELECT {COLUMNS} FROM delivery WHERE run_id = %s ORDER BY id", [run_id])
    return [Delivery(**row) for row in rows]


def start(conn: Connection, delivery_id: int, attempt: int) -> bool:
    """Pending | retry | sending → sending; False in any other state."""
    cursor = conn.execute(
        "UPDATE delivery SET state = 'sending', attempts = %s "
        "WHERE id = %s AND state IN ('pending', 'retry', 'sending')",
        [attempt, delivery_id],
    )
    return cursor.rowcount == 1


def mark_dot(conn: Connection, delivery_id: int) -> bool:
    """Sending → dot, to be committed before the final dot is sent; False: do not send it."""
    cursor = conn.execute(
        "UPDATE delivery SET state = 'dot' WHERE id = %s AND state = 'sending'", [delivery_id]
    )
    return cursor.rowcount == 1


def retry(conn: Connection, delivery_id: int, code: int | None, cause: str) -> None:
    """Sending | dot → retry: the server did not take it, and may later."""
    conn.execute(
        "UPDATE delivery SET state = 'retry', smtp_code = %s, cause = %s WHERE id = %s "
        "AND state IN ('sending', 'dot')",
        [code, cause, delivery_id],
    )


def finish(
    conn: Connection, delivery_id: int, state: str, code: int | None, cause: str | None
) -> None:
    """Any open state → sent, failed or unknown."""
    conn.execute(
        "UPDATE delivery SET state = %s, smtp_code = %s, cause = %s, "
        "finished_at = clock_timestamp() "
        "WHERE id = %s AND state NOT IN ('sent', 'failed', 'unknown')",
        [state, code, cause, delivery_id],
    )


def over(conn: Connection, delivery_id: int) -> bool:
    """Say whether the mail has been tried for as long as a report is worth sending."""
    row = conn.execute(
        "SELECT created_at < statement_timestamp() - make_interval(secs => %s) AS over "
        "FROM delivery WHERE id = %s",
        [LIFETIME, delivery_id],
    ).fetchone()
    return bool(row and row["over"])


def settle_run(conn: Connection, run_id: int) -> str | None:
    """End the run if all its deliveries have ended; return its final state, else None.

    All sent: `sent`. None sent: `failed`. Else `partial`, with the recipients that got nothing
    (or of whom that is not known) in the cause. To be called with the run's row locked
    (`runs.lock`), so that of two mailers ending at once one settles it.
    """
    ledger = of_run(conn, run_id)
    if any(entry.finished_at is None for entry in ledger):
        return None
    amiss = [entry for entry in ledger if entry.state != "sent"]
    state = "sent" if not amiss else "failed" if len(amiss) == len(ledger) else "partial"
    cause = "; ".join(f"{entry.recipient}: {entry.cause}" for entry in amiss[:20])
    if len(amiss) > 20:
        cause += f"; and {len(amiss) - 20} more"
    runs.finish(conn, run_id, state, cause or None)
    return state
