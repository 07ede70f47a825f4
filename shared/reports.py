"""Reports: the stored configurations, and the SQL that reads, writes and claims them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parseaddr
from importlib import metadata
from typing import Any

from psycopg.types.json import Jsonb

from shared import log, schedule
from shared.db import Connection
from shared.schedule import InvalidSchedule, Schedule
from shared.spec import DELIVER, DashboardSpec, RunSpec

logger = log.get(__name__)

#: A run that is made later than this after its slot is late, and the mail says so.
PUNCTUAL = dt.timedelta(seconds=60)

DRAFT, SCHEDULED, PAUSED, EXPIRED = "draft", "scheduled", "paused", "expired"
STATES = (DRAFT, SCHEDULED, PAUSED, EXPIRED)
FORMATS = ("pdf", "csv", "image")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A row of `report`. `dashboards` and `options` are kept as the caller wrote them.

    A dashboard is `{"dashboard": {"uid", "id"?, "name"?}, "timeRange": {"from", "to"},
    "reportVariables": {name: text or [texts]}}`, as in Grafana's API.
    """

    id: int = 0
    uid: str
    org_id: int
    user_id: int
    name: str
    subject: str = ""
    message: str = ""
    recipients: Sequence[str] = ()
    reply_to: Sequence[str] = ()
    state: str = SCHEDULED
    schedule: Schedule
    dashboards: Sequence[Mapping[str, Any]] = ()
    formats: Sequence[str] = ("pdf",)
    options: Mapping[str, Any] = field(default_factory=dict)
    scale_factor: int = 0
    enable_dashboard_url: bool = False
    enable_csv: bool = False
    created: dt.datetime
    updated: dt.datetime
    revision: int = 1
    next_run_at: dt.datetime | None = None

    def spec(self, *, late: bool = False) -> RunSpec:
        """Return the frozen copy that a run of this report carries."""
        # Formats we do not know are kept and echoed for their owner's sake, but nothing is made
        # of them; a report always comes as something.
        formats = [name for name in self.formats if name in FORMATS] or ["pdf"]
        if self.enable_csv and "csv" not in formats:
            formats.append("csv")
        options = self.options
        return RunSpec(
            name=self.name,
            dashboards=tuple(_dashboard_spec(item, options) for item in self.dashboards),
            formats=tuple(formats),
            subject=self.subject,
            message=self.message,
            recipients=_bare(self.recipients),
            reply_to=_bare(self.reply_to),
            orientation=str(options.get("orientation") or "portrait"),
            layout=str(options.get("layout") or "grid"),
            scale_factor=self.scale_factor,
            show_variables=bool(options.get("pdfShowTemplateVariables")),
            # Servers from before the option existed always made one file, and so do we.
            combine=bool(options.get("pdfCombineOneFile", True)),
            link=self.enable_dashboard_url,
            time_zone=self.schedule.time_zone,
            content_time_zone=str(options.get("timeZone") or ""),
            table_appendix=bool(options.get("pdfIncludeTables")),
            csv_raw=options.get("csvValues") == "raw",
            csv_encoding=str(options.get("csvEncoding") or ""),
            csv_guard=bool(options.get("csvFormulaGuard", True)),
            render_timeout=int(options.get("renderTimeout") or 0),
            on_incomplete=str(options.get("onIncomplete") or DELIVER),
            late=late,
        )


def _bare(addresses: Sequence[str]) -> tuple[str, ...]:
    """Return the envelope addresses, each once: of "Ada <ada@example.com>" ada@example.com."""
    return tuple(dict.fromkeys(parseaddr(address)[1] or address for address in addresses))


def _dashboard_spec(item: Mapping[str, Any], options: Mapping[str, Any]) -> DashboardSpec:
    dashboard = item.get("dashboard") or {}
    own = item.get("timeRange") or {}
    # The whole report's range is the older form; the dashboard's own wins.
    legacy = options.get("timeRange") or {}
    time_range = own if own.get("from") or own.get("to") else legacy
    return DashboardSpec(
        uid=str(dashboard.get("uid", "")),
        name=str(dashboard.get("name", "")),
        time_from=str(time_range.get("from") or ""),
        time_to=str(time_range.get("to") or ""),
        variables={
            str(name): tuple(str(text) for text in (value if isinstance(value, list) else [value]))
            for name, value in (item.get("reportVariables") or {}).items()
            if value is not None
        },
    )


def tzdata_release() -> str:
    """Return the release of the time zone database in use, kept beside what it computed."""
    return metadata.version("tzdata")


RULE = ("frequency", "interval_frequency", "interval_amount", "workdays_only", "day_of_month",
        "time_zone", "start_at", "end_at")  # fmt: skip
