"""Costs: what past captures and assemblies took of a capture worker's time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shared import forecast, reports
from shared.db import Connection
from shared.forecast import Firing
from shared.spec import CaptureSpec

#: The newest captures and runs that are looked at.
LOOKED_AT = 20_000
#: What something is taken to cost that was never made here, in seconds.
UNKNOWN_CAPTURE, UNKNOWN_ASSEMBLY = 3.0, 0.3
#: Taking a task and storing its result.
BESIDES = 0.03
#: Reports that are looked at one by one; of more, every so many-th.
ONE_BY_ONE = 50_000


@dataclass(frozen=True, slots=True)
class Costs:
    """Median seconds: by organisation and dashboard, of all captures, and of an assembly.

    `captures` says of how many captures they are.
    """

    by_dashboard: Mapping[tuple[int, str], float]
    any_capture: float
    assembly: float
    captures: int

    def of(self, org_id: int, spec: CaptureSpec) -> float:
        """Return what a capture costs; like any other where this dashboard has not been seen."""
        return self.by_dashboard.get((org_id, spec.dashboard.uid), self.any_capture)


CAPTURES = """
SELECT org_id, spec->'dashboard'->>'uid' AS uid,
       (SELECT sum(value::text::float8) / 1000 FROM json_each(timings)
         WHERE json_typeof(value) = 'number') AS seconds
  FROM capture WHERE state = 'done' AND created_at > statement_timestamp() - %(back)s
 ORDER BY id DESC LIMIT %(most)s
"""
ASSEMBLIES = """
SELECT (timings->>'assemble')::float8 / 1000 AS seconds FROM run
 WHERE rendered_at > statement_timestamp() - %(back)s AND timings ? 'assemble'
 ORDER BY id DESC LIMIT %(most)s
"""


def measured(conn: Connection, *, back: dt.timedelta) -> Costs:
    """Return what captures and assemblies cost within `back`."""
    wanted = {"back": back, "most": LOOKED_AT}
    by_dashboard: dict[tuple[int, str], list[float]] = {}
    for row in conn.execute(CAPTURES, wanted):
        if row["seconds"] is not None:
            by_dashboard.setdefault((row["org_id"], row["uid"]), []).append(row["seconds"])
    every = [seconds for some in by_dashboard.values() for seconds in some]
    assemblies = [row["seconds"] for row in conn.execute(ASSEMBLIES, wanted)]
    return Costs(
        by_dashboard={
            where: forecast.median(some) + BESIDES for where, some in by_dashboard.items()
        },
        any_capture=forecast.median(every) + BESIDES if every else UNKNOWN_CAPTURE,
        assembly=forecast.median(assemblies) + BESIDES if assemblies else UNKNOWN_ASSEMBLY,
        captures=len(every),
    )


def firings(conn: Connection, costs: Costs, *, org_id: int | None = None) -> Iterator[Firing]:
    """Give what each scheduled report asks for; of very many a sample, weighed accordingly."""
    every = max(1, reports.count_scheduled(conn, org_id=org_id) // ONE_BY_ONE)
    for report in reports.scheduled(conn, every=every, org_id=org_id):
        spec = report.spec()
        at = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
        wanted = list(spec.captures(at))
        yield Firing(
            report_id=report.id,
            rule=report.schedule,
            captures=[
                (capture.key(report.org_id), costs.of(report.org_id, capture)) for capture in wanted
            ],
            assembly=costs.assembly,
            spread=float(report.options.get("spreadSeconds") or 0),
            weight=float(every),
        )
