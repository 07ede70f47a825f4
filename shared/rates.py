"""How often somebody may call: so many calls in a period, counted for all API processes at once.

A call uses up a share of `period / calls` seconds, and who is a whole period ahead waits (the
"generic cell rate algorithm"): a row holds one moment, however many calls there were, and there
is no border of a window at which twice as many pass.
"""

from __future__ import annotations

from shared.db import Connection
from shared.settings import Rate

#: Rows that say nothing any more, deleted along with each call that is counted.
SWEPT = 3


def take(conn: Connection, key: str, rate: Rate) -> float:
    """Count one call of `key`; return 0, or how many seconds until there may be another.

    A call that has to wait is not counted.
    """
    share = rate.period / rate.calls
    values = {"key": key, "share": share, "period": rate.period, "n": SWEPT}
    taken = conn.execute(
        "INSERT INTO call_rate AS r (key, whole_at) "
        "VALUES (%(key)s, statement_timestamp() + make_interval(secs => %(share)s)) "
        "ON CONFLICT (key) DO UPDATE SET whole_at = "
        "greatest(r.whole_at, statement_timestamp()) + make_interval(secs => %(share)s) "
        "WHERE greatest(r.whole_at, statement_timestamp()) + make_interval(secs => %(share)s) "
        "<= statement_timestamp() + make_interval(secs => %(period)s)",
        values,
    )
    if taken.rowcount == 1:
        conn.execute(
            "DELETE FROM call_rate WHERE key IN (SELECT key FROM call_rate "
            "WHERE whole_at < statement_timestamp() ORDER BY whole_at LIMIT %(n)s "
            "FOR UPDATE SKIP LOCKED)",
            values,
        )
        return 0.0
    row = conn.execute(
        "SELECT extract(epoch FROM whole_at - statement_timestamp())::float8 AS ahead "
        "FROM call_rate WHERE key = %(key)s",
        values,
    ).fetchone()
    # None: it was swept meanwhile, so its share is whole.
    ahead = row["ahead"] if row else 0.0
    return max(0.001, ahead + share - rate.period)
