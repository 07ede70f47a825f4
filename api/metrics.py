"""`/metrics` for Prometheus: what waits, how long already, and what did not go out.

All of it is read from the database at the moment of asking, so any API process tells the same,
whatever has been restarted. What a single process does is not told here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from api.auth import public
from api.blueprint import Blueprint
from api.services import services
from shared import db, mail_server
from shared.db import Connection

blp = Blueprint("metrics", __name__, description="For Prometheus.")

TEXT = {"type": "string"}

DUE = """
SELECT count(*) AS n, coalesce(extract(epoch FROM statement_timestamp() - min(next_run_at)), 0)
       ::float8 AS age
  FROM report WHERE state = 'scheduled' AND next_run_at <= statement_timestamp()
"""
WAITING = """
SELECT count(*) AS n, coalesce(extract(epoch FROM statement_timestamp() - min(not_before)), 0)
       ::float8 AS age
  FROM run WHERE state = 'queued' AND admitted_at IS NULL AND not_before <= statement_timestamp()
"""
TASKS = """
SELECT kind, lane, CASE WHEN lease_until IS NOT NULL THEN 'running'
                        WHEN not_before > statement_timestamp() THEN 'paused'
                        ELSE 'waiting' END AS state,
       count(*) AS n
  FROM task GROUP BY 1, 2, 3
"""
NOT_SENT = """
SELECT state, count(*) AS n FROM run
 WHERE kind = 'schedule' AND state IN ('failed', 'partial', 'missed', 'skipped')
   AND finished_at > statement_timestamp() - interval '1 day'
 GROUP BY state
"""
#: The last condition is what its index is for, and follows from the others.
UNSENT = """
SELECT count(*) AS n, coalesce(extract(epoch FROM statement_timestamp() - min(since)), 0)
       ::float8 AS age
  FROM delivery WHERE state IN ('pending', 'sending', 'dot', 'retry') AND state <> 'sent'
"""
UNKNOWN = "SELECT count(*) AS n FROM delivery WHERE state = 'unknown'"


@blp.route("/metrics", methods=["GET"])
@public
@blp.answers(200, TEXT, content_type="text/plain")
def read_metrics() -> Response:
    """Return the metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_FromDatabase())
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class _FromDatabase:
    """Reads everything in one transaction, at the moment it is collected."""

    def describe(self) -> list[Metric]:
        """Name nothing ahead, so that registering asks nothing of the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Give the metrics."""
        with db.transaction(services().pool) as conn:
            yield from _collected(conn)


def _collected(conn: Connection) -> Iterator[Metric]:
    due, waiting = _row(conn, DUE), _row(conn, WAITING)
    yield _gauge("reports_due", "Reports whose slot has come and that no beat claimed.", due["n"])
    yield _gauge(
        "reports_oldest_due_seconds", "How long the oldest of them is due. No beat?", due["age"]
    )
    yield _gauge("runs_waiting", "Scheduled runs that wait for their admission.", waiting["n"])
    yield _gauge(
        "runs_oldest_waiting_seconds",
        "How long the oldest of them might have begun. Too few workers?",
        waiting["age"],
    )
    tasks = GaugeMetricFamily(
        "broadsheet_tasks",
        "What workers have to do: waiting, running, or paused until another attempt.",
        labels=("kind", "lane", "state"),
    )
    for row in conn.execute(TASKS):
        tasks.add_metric([row["kind"], row["lane"], row["state"]], row["n"])
    yield tasks
    not_sent = GaugeMetricFamily(
        "broadsheet_runs_not_sent_last_day",
        "Slots of the last 24 hours that did not go out, in whole or in part.",
        labels=("state",),
    )
    found = {row["state"]: row["n"] for row in conn.execute(NOT_SENT)}
    for state in ("failed", "partial", "missed", "skipped"):
        not_sent.add_metric([state], found.get(state, 0))
    yield not_sent
    unsent = _row(conn, UNSENT)
    yield _gauge("deliveries_open", "Mails that are to go out and have not yet.", unsent["n"])
    yield _gauge(
        "deliveries_oldest_open_seconds",
        "How long the oldest of them could have gone out. Does the mail server hang?",
        unsent["age"],
    )
    yield _gauge(
        "deliveries_unknown",
        "Mails of which nobody knows whether they arrived; a person has to resolve them.",
        _row(conn, UNKNOWN)["n"],
    )

    servers = GaugeMetricFamily(
        "broadsheet_mail_server_up",
        "1: mails go out; 0: the last one did not, since it is away or asked for fewer.",
        labels=("server",),
    )
    for server in mail_server.find(conn):
        servers.add_metric([server.name], server.sound)
    yield servers


def _row(conn: Connection, query: str) -> dict[str, Any]:
    row = conn.execute(query).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always gives a row
    return row


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"broadsheet_{name}", text, value=value)
