"""The course of one chaos run: load, faults, healing, comparison."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from shared import db
from shared.errors import DatabaseAway
from tests.chaos import load, verdict
from tests.chaos.faults import Done, Faults
from tests.chaos.field import Field
from tests.chaos.hands import Ask, Hands
from tests.chaos.load import Callers, Expected, Sending
from tests.chaos.logs import broken
from tests.chaos.verdict import Verdict
from tests.chaos.wire import Wire

#: So that what takes a minute in production takes seconds here.
SETTINGS = {
    "LEASE_SECONDS": "3",
    # Many more attempts than a worker's death usually costs: dying here is usual.
    "MAX_ATTEMPTS": "12",
    "SMTP_TIMEOUT": "5",
    "GRAFANA_TIMEOUT": "5",
    "RENDER_TIMEOUT": "15",
    "WAIT_TIMEOUT": "10",
}
#: Seconds for what is open at the last fault: a message that was lost is made up in 30.
PATIENCE = 150.0
LOOK = 0.5

#: Waits of 30 seconds to half an hour are arithmetic, which unit tests hold. Here they end at once;
#: but for captures only while there is a Grafana, or all their attempts would go in its absence.
HURRY = """
UPDATE task SET not_before = clock_timestamp(), ring_at = clock_timestamp()
 WHERE lease_until IS NULL AND not_before > clock_timestamp() + interval '1 second'
   AND (kind <> 'render' OR %s)
"""
#: So do the pauses that a mail server is given, of a minute to ten.
HURRY_MAIL = """
UPDATE mail_server
   SET open_until = CASE WHEN open_until > soon THEN soon ELSE open_until END,
       quiet_until = CASE WHEN quiet_until > soon THEN soon ELSE quiet_until END
  FROM (SELECT clock_timestamp() + interval '1 second') AS now (soon)
"""
OPEN = """
SELECT (SELECT count(*) FROM run WHERE finished_at IS NULL)
     + (SELECT count(*) FROM task)
     + (SELECT count(*) FROM report WHERE state = 'scheduled' AND next_run_at <= %s) AS n
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What happened."""

    verdict: Verdict
    faults: Sequence[Done]
    wire: Wire
    reports: Sequence[Expected]
    sendings: Sequence[Sending]
    asks: Sequence[Ask]
    #: Seconds from the last fault until nothing was open.
    healed_in: float


def tell(logs: Path, *, seed: int, seconds: float) -> Story:
    """Run it all, and return what happened."""
    with (
        Wire(seed) as wire,
        Field(logs, smtp_port=wire.port, settings=SETTINGS) as field,
    ):
        reports = load.make_reports(field, seed, seconds)
        callers = Callers(field, seed, seconds, reports)
        hands = Hands(field, seed, reports)
        faults = Faults(field, seed)
        end = threading.Event()
        hurry = threading.Thread(target=_hurry, args=(field, end), name="hurry")
        try:
            hurry.start()
            callers.start()
            hands.start()
            faults.start()
            # The duration that was asked for; nothing but its end is waited for.
            end.wait(seconds)
            faults.stop()
            wire.calm = True
            field.raise_all()
            begun = time.monotonic()
            callers.stop(timeout=60)
            hands.stop()
            _wait_for_the_end(field, reports)
            healed_in = time.monotonic() - begun
        finally:
            faults.stop()
            callers.stop(timeout=0)
            hands.stop()
            end.set()
            hurry.join()
        with db.connect(field.database_url) as conn:
            found = verdict.compare(conn, wire, faults.done, reports, callers.sendings, hands)
        found.broke += broken(logs)
        return Story(
            verdict=found,
            faults=faults.done,
            wire=wire,
            reports=reports,
            sendings=callers.sendings,
            asks=[*itertools.chain(*hands.asks.values()), *hands.resolved],
            healed_in=healed_in,
        )


def _hurry(field: Field, end: threading.Event) -> None:
    while not end.wait(1.0):
        with suppress(DatabaseAway), db.translated(), db.connect(field.database_url) as conn:
            conn.execute(HURRY, [field.grafana_answers()])
            conn.execute(HURRY_MAIL)


def _wait_for_the_end(field: Field, reports: Sequence[Expected]) -> None:
    """Return when nothing is open, or when it has had its time; the comparison tells then."""
    last = max(slot for report in reports for slot in report.slots)
    deadline = time.monotonic() + PATIENCE
    looked = threading.Event()
    while time.monotonic() < deadline:
        with suppress(DatabaseAway), db.translated(), db.connect(field.database_url) as conn:
            row = conn.execute(OPEN, [last]).fetchone()
            if row and not row["n"]:
                return
        looked.wait(LOOK)
