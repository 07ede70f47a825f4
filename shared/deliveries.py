"""Deliveries: one mail of a run to one recipient each. The ledger that keeps mail from doubling.

`pending → sending → dot → sent | retry | failed | unknown`. `dot` is committed before the final
dot of the mail goes out: whoever finds a delivery there does not know whether the server took
it, and nothing sends it again by itself: it ends `unknown`, and a person resolves that
(`shared.resolutions`).
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
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
    #: Since when it is tried: it has `LIFETIME`.
    since: dt.datetime
    #: Which documents travel in the mail: all, some, none.
    attached: str


PENDING, SENDING, DOT, SENT, RETRY, FAILED, UNKNOWN = STATES = (
    *("pending", "sending", "dot", "sent", "retry", "failed", "unknown"),
)
ALL, SOME, NONE = ATTACHED = ("all", "some", "none")

#: A mail that could not be handed over is tried this long, in seconds; its report is stale then.
LIFETIME = 86_400.0

COLUMNS = """id, run_id, recipient, state, attempts, message_id, smtp_code, cause, created_at,
 finished_at, since, attached"""


def message_id(run_id: int, recipient: str, domain: str) -> str:
    """Return the Message-ID of this delivery: the same at every attempt."""
    digest = hashlib.sha256(recipient.encode()).hexdigest()[:12]
    return f"<r{run_id}.{digest}@{domain}>"


def insert(
    conn: Connection,
    run_id: int,
    recipients: tuple[str, ...],
    *,
    domain: str,
    lane: str,
    attached: str = ALL,
) -> list[Ring]:
    """Add a delivery with its task for each recipient; return the rings to send after commit."""
    made = []
    for recipient in dict.fromkeys(recipients):
        row = conn.execute(
            "INSERT INTO delivery (run_id, recipient, message_id, attached) "
            "VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING id",
            [run_id, recipient, message_id(run_id, recipient, domain), attached],
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


def held(conn: Connection, delivery_id: int, cause: str) -> None:
    """Say why a mail that waits for its turn is not tried; its state stays as it is."""
    conn.execute(
        "UPDATE delivery SET cause = %(cause)s WHERE id = %(id)s "
        "AND state IN ('pending', 'retry') AND cause IS DISTINCT FROM %(cause)s",
        {"id": delivery_id, "cause": cause},
    )


def slow(conn: Connection, delivery_id: int, cause: str) -> None:
    """Say why a mail that is being handed over has not ended; its state stays as it is.

    The row alone is locked, for a moment: another thread has the mail under way.
    """
    conn.execute(
        "UPDATE delivery SET cause = %s WHERE id = %s AND state IN ('sending', 'dot')",
        [cause, delivery_id],
    )


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


def retry(
    conn: Connection, delivery_id: int, code: int | None, cause: str, *, counts: bool = True
) -> None:
    """Any open state → retry: the server did not take it, and may later.

    An attempt does not count where the mail was not at fault.
    """
    conn.execute(
        "UPDATE delivery SET state = 'retry', smtp_code = %s, cause = %s, "
        "attempts = attempts - CASE WHEN %s OR state NOT IN ('sending', 'dot') THEN 0 ELSE 1 END "
        "WHERE id = %s AND state IN ('pending', 'retry', 'sending', 'dot')",
        [code, cause, counts, delivery_id],
    )


def lighten(conn: Connection, delivery_id: int, code: int | None, cause: str) -> None:
    """Sending | dot → retry with the light letter from now on; the attempt does not count.

    The server refused the mail for its size.
    """
    conn.execute(
        "UPDATE delivery SET state = 'retry', smtp_code = %s, cause = %s, attached = 'none', "
        "attempts = attempts - 1 WHERE id = %s AND state IN ('sending', 'dot')",
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


def attempt_under_way(conn: Connection, delivery_id: int) -> int | None:
    """Return the number of the attempt that was begun and has not ended; None: none was."""
    delivery = get(conn, delivery_id)
    begun = delivery is not None and delivery.state in (SENDING, DOT)
    return delivery.attempts if delivery and begun else None


def over(conn: Connection, delivery_id: int) -> bool:
    """Say whether the mail has been tried for as long as a report is worth sending."""
    return age(conn, delivery_id) > LIFETIME


def age(conn: Connection, delivery_id: int) -> float:
    """Return for how many seconds the mail has been tried, by the database's clock."""
    row = conn.execute(
        "SELECT extract(epoch FROM clock_timestamp() - since)::float8 AS age "
        "FROM delivery WHERE id = %s",
        [delivery_id],
    ).fetchone()
    return float(row["age"]) if row else 0.0


