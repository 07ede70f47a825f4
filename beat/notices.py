"""Notices: the mail that tells the owner of a report that it did not go out.

A notice is a run of its own kind: the workers write, send and record it like any other mail, and
the unique slot of a run keeps it from coming twice.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import getaddresses
from typing import Any

from shared import db, log, queue, runs, schedule, tasks, traces
from shared.db import Connection, Pool
from shared.queue import Bell
from shared.runs import NewRun
from shared.settings import Settings
from shared.spec import RunSpec
from shared.tasks import Ring

logger = log.get(__name__)

#: A run that ended longer ago is not told of any more, when beats were away for so long.
OLDEST = dt.timedelta(days=1)
#: A transaction that ends a run may become visible so much later than the time it wrote down.
OVERLAP = dt.timedelta(seconds=30)
BATCH = 200

WORDS = {
    "failed": "could not be sent",
    "partial": "did not reach all of its recipients",
    "missed": "was not sent",
    "skipped": "was left out",
}


@dataclass(slots=True)
class Told:
    """Up to when this beat has looked for runs that did not go out."""

    until: dt.datetime | None = None


def tell_owners(pool: Pool, bell: Bell, told: Told, settings: Settings) -> int:
    """Make a notice of each report that failed its slot and names who is to know of it.

    Of several slots of one report the newest is told of, with the number of the others. Returns
    how many notices were made.
    """
    with db.transaction(pool) as conn:
        now = db.clock(conn)
        since = max(now - OLDEST, told.until - OVERLAP if told.until else now - OLDEST)
        found = runs.untold(conn, since=since, limit=BATCH)
        rings = [ring for row in found for ring in _notice(conn, row, settings)]
    if len(found) < BATCH:
        # Else there are more of the same time; those told of now are not found again.
        told.until = now
    queue.announce(pool, bell, rings)
    return len(rings)


def _notice(conn: Connection, row: Mapping[str, Any], settings: Settings) -> list[Ring]:
    recipients = tuple(address for _, address in getaddresses([row["owners"]]) if address)
    new = NewRun(
        org_id=row["org_id"],
        report_id=row["report_id"],
        report_revision=row["report_revision"],
        kind=runs.NOTICE,
        scheduled_for=row["scheduled_for"],
        spec=_spec(row, recipients, settings.public_url),
        lifetime=settings.run_timeout,
    )
    with traces.span(
        "notice",
        kind="producer",
        within=traces.continued(None),
        org=new.org_id,
        report=new.report_id,
        run_kind=new.kind,
    ) as span:
        run_id = runs.insert(conn, new)
        span.note(run=run_id)
    if run_id is None:
        return []
    runs.admit_without_captures(conn, run_id)
    logger.info(
        "notice.made",
        org_id=row["org_id"],
        report_id=row["report_id"],
        run_id=run_id,
        of_run=row["id"],
    )
    return tasks.insert_assemblies(conn, {run_id: runs.LANES[runs.NOTICE]})


def _spec(row: Mapping[str, Any], recipients: tuple[str, ...], public_url: str) -> RunSpec:
    slot = schedule.local(row["scheduled_for"], row["time_zone"])
    what = WORDS[row["state"]]
    lines = [
        f"The report “{row['name']}” {what}.",
        "",
        f"Due: {slot:%Y-%m-%d %H:%M} ({row['time_zone']}, {slot.isoformat()[-6:]})",
        f"State: {row['state']}",
        f"Cause: {row['cause']}",
    ]
    if row["others"]:
        lines.append(f"So it was for {row['others']} earlier slots; the report's history has them.")
    lines += ["", f"The whole story: {public_url}/api/reports/runs/{row['id']}"]
    return RunSpec(
        name=row["name"],
        dashboards=(),
        formats=(),
        subject=f"{row['name']} {what}",
        message="\n".join(lines),
        recipients=recipients,
        time_zone=row["time_zone"],
    )
