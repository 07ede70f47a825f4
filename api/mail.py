"""`/api/reports/email` and `/test-email`: send now, and answer when it was sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from flask import Response
from werkzeug.exceptions import BadRequest, NotFound

from api import auth, dashboards, launch, schemas
from api.auth import identity, needs
from api.blueprint import Blueprint
from api.errors import invalid
from api.fields import INT64
from api.reports import blank, check_ranges, check_schedule, check_sendable, merged, recipients_of
from api.services import services, transaction
from shared import deliveries, reports, runs
from shared.db import Connection
from shared.reports import DRAFT, SCHEDULED, Report
from shared.runs import NewRun, Run

blp = Blueprint(
    "mail", __name__, url_prefix="/api/reports", description="Sending a report now, and waiting."
)


@blp.route("/email", methods=["POST"], parameters=launch.PARAMETERS)
@needs(auth.SEND)
@blp.arguments(schemas.ReportEmail, example={"id": "3", "useEmailsFromReport": True})
@blp.answers(200, schemas.Sent)
@blp.answers(202, schemas.RunStarted, headers=launch.HEADERS)
@blp.answers(504, schemas.RunStarted, headers=launch.HEADERS)
@blp.fails(*launch.FAILS)
def send_report(body: dict[str, Any]) -> Response | dict[str, Any]:
    """Send a stored report now, to its own or to other recipients, and wait until it was sent.

    Where some recipients did not get it, the answer is 200 all the same, since repeating the
    call would send it again to those who did: `state` is then `partial`, and `message` names
    the others.
    """
    report_id = _id(body.get("id"))
    if not identity().may_send(report_id):
        raise auth.denied(auth.SEND)
    run = launch.repeated() or launch.run_to_its_end(_mail(body, report_id))
    return run if isinstance(run, Response) else _sent(run, "Report was sent")


def _mail(body: dict[str, Any], report_id: int) -> launch.Make:
    """Check what is asked for, with Grafana's help; return what makes the run of it."""
    recipients = recipients_of("emails", body.get("emails") or body.get("email") or "")
    if not recipients and not body.get("useEmailsFromReport"):
        raise invalid("emails", "is required, unless useEmailsFromReport is true")

    with transaction() as conn:
        report = _sendable(reports.get(conn, identity().org_id, report_id), recipients)
    dashboards.filled_in(report.dashboards)

    def make(conn: Connection) -> NewRun:
        # Read again, and locked: while Grafana was asked, the report may have been changed or
        # deleted. Its dashboards were checked by whoever changed it.
        stored = reports.get(conn, identity().org_id, report_id, for_update=True)
        report = _sendable(stored, recipients)
        return NewRun(
            org_id=report.org_id,
            report_id=report.id,
            report_revision=report.revision,
            kind=runs.API,
            scheduled_for=services().clock(),
            spec=report.spec(),
        )

    return make


def _sendable(stored: Report | None, recipients: Sequence[str]) -> Report:
    """Return the report as it is to be sent, to others if there are any. Raises 404 and 400."""
    if stored is None:
        raise NotFound("Report not found")
    if stored.state == DRAFT:
        raise BadRequest("id: the report is a draft; complete it before sending it")
    report = replace(stored, recipients=recipients or stored.recipients)
    check_sendable(report)
    check_ranges(report, services().now())
    return report


@blp.route("/test-email", methods=["POST"], parameters=launch.PARAMETERS)
@needs(auth.SEND)
@blp.arguments(schemas.CreateOrUpdateReport, example=schemas.EXAMPLE)
@blp.answers(200, schemas.Sent)
@blp.answers(202, schemas.RunStarted, headers=launch.HEADERS)
@blp.answers(504, schemas.RunStarted, headers=launch.HEADERS)
@blp.fails(*launch.FAILS)
def send_test_email(body: dict[str, Any]) -> Response | dict[str, Any]:
    """Send the report in the body without storing it, and wait until it was sent.

    It needs what a mail needs; its state and schedule do not matter. What is answered where
    some recipients did not get it: see `/api/reports/email`.
    """
    if not identity().may_send(None):
        raise auth.denied(auth.SEND)
    run = launch.repeated() or launch.run_to_its_end(_test_mail(body))
    return run if isinstance(run, Response) else _sent(run, "Test email sent")


def _test_mail(body: dict[str, Any]) -> launch.Make:
    """Check the report in the body, with Grafana's help; return what makes the run of it."""
    now = services().now()
    report = merged({**body, "state": SCHEDULED}, blank(now), now)
    check_schedule(
        report.schedule
        if report.schedule.frequency
        else replace(report.schedule, frequency="never")
    )
    check_ranges(report, now)
    check_sendable(report)
    report = replace(report, dashboards=dashboards.filled_in(report.dashboards))
    return lambda _: NewRun(
        org_id=report.org_id,
        report_id=None,
        report_revision=None,
        kind=runs.TEST,
        scheduled_for=services().clock(),
        spec=report.spec(),
    )


def _sent(run: Run, words: str) -> dict[str, Any]:
    """Answer in Grafana's words, and say to whom it did not go."""
    if run.state == "partial":
        with transaction() as conn:
            ledger = deliveries.of_run(conn, run.id)
        reached = sum(delivery.state == "sent" for delivery in ledger)
        words += f" to {reached} of {len(ledger)} recipients; the others: {run.cause}"
    return {"message": words, "runId": run.id, "state": run.state, "complete": run.complete}


def _id(value: Any) -> int:
    """Read the report's id, which Grafana's clients send as text and people as a number."""
    if value is None:
        raise invalid("id", "is required")
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= INT64:
        raise invalid("id", "must be the number of a report, as text or as a number")
    return int(value)
