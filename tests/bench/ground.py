"""What the scheduling benches stand on: a Postgres that waits for the disk, filled by the million.

Reports are made by one statement, since what is measured begins after them. `arm` makes some of
them due: a mix of rules and zones whose slot is a given moment.
"""

from __future__ import annotations

import datetime as dt
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from deploy.local import processes, services
from shared import db, reports
from shared.migrate import migrate

ORGS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Addresses of what runs, and the folder that goes with it."""

    folder: Path
    postgres_url: str
    redis_url: str

    @property
    def environ(self) -> dict[str, str]:
        """The environment of Broadsheet's processes on this ground."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("BROADSHEET_")}
        return kept | {
            processes.MARK: str(self.folder),
            "BROADSHEET_DATABASE_URL": self.postgres_url,
            "BROADSHEET_REDIS_URL": self.redis_url,
            "BROADSHEET_LOG_LEVEL": "ERROR",
        }


@contextmanager
def ground() -> Iterator[Ground]:
    """Run Postgres and Redis while the block does; leave nothing."""
    with tempfile.TemporaryDirectory(prefix="broadsheet-") as name:
        folder = Path(name).resolve()
        postgres, url = _durable_postgres(folder)
        try:
            migrate(url)
            with services.redis(folder / "redis") as redis_url:
                yield Ground(folder=folder, postgres_url=url, redis_url=redis_url)
        finally:
            processes.stop([postgres])


def _durable_postgres(folder: Path) -> tuple[processes.Process, str]:
    """Start a Postgres as an operator's is: with a commit on the disk before it is answered.

    The stack's own does not wait for the disk, which would flatter every figure here.
    """
    data, log = folder / "postgres", folder / "postgres.log"
    process, url = services.start_postgres(data, log, os.environ)
    processes.stop([process])
    programs, user = services._postgres_wheel(data)
    process = processes.start(
        "postgres",
        # Commit times say when a row could be seen, for the lag of a burst.
        [
            programs / "postgres",
            "-D",
            data,
            "-k",
            data,
            "-h",
            "",
            "-c",
            "track_commit_timestamp=on",
        ],
        log=log,
        environ=os.environ,
        user=user,
        farewell=process.farewell,
    )
    process.wait_until(lambda: services._answers(url))
    return process, url


#: Every rule but `once`, in four zones. None of them is due for a month.
FILL = """
INSERT INTO report (uid, org_id, user_id, name, subject, message, recipients, reply_to, state,
    frequency, interval_frequency, interval_amount, workdays_only, day_of_month, time_zone,
    start_at, dashboards, formats, options, scale_factor, enable_dashboard_url, enable_csv,
    created, updated, next_run_at, tzdata)
SELECT 'bench' || n, 1 + n %% %(orgs)s, 0, 'Report ' || n, '', '', '{ada@example.com}', '{}',
    'scheduled', (ARRAY['daily', 'weekly', 'monthly', 'hourly', 'custom'])[1 + n %% 5],
    CASE n %% 5 WHEN 4 THEN 'days' ELSE '' END, CASE n %% 5 WHEN 4 THEN 2 ELSE 0 END, false, '',
    (ARRAY['UTC', 'Europe/Warsaw', 'America/New_York', 'Asia/Tokyo'])[1 + n %% 4], far,
    jsonb_build_array(jsonb_build_object('dashboard', jsonb_build_object('uid', 'd' || n %% 500))),
    '{pdf}', '{}', 0, false, false, now(), now(), far, %(tzdata)s
  FROM generate_series(1, %(number)s) AS n,
       LATERAL (SELECT now() + interval '30 days' + n %% 86400 * interval '1 second' AS far) AS of
"""

#: A monthly rule begins at the slot itself, since no other date is in every month.
ARM = """
UPDATE report SET next_run_at = %(slot)s, state = 'scheduled',
       start_at = %(slot)s - CASE frequency WHEN 'monthly' THEN interval '0'
                                            ELSE interval '14 days' END
 WHERE id IN (SELECT id FROM report ORDER BY id %% 7919, id LIMIT %(due)s)
"""
DISARM = """
UPDATE report SET next_run_at = now() + interval '30 days', state = 'scheduled',
       start_at = now() + interval '30 days'
 WHERE next_run_at < now() + interval '29 days' OR next_run_at IS NULL
"""


def fill(url: str, number: int) -> None:
    """Have `number` reports and nothing else, none of them due."""
    with _patient(url) as conn:
        conn.execute("TRUNCATE report, run, capture, task RESTART IDENTITY CASCADE")
        conn.execute(FILL, {"number": number, "orgs": ORGS, "tzdata": reports.tzdata_release()})
        conn.execute("VACUUM (ANALYZE) report")
        conn.execute("CHECKPOINT")


def arm(url: str, due: int, *, ahead: float = 0.0) -> dt.datetime:
    """Make `due` reports due `ahead` seconds from now, without any run; return their slot."""
    with _patient(url) as conn:
        conn.execute("TRUNCATE run, capture, task RESTART IDENTITY CASCADE")
        conn.execute(DISARM)
        slot = db.clock(conn).replace(microsecond=0) + dt.timedelta(seconds=ahead)
        conn.execute(ARM, {"slot": slot, "due": due})
        conn.execute("VACUUM (ANALYZE) report")
        conn.execute("CHECKPOINT")
    return slot


def _patient(url: str) -> psycopg.Connection[db.DictRow]:
    """Return a connection that no statement of a million rows is too long for."""
    conn = db.connect(url, autocommit=True, application="bench")
    conn.execute("SET statement_timeout = 0")
    return conn
