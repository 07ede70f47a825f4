"""`/metrics` for Prometheus: what waits, how long already, and what did not go out.

It is read from the database at the moment of asking, so any API process tells the same, whatever
has been restarted. Beside it stands what this process and its siblings measured of themselves.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from itertools import accumulate, product

from flask import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.utils import floatToGoString

from api.auth import public
from api.blueprint import Blueprint
from api.services import services
from shared import (
    backlog,
    db,
    deliveries,
    documents,
    mail_server,
    meters,
    presence,
    retention,
    runs,
    tally,
    tasks,
)
from shared.backlog import Amount, Line
from shared.db import Connection
from shared.mail_server import MailServer
from shared.presence import Process
from shared.queue import NAMES, QUEUES
from shared.retention import Stored
from shared.tally import Total

blp = Blueprint("metrics", __name__, description="For Prometheus.")

TEXT = {"type": "string"}
#: What became of captures; nobody needed an `unwanted` one any more.
OUTCOMES = ("complete", "incomplete", "failed", "unwanted")


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
    yield _family(
        "build_info",
        "The release of this API process.",
        ("version",),
        [((metadata.version("broadsheet"),), 1)],
    )
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
    yield _gauge("database_bytes", "What the whole database takes of its disk.", there.database)
    yield from _stored(conn)
    yield from _lines(there.lines)
    yield _family(
        "runs_not_sent_last_day",
        "Slots of the last 24 hours that did not go out, in whole or in part.",
        ("state",),
        [((state,), number) for state, number in there.not_sent.items()],
    )
    yield from _totals(tally.read(conn))
    yield from _processes(presence.find(conn))
    yield from _mail_servers(mail_server.find(conn))


def _mail_servers(servers: Sequence[MailServer]) -> Iterator[Metric]:
    yield _family(
        "mail_server_up",
        "1: mails go out; 0: the last one did not, since it is away or asked for fewer.",
        ("server",),
        [((server.name,), server.sound) for server in servers],
    )
    yield _family(
        "mail_server_failures",
        "Connections to it that failed in a row.",
        ("server",),
        [((server.name,), server.failures) for server in servers],
    )


def _stored(conn: Connection) -> Iterator[Metric]:
    """What documents take, as beat counts it once a minute."""
    counted = {one.store: one for one in retention.stored(conn)}
    found = [
        counted.get(store, Stored(store=store, number=0, bytes=0)) for store in documents.STORES
    ]
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
    every = list(product(tasks.KINDS, tasks.LANES, ("waiting", "running", "paused")))
    yield _family(
        "tasks",
        "What workers have to do: waiting, running, or paused until another attempt.",
        ("queue", "kind", "lane", "state"),
        [((QUEUES[key[0]], *key), found[key].number if key in found else 0) for key in every],
    )
    waiting = [(kind, lane) for kind, lane, state in every if state == "waiting"]
    yield _family(
        "tasks_oldest_waiting_seconds",
        "How long the one that waits longest might have been taken.",
        ("queue", "kind", "lane"),
        [
            (
                (QUEUES[key[0]], *key),
                found[*key, "waiting"].oldest if (*key, "waiting") in found else 0,
            )
            for key in waiting
        ],
    )


#: What is counted: its name, what it is, its labels, and their values.
COUNTED: Sequence[tuple[str, str, str, tuple[str, ...], Sequence[tuple[str, ...]]]] = (
    (
        tally.RUNS,
        "runs",
        "Runs that ended, by how; one that is taken up again ends again.",
        ("kind", "state"),
        tuple(product(runs.LANES, runs.FINAL)),
    ),
    (
        tally.SLOTS,
        "slots_claimed",
        "Slots that beats wrote down: to be run, missed, or skipped.",
        ("state",),
        (("queued",), ("missed",), ("skipped",)),
    ),
    (
        tally.CAPTURES,
        "captures",
        "Captures that ended, by what came of them.",
        ("outcome",),
        tuple((outcome,) for outcome in OUTCOMES),
    ),
    (
        tally.DELIVERIES,
        "deliveries",
        "Mails that were settled, by how; one that is sent again is settled again.",
        ("state",),
        ((deliveries.SENT,), (deliveries.FAILED,), (deliveries.UNKNOWN,)),
    ),
    (
        tally.LEASES,
        "leases_lost",
        "Tasks of workers that were gone, or hung, which beat gave to others or ended.",
        ("kind",),
        tuple((kind,) for kind in tasks.KINDS),
    ),
)


def _totals(totals: Mapping[str, Sequence[Total]]) -> Iterator[Metric]:
    """Counters and histograms, also of what never was: rates need a zero to begin with."""
    for name, told, text, labels, known in COUNTED:
        counter = CounterMetricFamily(f"broadsheet_{told}", text, labels=labels)
        numbers = dict.fromkeys(known, 0)
        for total in totals.get(name, ()):
            key = tuple(part for part in (total.kind, total.state) if part)
            numbers[key] = numbers.get(key, 0) + total.number
        for values, number in numbers.items():
            counter.add_metric(values, number)
        yield counter
    for name, text in (
        (tally.LAG, "From when a run might have begun to its first capture, by lane."),
        (tally.DURATION, "From a run's first capture to its end, by lane."),
    ):
        yield _histogram(f"{name}_seconds", text, totals.get(name, ()))


def _histogram(name: str, text: str, totals: Sequence[Total]) -> Metric:
    family = HistogramMetricFamily(f"broadsheet_{name}", text, labels=("lane",))
    for lane in tasks.LANES:
        ours = [total for total in totals if runs.LANES.get(total.kind) == lane]
        bounds = sorted({*tally.BOUNDS, math.inf, *(total.le for total in ours)})
        numbers = (sum(total.number for total in ours if total.le == bound) for bound in bounds)
        family.add_metric(
            (lane,),
            buckets=list(zip(map(floatToGoString, bounds), accumulate(numbers), strict=True)),
            sum_value=sum(total.seconds for total in ours),
        )
    return family


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
        [((queue,), slots[queue]) for queue in sorted(NAMES)],
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