COLUMN_NAMES = ("id", "uid", "org_id", "user_id", "name", "subject", "message", "recipients",
                "reply_to", "state", *RULE, "dashboards", "formats", "options", "scale_factor",
                "enable_dashboard_url", "enable_csv", "created", "updated", "revision",
                "next_run_at")  # fmt: skip
COLUMNS = ", ".join(COLUMN_NAMES)


def _from_row(row: Mapping[str, Any]) -> Report:
    values = dict(row)
    return Report(schedule=_take_rule(values), **values)


def _take_rule(values: dict[str, Any]) -> Schedule:
    """Take the columns of the rule out of a row, and return the rule."""
    return Schedule(
        frequency=values.pop("frequency"),
        time_zone=values.pop("time_zone"),
        start=values.pop("start_at"),
        end=values.pop("end_at"),
        interval_frequency=values.pop("interval_frequency"),
        interval_amount=values.pop("interval_amount"),
        workdays_only=values.pop("workdays_only"),
        day_of_month=values.pop("day_of_month"),
    )


def _to_row(report: Report) -> dict[str, Any]:
    rule = report.schedule
    return {
        "id": report.id,
        "uid": report.uid,
        "org_id": report.org_id,
        "user_id": report.user_id,
        "name": report.name,
        "subject": report.subject,
        "message": report.message,
        "recipients": list(report.recipients),
        "reply_to": list(report.reply_to),
        "state": report.state,
        "frequency": rule.frequency,
        "interval_frequency": rule.interval_frequency,
        "interval_amount": rule.interval_amount,
        "workdays_only": rule.workdays_only,
        "day_of_month": rule.day_of_month,
        "time_zone": rule.time_zone,
        "start_at": rule.start,
        "end_at": rule.end,
        "dashboards": Jsonb(list(report.dashboards)),
        "formats": list(report.formats),
        "options": Jsonb(dict(report.options)),
        "scale_factor": report.scale_factor,
        "enable_dashboard_url": report.enable_dashboard_url,
        "enable_csv": report.enable_csv,
        "created": report.created,
        "updated": report.updated,
        "next_run_at": report.next_run_at,
        "tzdata": tzdata_release(),
    }


def spec_of(row: Mapping[str, Any], *, late: bool) -> RunSpec:
    """Return the frozen copy of a report that is given as its row in JSON.

    Of one that cannot be understood, its name and no dashboard: it must not keep the runs of
    others from being read.
    """
    # Times are text there, and no part of a spec.
    timeless = {"start_at": None, "end_at": None}
    wanted = {name: row[name] for name in COLUMN_NAMES}
    try:
        return _from_row({**wanted, **timeless}).spec(late=late)
    except (TypeError, ValueError, AttributeError, LookupError):
        logger.exception("report.unreadable", report_id=row["id"])
        return RunSpec(name=str(row["name"]), dashboards=())


WRITTEN = [
    *("name", "subject", "message", "recipients", "reply_to", "state", "frequency"),
    *("interval_frequency", "interval_amount", "workdays_only", "day_of_month", "time_zone"),
    *("start_at", "end_at", "dashboards", "formats", "options", "scale_factor"),
    *("enable_dashboard_url", "enable_csv", "updated", "next_run_at", "tzdata"),
]
INSERTED = ["uid", "org_id", "user_id", "created", *WRITTEN]

INSERT = (
    f"INSERT INTO report ({', '.join(INSERTED)}) "
    f"VALUES ({', '.join(f'%({name})s' for name in INSERTED)}) RETURNING id"
)
UPDATE = (
    f"UPDATE report SET {', '.join(f'{name} = %({name})s' for name in WRITTEN)}, "
    "revision = revision + 1 WHERE org_id = %(org_id)s AND id = %(id)s"
)


def next_run(state: str, rule: Schedule, now: dt.datetime) -> dt.datetime | None:
    """Return the slot that beat shall claim next; None unless the report is scheduled.

    A start that is this very moment counts, since a report without one starts "now".
    """
    if state != SCHEDULED:
        return None
    return schedule.next_after(rule, now - dt.timedelta(microseconds=1))


SCHEDULED_ONES = "state = 'scheduled' AND (%(org)s::bigint IS NULL OR org_id = %(org)s)"
#: Reports that are read at once.
PAGE = 1_000


def count_scheduled(conn: Connection, *, org_id: int | None = None) -> int:
    """Return how many reports are sent on a schedule, of all orgs unless told."""
    row = conn.execute(
        f"SELECT count(*) AS n FROM report WHERE {SCHEDULED_ONES}", {"org": org_id}
    ).fetchone()
    return int(row["n"]) if row else 0


