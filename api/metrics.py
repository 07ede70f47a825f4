"""`/metrics` for Prometheus: what waits, how long already, and what did not go out.

All of it is read from the database at the moment of asking, so any API process tells the same,
whatever has been restarted. What a single process does is not told here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from flask import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from api.auth import public
from api.blueprint import Blueprint
from api.services import services
from shared import backlog, db, mail_server, meters, presence, retention, tally, tasks
from shared.backlog import Amount, Line
from shared.db import Connection
from shared.presence import Process
from shared.queue import QUEUES

blp = Blueprint("metrics", __name__, description="For Prometheus.")

TEXT = {"type": "string"}
LANES = ("interactive", "scheduled")


@blp.route("/metrics", methods=["GET"])
@public
@blp.answers(200, TEXT, content_type="text/plain")
def read_metrics() -> Response:
    """Return the metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_FromDatabase())
    text = generate_latest(registry) + meters.text()
    return Response(text, content_type=CONTENT_TYPE_LATEST)


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
    there = backlog.read(conn)
    yield from _amount("reports", "due", there.due, "Reports whose slot no beat has claimed yet.")
    yield from _amount(
        "runs", "waiting", there.waiting, "Scheduled runs that might begin: too few workers?"
    )
    yield from _amount(
        "deliveries", "open", there.open_mails, "Mails to go out: does the mail server hang?"
    )
    yield _gauge(
        "deliveries_unknown",
        "Mails of which nobody knows whether they arrived; a person has to resolve them.",
        there.unknown,
    )
    yield _gauge(
        "leases_expired",
        "Tasks of workers that are gone, before beat has settled them.",
        there.expired,
    )
    yield _gauge(
        "next_due_seconds",
        "Until the next slot of any report; NaN where there is none.",
        math.nan if there.next_due is None else there.next_due,
    )
    yield _gauge("documents_bytes", "What documents take of the database's disk.", there.stored)
    yield from _stored(conn)
    yield from _lines(there.lines)
    yield _family(
        "runs_not_sent_last_day",
        "Slots of the last 24 hours that did not go out, in whole or in part.",
        ("state",),
        [((state,), number) for state, number in there.not_sent.items()],
    )
    yield from _endings(conn)
    yield from _processes(presence.find(conn))
    yield _family(
        "mail_server_up",
        "1: mails go out; 0: the last one did not, since it is away or asked for fewer.",
        ("server",),
        [((server.name,), server.sound) for server in mail_server.find(conn)],
    )


def _stored(conn: Connection) -> Iterator[Metric]:
    """What documents take, as beat counts it once a minute."""
    found = retention.stored(conn)
    numbers = [((one.store,), one.number) for one in found]
    yield _family("documents_stored", "Documents, by the store they lie in.", ("store",), numbers)
    yield _family(
        "documents_stored_bytes",
        "What documents hold, by the store they lie in, without what deleted ones have left.",
        ("store",),
        [((one.store,), one.bytes) for one in found],
    )
    yield _gauge(
        "objects_to_delete",
        "Objects of the S3 store that no document has and that are still there.",
        retention.loose(conn),
    )


def _lines(lines: Sequence[Line]) -> Iterator[Metric]:
    """Tasks by kind, lane and state, also those of which there are none: rates need a zero."""
    found = {(line.kind, line.lane, line.state): line for line in lines}
    every = list(product(tasks.KINDS, LANES, ("waiting", "running", "paused")))
    yield _family(
        "tasks",
        "What workers have to do: waiting, running, or paused until another attempt.",
        ("kind", "lane", "state"),
        [(key, found[key].number if key in found else 0) for key in every],
    )
    waiting = [(kind, lane) for kind, lane, state in every if state == "waiting"]
    yield _family(
        "tasks_oldest_waiting_seconds",
        "How long the one that waits longest might have been taken.",
        ("kind", "lane"),
        [
            (key, found[*key, "waiting"].oldest if (*key, "waiting") in found else 0)
            for key in waiting
        ],
    )


def _endings(conn: Connection) -> Iterator[Metric]:
    for name, text, labels in (
        (tally.RUNS, "Runs that ended, by how.", ("kind", "state")),
        (tally.DELIVERIES, "Mails that are settled, by how.", ("state",)),
    ):
        family = CounterMetricFamily(f"broadsheet_{name}", text, labels=labels)
        for ending in tally.count(conn, name):
            values = (ending.kind, ending.state)
            family.add_metric(values[-len(labels) :], ending.number)
        yield family


def _processes(there: Sequence[Process]) -> Iterator[Metric]:
    """Processes by role, and pool children by queue, that were seen a moment ago."""
    live = [process for process in there if process.is_there]
    roles = Counter(process.role for process in live)
    yield _family(
        "processes",
        "Processes that are there; of workers, the children that do tasks.",
        ("role",),
        [((role,), roles[role]) for role in presence.ROLES],
    )
    slots = Counter(queue for process in live for queue in process.queues)
    yield _family(
        "slots",
        "Tasks of a queue that can be done at once: pool children that listen to it.",
        ("queue",),
        [((queue,), slots[queue]) for queue in sorted(set(QUEUES.values()))],
    )
    ticks = [
        float(process.detail["ticked_at"])
        for process in live
        if process.role == presence.BEAT and "ticked_at" in process.detail
    ]
    yield _gauge(
        "beat_last_tick_timestamp_seconds",
        "When any beat last did all that a tick does; 0 where none is there.",
        max(ticks, default=0),
    )


def _amount(noun: str, what: str, amount: Amount, text: str) -> Iterator[Metric]:
    yield _gauge(f"{noun}_{what}", text, amount.number)
    yield _gauge(
        f"{noun}_oldest_{what}_seconds", "For how long the oldest of them has been.", amount.oldest
    )


def _family(
    name: str,
    text: str,
    labels: Sequence[str],
    values: Iterable[tuple[Sequence[str], float]],
) -> Metric:
    family = GaugeMetricFamily(f"broadsheet_{name}", text, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"broadsheet_{name}", text, value=value)
