"""`/api/reports`: create, read, replace, delete, list, pause and resume.

Creating a report is to be read here from top to bottom: `create_report`, then `merged` (the
body becomes a `Report`), `complete` (nothing is missing, Grafana knows the dashboards) and
`settled` (state and next slot).
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flask import Response, jsonify
from werkzeug.exceptions import BadRequest, NotFound

from api import addresses, auth, dashboards, paging, schemas
from api.audit import noted
from api.auth import identity, needs
from api.blueprint import Blueprint
from api.errors import invalid
from api.services import services, transaction
from api.times import shown
from shared import log, reports, runs, schedule, timerange
from shared.db import Connection
from shared.reports import DRAFT, EXPIRED, PAUSED, SCHEDULED, Report
from shared.runs import NewSlot
from shared.schedule import InvalidSchedule, Schedule
from shared.timerange import InvalidTimeRange

blp = Blueprint(
    "reports",
    __name__,
    url_prefix="/api/reports",
    description="The stored configurations: what, when, to whom.",
)

LOST_SLOT = "The schedule was changed before any beat claimed this slot."

logger = log.get(__name__)


@blp.route("", methods=["POST"])
@needs(auth.CREATE)
@blp.arguments(schemas.CreateOrUpdateReport, example=schemas.EXAMPLE)
@blp.answers(200, schemas.Created)
@blp.fails(404)
def create_report(body: dict[str, Any]) -> dict[str, Any]:
    """Create a report."""
    now = services().now()
    report = settled(complete(merged(body, blank(now), now), now), now)
    with transaction() as conn:
        report_id = reports.insert(conn, report)
        noted(conn, auth.CREATE, report_id=report_id, report=report.name, state=report.state)
    return {"id": report_id, "message": "Report created"}


@blp.route("/<id64:report_id>", methods=["PUT"])
@needs(auth.WRITE, on_report=True)
@blp.arguments(schemas.CreateOrUpdateReport, example=schemas.EXAMPLE)
@blp.answers(200, schemas.SuccessResponseBody)
@blp.fails(404)
def update_report(body: dict[str, Any], report_id: int) -> dict[str, Any]:
    """Replace a report.

    What is absent becomes empty, except the fields that common clients cannot express.
    """
    now = services().now()
    with transaction() as conn:
        stored = _found(conn, report_id)
    # Grafana is asked outside any transaction; then the row is read again, locked, because
    # beat or another edit may have changed it meanwhile.
    items = complete(merged(body, stored, now), now).dashboards
    with transaction() as conn:
        stored = _found(conn, report_id, for_update=True)
        report = replace(merged(body, stored, now), dashboards=items)
        check(report, now)
        if (report.state, report.schedule) != (stored.state, stored.schedule):
            report = settled(report, now)
        # Else the stored slot stays: beat may be away, and a slot that is due must not be lost.
        if report.schedule != stored.schedule:
            _note_lost_slot(conn, stored, now)
        _store(conn, report)
    return {"message": "Report updated"}


@blp.route("/<id64:report_id>", methods=["DELETE"])
@needs(auth.DELETE, on_report=True)
@blp.answers(200, schemas.SuccessResponseBody)
@blp.fails(404)
def delete_report(report_id: int) -> dict[str, Any]:
    """Delete a report. Its runs stay in the history of the database, without it."""
    with transaction() as conn:
        report = _found(conn, report_id, for_update=True)
        runs.cancel_queued(conn, report_id, "The report was deleted.")
        reports.delete(conn, identity().org_id, report_id)
        noted(conn, auth.DELETE, report_id=report_id, report=report.name)
    return {"message": "Report config was removed"}


@blp.route("/<id64:report_id>", methods=["GET"])
@needs(auth.READ, on_report=True)
@blp.answers(200, schemas.Report)
@blp.fails(404)
def get_report(report_id: int) -> dict[str, Any]:
    """Return a report."""
    with transaction() as conn:
        report = _found(conn, report_id)
    dashboards.check_seen(item["dashboard"]["uid"] for item in report.dashboards)
    return as_json(report)


@blp.route("", methods=["GET"])
@needs(auth.READ)
@blp.arguments(paging.ReportQuery, location="query")
@blp.answers(200, schemas.Report(many=True), headers=paging.HEADERS)
def list_reports(query: dict[str, Any]) -> Response:
    """List the reports that the caller may read, all of them unless a page is asked for."""
    return _listed(query, dashboard_uid=query.get("dashboardUid"))


@blp.route("/dashboards/<uid>", methods=["GET"])
@needs(auth.READ)
@blp.arguments(paging.ReportQuery(exclude=["dashboard_uid"]), location="query")
@blp.answers(200, schemas.Report(many=True), headers=paging.HEADERS)
def list_reports_of_dashboard(query: dict[str, Any], uid: str) -> Response:
    """List the reports that use a dashboard."""
    return _listed(query, dashboard_uid=uid)


@blp.route("/<id64:report_id>/pause", methods=["POST"])
@needs(auth.WRITE, on_report=True)
@blp.answers(200, schemas.SuccessResponseBody)
@blp.fails(404)
def pause_report(report_id: int) -> dict[str, Any]:
    """Pause a report; its scheduled runs that nobody began are cancelled."""
    with transaction() as conn:
        report = _found(conn, report_id, for_update=True)
        if report.state not in (SCHEDULED, PAUSED):
            raise BadRequest(
                f"state: a report that is {report.state} cannot be paused; a run of it that waits "
                "is cancelled with POST /api/reports/runs/<id>/cancel"
            )
        if report.state != PAUSED:
            now = services().now()
            _store(conn, settled(replace(report, state=PAUSED, updated=now), now))
    return {"message": "Report paused"}


@blp.route("/<id64:report_id>/resume", methods=["POST"])
@needs(auth.WRITE, on_report=True)
@blp.answers(200, schemas.SuccessResponseBody)
@blp.fails(404)
def resume_report(report_id: int) -> dict[str, Any]:
    """Resume a paused report on its schedule; what it missed is not sent."""
    with transaction() as conn:
        report = _found(conn, report_id)
    dashboards.check_seen(item["dashboard"]["uid"] for item in report.dashboards)
    with transaction() as conn:
        report = _found(conn, report_id, for_update=True)
        if report.state not in (SCHEDULED, PAUSED):
            raise BadRequest(f"state: a report that is {report.state} cannot be resumed")
        if report.state == PAUSED:
            now = services().now()
            _store(conn, settled(replace(report, state=SCHEDULED, updated=now), now))
    return {"message": "Report resumed"}


def blank(now: dt.datetime) -> Report:
    """Return the report that a body without any field describes."""
    return Report(
        uid=secrets.token_hex(7),
        org_id=identity().org_id,
        user_id=identity().user_id,
        name="",
        schedule=Schedule(frequency="never"),
        created=now,
        updated=now,
    )


def merged(body: Mapping[str, Any], stored: Report, now: dt.datetime) -> Report:
    """Return `stored` as the body wants it.

    An absent field becomes empty, because Terraform's client leaves out what is false, zero or
    empty. What that client cannot express keeps its stored value: state, subject, scaleFactor,
    startDate, and the options besides orientation, layout and range. Raises `BadRequest`.
    """
    state = body.get("state") or stored.state
    return replace(
        stored,
        name=body.get("name", ""),
        subject=body.get("subject", stored.subject),
        message=body.get("message", ""),
        recipients=recipients_of("recipients", body.get("recipients", "")),
        # Nothing is sent there but what a reader writes, so any domain will do.
        reply_to=addresses.parse(
            "replyTo", body.get("replyTo", ""), most=services().settings.max_recipients
        ),
        # Expired is what we found, not what anybody wants: an edit may give it a new end.
        state=SCHEDULED if state == EXPIRED else state,
        schedule=schedule_of(body.get("schedule", {}), stored.schedule, state, now),
        options=_options(body.get("options", {}), stored.options),
        enable_dashboard_url=body.get("enableDashboardUrl", False),
        enable_csv=body.get("enableCsv", False),
        dashboards=_dashboards(body),
        formats=tuple(dict.fromkeys(body.get("formats") or ["pdf"])),
        scale_factor=body.get("scaleFactor", stored.scale_factor),
        updated=now,
    )


def recipients_of(field: str, text: str) -> tuple[str, ...]:
    """Return to whom mail may go, or raise `BadRequest` naming the field."""
    settings = services().settings
    found = addresses.parse(field, text, most=settings.max_recipients)
    addresses.check_domains(field, found, settings.allowed_domains)
    return found


def schedule_of(
    body: Mapping[str, Any], stored: Schedule, state: str, now: dt.datetime
) -> Schedule:
    """Return the schedule that the body describes; see `merged` for what is kept of `stored`."""
    frequency = body.get("frequency", "")
    custom = frequency == "custom"
    start = _instant(body, "startDate")
    if start is None and frequency != "never":
        start = stored.start
        if start is None and state != DRAFT:
            start = now
    return Schedule(
        # A draft may lack it, and is due as rarely as that says.
        frequency=frequency or ("never" if state == DRAFT else ""),
        time_zone=body.get("timeZone") or "GMT",
        start=start,
        end=_instant(body, "endDate"),
        interval_frequency=body.get("intervalFrequency", "") if custom else "",
        interval_amount=body.get("intervalAmount", 0) if custom else 0,
        workdays_only=body.get("workdaysOnly", False),
        day_of_month=body.get("dayOfMonth", ""),
    )


def _instant(body: Mapping[str, Any], name: str) -> dt.datetime | None:
    """Return a date, and None for Go's zero time, which means that none was set."""
    found: dt.datetime | None = body.get(name)
    return None if found is not None and found.year == 1 else found


