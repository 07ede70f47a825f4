"""`/api/reports/email` and `/test-email`: send now, and answer when it was sent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask import Response
from werkzeug.exceptions import BadRequest, NotFound

from api import addresses, auth, dashboards, launch, schemas
from api.auth import identity, needs
from api.blueprint import Blueprint
from api.errors import invalid
from api.fields import INT64
from api.reports import blank, check_ranges, check_schedule, check_sendable, merged
from api.services import services
from shared import db, reports, runs
from shared.reports import DRAFT, SCHEDULED
from shared.runs import NewRun

blp = Blueprint(
    "mail", __name__, url_prefix="/api/reports", description="Sending a report now, and waiting."
)


@blp.route("/email", methods=["POST"], parameters=[launch.PREFER])
@needs(auth.SEND)
@blp.arguments(schemas.ReportEmail, example={"id": "3", "useEmailsFromReport": True})
@blp.answers(200, schemas.SuccessResponseBody)
@blp.answers(202, schemas.RunStarted, headers=launch.HEADERS)
@blp.answers(504, schemas.RunStarted, headers=launch.HEADERS)
@blp.fails(404, 429)
def send_report(body: dict[str, Any]) -> Response | dict[str, Any]:
    """Send a stored report now, to its own or to other recipients, and wait until it was sent."""
    report_id = _id(body.get("id"))
    if not identity().may_send(report_id):
        raise auth.denied(auth.SEND)
    recipients = addresses.parse("emails", body.get("emails") or body.get("email") or "")
    if not recipients and not body.get("useEmailsFromReport"):
        raise invalid("emails", "is required, unless useEmailsFromReport is true")
    with db.transaction(services().pool) as conn:
        report = reports.get(conn, identity().org_id, report_id)
    if report is None:
        raise NotFound("Report not found")
    if report.state == DRAFT:
        raise BadRequest("id: the report is a draft; complete it before sending it")
    report = replace(report, recipients=recipients or report.recipients)
    check_sendable(report)
    report = replace(report, dashboards=dashboards.filled_in(report.dashboards))
    run = launch.run_to_its_end(
        NewRun(
            org_id=report.org_id,
            report_id=report.id,
            report_revision=report.revision,
            kind=runs.API,
            scheduled_for=services().clock(),
            spec=report.spec(),
        )
    )
    return run if isinstance(run, Response) else {"message": "Report was sent", "runId": run.id}


@blp.route("/test-email", methods=["POST"], parameters=[launch.PREFER])
@needs(auth.SEND)
@blp.arguments(schemas.CreateOrUpdateReport, example=schemas.EXAMPLE)
@blp.answers(200, schemas.SuccessResponseBody)
@blp.answers(202, schemas.RunStarted, headers=launch.HEADERS)
@blp.answers(504, schemas.RunStarted, headers=launch.HEADERS)
@blp.fails(404, 429)
def send_test_email(body: dict[str, Any]) -> Response | dict[str, Any]:
    """Send the report in the body without storing it, and wait until it was sent.

    It needs what a mail needs; its state and schedule do not matter.
    """
    if not identity().may_send(None):
        raise auth.denied(auth.SEND)
    now = services().now()
    report = merged({**body, "state": SCHEDULED}, blank(now), now)
    check_ranges(report)
    check_schedule(
        report.schedule
        if report.schedule.frequency
        else replace(report.schedule, frequency="never")
    )
    check_sendable(report)
    report = replace(report, dashboards=dashboards.filled_in(report.dashboards))
    run = launch.run_to_its_end(
        NewRun(
            org_id=report.org_id,
            report_id=None,
            report_revision=None,
            kind=runs.TEST,
            scheduled_for=services().clock(),
            spec=report.spec(),
        )
    )
    return run if isinstance(run, Response) else {"message": "Test email sent", "runId": run.id}


def _id(value: Any) -> int:
    """Read the report's id, which Grafana's clients send as text and people as a number."""
    if value is None:
        raise invalid("id", "is required")
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= INT64:
        raise invalid("id", "must be the number of a report, as text or as a number")
    return int(value)