def scheduled(conn: Connection, *, every: int = 1, org_id: int | None = None) -> Iterator[Report]:
    """Give the reports that are sent on a schedule, or every so many-th of them, by id."""
    last = 0
    while True:
        rows = conn.execute(
            f"SELECT {COLUMNS} FROM report WHERE {SCHEDULED_ONES} AND id > %(last)s "
            "AND id %% %(every)s = 0 ORDER BY id LIMIT %(page)s",
            {"org": org_id, "last": last, "every": every, "page": PAGE},
        ).fetchall()
        if not rows:
            return
        last = rows[-1]["id"]
        yield from map(_from_row, rows)


def next_due(conn: Connection, *, limit: int) -> list[Report]:
    """Return the reports of any org that are due next, also those that are due by now."""
    rows = conn.execute(
        f"SELECT {COLUMNS} FROM report WHERE state = 'scheduled' AND next_run_at IS NOT NULL "
        "ORDER BY next_run_at LIMIT %s",
        [limit],
    )
    return [_from_row(row) for row in rows]


def insert(conn: Connection, report: Report) -> int:
    """Store a new report and return its id; `id` and `revision` of the argument are ignored."""
    row = conn.execute(INSERT, _to_row(report)).fetchone()
    assert row is not None  # noqa: S101 - RETURNING of an INSERT always gives a row
    notify_change(conn)
    return int(row["id"])


FREEZE = """
UPDATE run SET spec = %(spec)s || jsonb_build_object('late', created_at - scheduled_for > %(late)s)
 WHERE report_id = %(id)s AND spec IS NULL
"""


def _freeze(conn: Connection, org_id: int, report_id: int) -> None:
    """Write what the report says into those of its runs that were not admitted.

    Whatever changes the report calls this first, and holds the report's lock: the runs claimed
    until now keep it as it was, and every later one gets it as it will be.
    """
    row = conn.execute(
        "SELECT to_jsonb(report) AS report, "
        "EXISTS (SELECT FROM run WHERE report_id = report.id AND spec IS NULL) AS awaited "
        "FROM report WHERE org_id = %s AND id = %s FOR UPDATE",
        [org_id, report_id],
    ).fetchone()
    if row is not None and row["awaited"]:
        spec = spec_of(row["report"], late=False)
        conn.execute(FREEZE, {"spec": Jsonb(spec.to_json()), "late": PUNCTUAL, "id": report_id})


def update(conn: Connection, report: Report) -> bool:
    """Replace a stored report; False when it is gone."""
    _freeze(conn, report.org_id, report.id)
    changed = conn.execute(UPDATE, _to_row(report)).rowcount == 1
    notify_change(conn)
    return changed


def delete(conn: Connection, org_id: int, report_id: int) -> bool:
    """Delete a report; False when there is none. `runs.cancel_queued` goes before."""
    _freeze(conn, org_id, report_id)
    return (
        conn.execute(
            "DELETE FROM report WHERE org_id = %s AND id = %s", [org_id, report_id]
        ).rowcount
        == 1
    )


def get(
    conn: Connection, org_id: int, report_id: int, *, for_update: bool = False
) -> Report | None:
    """Return the report, locked against beat and other edits if asked; None when there is none."""
    row = conn.execute(
        f"SELECT {COLUMNS} FROM report WHERE org_id = %s AND id = %s"
        + (" FOR UPDATE" if for_update else ""),
        [org_id, report_id],
    ).fetchone()
    return _from_row(row) if row else None