def settle_run(conn: Connection, run_id: int) -> str | None:
    """End the run if all its deliveries have ended; return its final state, else None.

    To be called with the run's row locked (`runs.lock`), so that of two mailers ending at once
    one settles it.
    """
    ended = outcome(conn, run_id)
    if ended is None:
        return None
    runs.finish(conn, run_id, *ended)
    return ended[0]


def tell_amiss(conn: Connection, run_id: int) -> None:
    """Have a run that goes on tell whom it has failed already; to be called like `settle_run`."""
    conn.execute(
        "UPDATE run SET cause = (SELECT string_agg(recipient || ': ' || cause, '; ' ORDER BY id) "
        "FROM (SELECT id, recipient, cause FROM delivery WHERE run_id = %(id)s "
        "AND state IN ('failed', 'unknown') ORDER BY id LIMIT 20) AS amiss) "
        "WHERE id = %(id)s AND state = 'delivering'",
        {"id": run_id},
    )


def outcome(conn: Connection, run_id: int) -> tuple[str, str | None] | None:
    """Return how a run ends by its deliveries, and the cause; None: some have not ended.

    All sent: `sent`. None sent: `failed`. Else `partial`, with the recipients that got nothing
    (or of whom that is not known) in the cause.
    """
    # The whole ledger is read once, at its end, and not after each of its mails.
    row = conn.execute(
        "SELECT EXISTS (SELECT FROM delivery WHERE run_id = %s AND finished_at IS NULL) AS open",
        [run_id],
    ).fetchone()
    if row and row["open"]:
        return None
    ledger = of_run(conn, run_id)
    amiss = [entry for entry in ledger if entry.state != SENT]
    state = "sent" if not amiss else "failed" if len(amiss) == len(ledger) else "partial"
    cause = "; ".join(f"{entry.recipient}: {entry.cause}" for entry in amiss[:20])
    if len(amiss) > 20:
        cause += f"; and {len(amiss) - 20} more"
    return state, cause or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Undelivered:
    """A delivery with what its run is about, for lists of what did not arrive."""

    delivery: Delivery
    report_id: int | None
    name: str


FIND = f"""
SELECT {", ".join("delivery." + name.strip() for name in COLUMNS.split(","))},
       run.report_id, run.spec->>'name' AS name
  FROM delivery JOIN run ON run.id = delivery.run_id
 WHERE delivery.state = %(state)s AND delivery.state <> 'sent'
"""
#: Of one organisation, or of all; and of some reports, or also of runs without one.
OF = """
   AND (%(org)s::bigint IS NULL OR run.org_id = %(org)s)
   AND (%(reports)s::bigint[] IS NULL OR run.report_id = ANY(%(reports)s))
"""


def find(
    conn: Connection,
    state: str,
    *,
    org_id: int | None = None,
    report_ids: Sequence[int] | None = None,
    limit: int = 50,
    offset: int = 0,
) -> list[Undelivered]:
    """Return deliveries in one state (but `sent`), the newest first."""
    rows = conn.execute(
        f"{FIND} {OF} ORDER BY delivery.id DESC LIMIT %(limit)s OFFSET %(offset)s",
        {
            "state": state,
            "org": org_id,
            "reports": None if report_ids is None else list(report_ids),
            "limit": limit,
            "offset": offset,
        },
    )
    found = []
    for row in rows:
        report_id, name = row.pop("report_id"), row.pop("name")
        found.append(Undelivered(delivery=Delivery(**row), report_id=report_id, name=name or ""))
    return found


def count(conn: Connection, state: str, *, org_id: int, report_ids: Sequence[int] | None) -> int:
    """Return how many deliveries `find` would list without paging."""
    row = conn.execute(
        "SELECT count(*) AS n FROM delivery JOIN run ON run.id = delivery.run_id "
        f"WHERE delivery.state = %(state)s AND delivery.state <> 'sent' {OF}",
        {
            "state": state,
            "org": org_id,
            "reports": None if report_ids is None else list(report_ids),
        },
    ).fetchone()
    return int(row["n"]) if row else 0