def _options(body: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    kept = {
        name: value
        for name, value in stored.items()
        if name not in ("orientation", "layout", "timeRange")
    }
    return {**kept, **body}


def _dashboards(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    items = body.get("dashboards") or []
    if not items and body.get("dashboardUid"):
        # The form from before Grafana 9, whose range stands in the options.
        items = [
            {
                "dashboard": {"uid": body["dashboardUid"]},
                "reportVariables": body.get("templateVars", {}),
            }
        ]
    most = services().settings.max_dashboards
    if len(items) > most:
        raise invalid("dashboards", f"must not have more than {most} entries")
    return [
        {
            "dashboard": {"id": 0, "uid": "", "name": "", **item.get("dashboard", {})},
            "timeRange": {"from": "", "to": "", **item.get("timeRange", {})},
            "reportVariables": item.get("reportVariables", {}),
        }
        for item in items
    ]


def complete(report: Report, now: dt.datetime) -> Report:
    """Check a report and return it with its dashboards as Grafana knows them.

    A draft may lack anything, and Grafana is not asked about it. Raises `BadRequest`, and what
    `dashboards.filled_in` raises.
    """
    check(report, now)
    if report.state == DRAFT:
        return report
    return replace(report, dashboards=dashboards.filled_in(report.dashboards))


def check(report: Report, now: dt.datetime) -> None:
    """Raise `BadRequest` naming what is missing or wrong."""
    check_options(report.options)
    if report.state == DRAFT:
        # What is there must make sense, but it need not name a slot yet.
        check_schedule(replace(report.schedule, frequency="never"))
        check_ranges(report, now)
        return
    if not report.schedule.frequency:
        raise invalid("schedule.frequency", "is required")
    check_schedule(report.schedule)
    # A range may make sense in the evening only: what counts is the slot that it is for.
    check_ranges(report, reports.next_run(report.state, report.schedule, now) or now)
    check_sendable(report)


def check_options(options: Mapping[str, Any]) -> None:
    """Raise `BadRequest` for a zone that there is none of, or addresses that cannot be mailed.

    The rest is checked as it comes in.
    """
    name = str(options.get("timeZone") or "")
    if name and schedule.find_zone(name) is None:
        raise invalid("options.timeZone", 'must be an IANA name such as "Europe/Warsaw", or empty')
    recipients_of("options.failureRecipients", str(options.get("failureRecipients") or ""))


def check_sendable(report: Report) -> None:
    """Raise `BadRequest` unless the report can be rendered and has somebody to go to."""
    if not report.name.strip():
        raise invalid("name", "is required")
    if not report.recipients:
        raise invalid("recipients", "at least one e-mail address is required")
    # Once more, for those that were stored when other domains were allowed.
    addresses.check_domains("recipients", report.recipients, services().settings.allowed_domains)
    if not report.dashboards:
        raise invalid("dashboards", "at least one dashboard is required")
    for position, item in enumerate(report.dashboards):
        if not item["dashboard"]["uid"]:
            raise invalid(f"dashboards[{position}].dashboard.uid", "is required")


def check_ranges(report: Report, at: dt.datetime) -> None:
    """Raise `BadRequest` for a time range that Grafana would not understand, or is none at `at`.

    The schedule's zone must have been checked. Where weeks and fiscal years begin is the
    dashboard's own; here they begin as they do unless it says otherwise.
    """
    ranges = {
        f"dashboards[{position}].timeRange": item["timeRange"]
        for position, item in enumerate(report.dashboards)
    }
    ranges["options.timeRange"] = report.options.get("timeRange", {})
    for field, value in ranges.items():
        start, end = value.get("from", ""), value.get("to", "")
        try:
            timerange.check(start, end)
            if start and end:
                timerange.resolve(start, end, at=at, time_zone=report.schedule.time_zone)
        except InvalidTimeRange as exc:
            raise invalid(field, exc.message) from exc


def check_schedule(rule: Schedule) -> None:
    """Raise `BadRequest` naming the field of the schedule that is wrong."""
    try:
        schedule.check(rule)
    except InvalidSchedule as exc:
        raise invalid(exc.field, exc.message) from exc


def settled(report: Report, now: dt.datetime) -> Report:
    """Return the report with its next slot; expired where it was to be sent and has none left."""
    next_run = reports.next_run(report.state, report.schedule, now)
    over = report.state == SCHEDULED and next_run is None and report.schedule.frequency != "never"
    return replace(report, next_run_at=next_run, state=EXPIRED if over else report.state)


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as Grafana does: every object present, times in the report's zone."""
    rule = report.schedule
    zone = rule.time_zone
    return {
        "id": report.id,
        "uid": report.uid,
        "userId": report.user_id,
        "orgId": report.org_id,
        "name": report.name,
        "subject": report.subject,
        "recipients": addresses.shown(report.recipients),
        "replyTo": addresses.shown(report.reply_to),
        "message": report.message,
        "schedule": {
            "startDate": shown(rule.start, zone),
            "endDate": shown(rule.end, zone),
            "frequency": rule.frequency,
            "intervalFrequency": rule.interval_frequency,
            "intervalAmount": rule.interval_amount,
            "workdaysOnly": rule.workdays_only,
            "dayOfMonth": rule.day_of_month,
            "timeZone": zone,
        },
        "options": report.options,
        "enableDashboardUrl": report.enable_dashboard_url,
        "enableCsv": report.enable_csv,
        "state": report.state,
        "dashboards": report.dashboards,
        "formats": report.formats,
        "scaleFactor": report.scale_factor,
        "nextRun": shown(report.next_run_at, zone),
        "created": shown(report.created, zone),
        "updated": shown(report.updated, zone),
    }


def _found(conn: Connection, report_id: int, *, for_update: bool = False) -> Report:
    report = reports.get(conn, identity().org_id, report_id, for_update=for_update)
    if report is None:
        raise NotFound("Report not found")
    return report


def _note_lost_slot(conn: Connection, stored: Report, now: dt.datetime) -> None:
    """Leave a trace of a slot that was due when its rule was replaced: it will not be run."""
    slot = stored.next_run_at
    if slot is None or slot > now:
        return
    lost = NewSlot(
        org_id=stored.org_id,
        report_id=stored.id,
        report_revision=stored.revision,
        scheduled_for=slot,
        state="missed",
        cause=LOST_SLOT,
    )
    runs.insert_slots(conn, [lost], lifetime=0)
    logger.error(
        "report.not_sent",
        org_id=stored.org_id,
        report_id=stored.id,
        slot=slot.isoformat(),
        state=lost.state,
        cause=LOST_SLOT,
    )


def _store(conn: Connection, report: Report) -> None:
    """Replace the report, whose row is locked, and drop the runs that it no longer wants."""
    reports.update(conn, report)
    if report.state in (PAUSED, DRAFT):
        runs.cancel_queued(conn, report.id, f"The report's state was changed to {report.state}.")
    noted(
        conn,
        auth.WRITE,
        report_id=report.id,
        report=report.name,
        revision=report.revision + 1,
        state=report.state,
    )


def _listed(query: Mapping[str, Any], *, dashboard_uid: str | None) -> Response:
    readable = identity().readable()
    if readable == []:
        raise auth.denied(auth.READ)
    wanted = reports.Filter(
        org_id=identity().org_id,
        ids=readable,
        dashboard_uid=dashboard_uid,
        state=query.get("state") or None,
        query=query.get("query"),
        sort=query.get("sort", "id").removeprefix("-"),
        descending=query.get("sort", "").startswith("-"),
        limit=paging.limit(query),
        offset=paging.offset(query),
    )
    with transaction() as conn:
        found = reports.find(conn, wanted)
        total = len(found) if wanted.limit is None else reports.count(conn, wanted)
    response = jsonify([as_json(report) for report in found])
    return paging.headed(response, total, query)