#: What a list may be sorted by, in the API's words.
SORTS = {"id": "id", "name": "name", "created": "created", "updated": "updated",
         "state": "state", "nextRun": "next_run_at"}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which reports to list. `ids` None: all that the org has."""

    org_id: int
    ids: Sequence[int] | None = None
    dashboard_uid: str | None = None
    state: str | None = None
    query: str | None = None
    sort: str = "id"
    descending: bool = False
    limit: int | None = None
    offset: int = 0


def _where(wanted: Filter) -> tuple[str, dict[str, Any]]:
    clauses = ["org_id = %(org_id)s"]
    parameters: dict[str, Any] = {"org_id": wanted.org_id}
    if wanted.ids is not None:
        clauses.append("id = ANY(%(ids)s)")
        parameters["ids"] = list(wanted.ids)
    if wanted.dashboard_uid is not None:
        clauses.append("id IN (SELECT report_ids_of_dashboard(%(dashboard)s))")
        parameters["dashboard"] = wanted.dashboard_uid
    if wanted.state is not None:
        clauses.append("state = %(state)s")
        parameters["state"] = wanted.state
    if wanted.query:
        clauses.append("position(lower(%(query)s) IN lower(name)) > 0")
        parameters["query"] = wanted.query
    return " AND ".join(clauses), parameters


def find(conn: Connection, wanted: Filter) -> list[Report]:
    """Return the reports that match, sorted, paged."""
    where, parameters = _where(wanted)
    order = f"{SORTS[wanted.sort]} {'DESC' if wanted.descending else 'ASC'} NULLS LAST, id"
    rows = conn.execute(
        f"SELECT {COLUMNS} FROM report WHERE {where} ORDER BY {order} "
        "LIMIT %(limit)s OFFSET %(offset)s",
        {**parameters, "limit": wanted.limit, "offset": wanted.offset},
    )
    return [_from_row(row) for row in rows]


def count(conn: Connection, wanted: Filter) -> int:
    """Return how many reports match, without paging."""
    where, parameters = _where(wanted)
    row = conn.execute(f"SELECT count(*) AS n FROM report WHERE {where}", parameters).fetchone()
    return int(row["n"]) if row else 0


#: `statement_timestamp()`, since an index cannot be searched for the ever-changing
#: `clock_timestamp()`.
DUE = f"""
SELECT id, org_id, revision, next_run_at, {", ".join(RULE)},
       coalesce((options->>'spreadSeconds')::float8, 0) AS spread
  FROM report WHERE state = 'scheduled' AND next_run_at <= statement_timestamp()
 ORDER BY next_run_at LIMIT %s FOR UPDATE SKIP LOCKED
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What claiming needs of a report; the rest is read when its run is admitted."""

    id: int
    org_id: int
    revision: int
    #: The slot that has come.
    next_run_at: dt.datetime
    schedule: Schedule
    #: Seconds over which the report lets its slots be spread.
    spread: float


def lock_due(conn: Connection, *, limit: int) -> list[Due]:
    """Lock and return reports whose next slot has come, skipping those another beat holds.

    The database's clock decides, so that beats on different machines cannot disagree.
    """
    return [Due(schedule=_take_rule(row), **row) for row in conn.execute(DUE, [limit])]


STALE = f"""
SELECT id, next_run_at, {", ".join(RULE)} FROM report
 WHERE id > %(after)s AND id <= %(last)s AND state = 'scheduled' AND tzdata <> %(tzdata)s
 ORDER BY id FOR UPDATE
"""


def recompute(conn: Connection, now: dt.datetime, *, after: int, span: int) -> int | None:
    """Compute the next slots of reports whose slot comes from another release of tzdata.

    Looks at the reports with the next `span` ids behind `after`; returns behind which to go on,
    None at the end. A slot that is due stays, for beat to decide about.
    """
    last = after + span
    bounds = {"after": after, "last": last, "tzdata": tzdata_release()}
    moved = []
    for row in conn.execute(STALE, bounds).fetchall():
        slot = row["next_run_at"]
        if slot is None or slot > now:
            # A rule whose zone is gone keeps its slot; beat tells of it when that has come.
            with suppress(InvalidSchedule):
                slot = next_run(SCHEDULED, _take_rule(dict(row)), now)
        moved.append((row["id"], slot, SCHEDULED if slot else EXPIRED))
    advance(conn, moved)
    # Past a gap in one step: a restore leaves a wide one.
    more = conn.execute(
        "SELECT id FROM report WHERE id > %s ORDER BY id LIMIT 1", [last]
    ).fetchone()
    return int(more["id"]) - 1 if more else None


ADVANCE = """
UPDATE report r SET next_run_at = d.next_run_at, state = d.state, tzdata = %(tzdata)s
  FROM unnest(%(ids)s::bigint[], %(slots)s::timestamptz[], %(states)s::text[])
       AS d (id, next_run_at, state)
 WHERE r.id = d.id
"""


def advance(conn: Connection, slots: Sequence[tuple[int, dt.datetime | None, str]]) -> None:
    """Set next slot and state of each `(report id, next slot, state)`."""
    conn.execute(
        ADVANCE,
        {
            "ids": [item[0] for item in slots],
            "slots": [item[1] for item in slots],
            "states": [item[2] for item in slots],
            "tzdata": tzdata_release(),
        },
    )


CHANGED = "broadsheet_report_changed"


def notify_change(conn: Connection) -> None:
    """Wake beat at commit: the earliest next slot may have moved."""
    conn.execute("SELECT pg_notify(%s, '')", [CHANGED])


def seconds_to_next(conn: Connection) -> float | None:
    """Seconds until the next slot of any report (negative: overdue); None if there is none."""
    row = conn.execute(
        "SELECT extract(epoch FROM min(next_run_at) - statement_timestamp())::float8 AS seconds "
        "FROM report WHERE state = 'scheduled'"
    ).fetchone()
    seconds: float | None = row["seconds"] if row else None
    return seconds
