"""Captures: one dashboard of a run each, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Json

from shared.db import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """A row of `capture`; `timings` are milliseconds per stage."""

    id: int
    run_id: int
    position: int
    state: str
    cause: str | None
    facts: Mapping[str, Any]
    verdict: Mapping[str, Any] | None
    timings: Mapping[str, Any]
    attempts: int


COLUMNS = "id, run_id, position, state, cause, facts, verdict, timings, attempts"


def get(conn: Connection, capture_id: int) -> Capture | None:
    """Return the capture, or None."""
    row = conn.execute(f"SELECT {COLUMNS} FROM capture WHERE id = %s", [capture_id]).fetchone()
    return Capture(**row) if row else None


def of_run(conn: Connection, run_id: int) -> list[Capture]:
    """Return the captures of a run in page order."""
    rows = conn.execute(
        f"SELECT {COLUMNS} FROM capture WHERE run_id = %s ORDER BY position", [run_id]
    )
    return [Capture(**row) for row in rows]


def start(conn: Connection, capture_id: int, attempt: int) -> None:
    """Queued → rendering; `cause` keeps what the previous attempt failed of."""
    conn.execute(
        "UPDATE capture SET state = 'rendering', attempts = %s WHERE id = %s "
        "AND state IN ('queued', 'rendering')",
        [attempt, capture_id],
    )


def again(conn: Connection, capture_id: int, cause: str) -> None:
    """Rendering → queued, noting why this attempt came to nothing."""
    conn.execute(
        "UPDATE capture SET state = 'queued', cause = %s WHERE id = %s AND state = 'rendering'",
        [cause, capture_id],
    )


def told(
    conn: Connection,
    capture_id: int,
    *,
    facts: Mapping[str, Any],
    verdict: Mapping[str, Any],
    timings: Mapping[str, Any],
) -> None:
    """Keep what an attempt found, whether or not it will do."""
    conn.execute(
        "UPDATE capture SET facts = %s, verdict = %s, timings = %s "
        "WHERE id = %s AND state = 'rendering'",
        [Json(facts), Json(verdict), Json(timings), capture_id],
    )


def done(conn: Connection, capture_id: int) -> None:
    """Rendering → done, once what was found is told."""
    conn.execute(
        "UPDATE capture SET state = 'done', cause = NULL WHERE id = %s AND state = 'rendering'",
        [capture_id],
    )


def failed(conn: Connection, capture_id: int, cause: str) -> None:
    """Any state → failed."""
    conn.execute(
        "UPDATE capture SET state = 'failed', cause = %s WHERE id = %s", [cause, capture_id]
    )


def fail_open(conn: Connection, run_id: int) -> None:
    """End the captures of a run that has failed for another's sake."""
    conn.execute(
        "UPDATE capture SET state = 'failed', cause = coalesce(cause, %s) "
        "WHERE run_id = %s AND state IN ('queued', 'rendering')",
        ["The run ended before this dashboard was captured.", run_id],
    )


def all_done(conn: Connection, run_id: int) -> bool:
    """Say whether every capture of the run is done.

    To be called with the run's row locked (`runs.lock`): of two workers that finish the last
    two captures at once, the second then sees the first one's result, and one of them goes on.
    """
    row = conn.execute(
        "SELECT bool_and(state = 'done') AS done FROM capture WHERE run_id = %s", [run_id]
    ).fetchone()
    return bool(row and row["done"])
