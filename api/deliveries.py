"""Deliveries: what did not arrive, and what to do where nobody knows whether it did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Response, jsonify
from werkzeug.exceptions import Conflict, NotFound

from api import auth, dashboards, paging, schemas
from api.audit import noted
from api.auth import identity, needs
from api.blueprint import Blueprint
from api.errors import invalid
from api.hrefs import here
from api.services import services, transaction
from api.times import shown
from shared import deliveries, mail_server, queue, resolutions, runs
from shared.db import Connection
from shared.deliveries import Delivery, Undelivered
from shared.resolutions import Resolution, Resolver
from shared.runs import Run

blp = Blueprint(
    "deliveries",
    __name__,
    url_prefix="/api/reports",
    description="Mails that did not arrive, or of which that is not known; not in Grafana.",
)
DEFAULT_PAGE = 50


@blp.route("/deliveries", methods=["GET"])
@needs(auth.READ)
@blp.arguments(paging.DeliveryQuery, location="query")
@blp.answers(200, schemas.UndeliveredMail(many=True), headers=paging.HEADERS)
def list_deliveries(query: dict[str, Any]) -> Response:
    """List mails that are `unknown` or in another state, the newest first, 50 a page.

    Of an `unknown` mail the server may have taken it or not: its answer was lost. Such a mail is
    never sent again by itself; see `…/resolve`. With a permission on some reports, theirs only.
    """
    state = query.get("state") or deliveries.UNKNOWN
    org_id, readable = identity().org_id, identity().readable()
    if readable == []:
        raise auth.denied(auth.READ)
    with transaction() as conn:
        found = deliveries.find(
            conn,
            state,
            org_id=org_id,
            report_ids=readable,
            limit=paging.limit(query, DEFAULT_PAGE) or DEFAULT_PAGE,
            offset=paging.offset(query, DEFAULT_PAGE),
        )
        total = deliveries.count(conn, state, org_id=org_id, report_ids=readable)
        waits = mail_server.why_waiting(conn, services().settings)
    response = jsonify([_undelivered(item, waits) for item in found])
    return paging.headed(response, total, query, DEFAULT_PAGE)


@blp.route("/runs/<id64:run_id>/deliveries/<id64:delivery_id>/resolve", methods=["POST"])
@needs(auth.SEND)
@blp.arguments(schemas.Resolve, example={"as": "again"})
@blp.answers(200, schemas.ResolvedMail)
@blp.fails(404, 409)
def resolve_delivery(body: dict[str, Any], run_id: int, delivery_id: int) -> dict[str, Any]:
    """Say that an `unknown` mail arrived, or have it sent again.

    Ask its recipient first: where the mail server took it, sending it again makes a second one.
    Of two who decide at once, the second is told so with 409. Who decided what stands in the run.
    """
    verdict = body["as"]
    if not verdict:
        raise invalid("as", "is required")
    with transaction() as conn:
        run, entry = _found(conn, run_id, delivery_id)
    if verdict == resolutions.AGAIN:
        dashboards.check_seen(item.uid for item in run.spec.dashboards)
    with transaction() as conn:
        resolver = Resolver(
            who=identity().name, through=resolutions.API, token_id=identity().token_id
        )
        resolved = resolutions.resolve(conn, entry.id, verdict, resolver)
        if resolved is None:
            raise Conflict(f"This delivery is not unknown (any more) but {_state(conn, entry)}.")
        noted(
            conn,
            "deliveries:resolve",
            report_id=run.report_id,
            run_id=run_id,
            delivery_id=delivery_id,
            verdict=verdict,
        )
    queue.announce(services().pool, services().bell, resolved.rings)
    done = "is sent again" if verdict == resolutions.AGAIN else "counts as sent"
    return {
        "message": f"The mail to {entry.recipient} {done}",
        "runId": run_id,
        "state": resolved.run_state,
    }


def _found(conn: Connection, run_id: int, delivery_id: int) -> tuple[Run, Delivery]:
    """Return the run and its delivery if the caller may send the report; raise 404 or 403."""
    run = runs.get(conn, run_id, org_id=identity().org_id)
    if run is None:
        raise NotFound("Run not found")
    if not identity().may_send(run.report_id):
        raise auth.denied(auth.SEND)
    entry = deliveries.get(conn, delivery_id)
    if entry is None or entry.run_id != run_id:
        raise NotFound("Delivery not found")
    return run, entry


def _state(conn: Connection, entry: Delivery) -> str:
    now = deliveries.get(conn, entry.id)
    return now.state if now else "gone"


def mails_of_run(conn: Connection, run_id: int) -> list[dict[str, Any]]:
    """Return the deliveries of a run, as its history shows them."""
    decided = resolutions.of_run(conn, run_id)
    waits = mail_server.why_waiting(conn, services().settings)
    return [
        _mail(item, decided.get(item.id, ()), waits) for item in deliveries.of_run(conn, run_id)
    ]


def _cause(delivery: Delivery, waits: str | None) -> str | None:
    """Return the mail's own cause; where it was never tried, what is amiss with the server."""
    return delivery.cause or (waits if delivery.state == deliveries.PENDING else None)


def _mail(delivery: Delivery, decided: Sequence[Resolution], waits: str | None) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "recipient": delivery.recipient,
        "state": delivery.state,
        "cause": _cause(delivery, waits),
        "attempts": delivery.attempts,
        "attached": delivery.attached,
        "messageId": delivery.message_id,
        "smtpCode": delivery.smtp_code,
        "created": shown(delivery.created_at),
        "finished": shown(delivery.finished_at),
        "resolutions": [
            {
                "as": item.verdict,
                "by": item.who,
                "tokenId": item.token_id,
                "through": item.through,
                "at": shown(item.resolved_at),
                "attempt": item.attempt,
                "cause": item.cause,
            }
            for item in decided
        ],
    }


def _undelivered(item: Undelivered, waits: str | None) -> dict[str, Any]:
    delivery = item.delivery
    return {
        "id": delivery.id,
        "runId": delivery.run_id,
        "reportId": item.report_id,
        "name": item.name,
        "recipient": delivery.recipient,
        "state": delivery.state,
        "cause": _cause(delivery, waits),
        "attempts": delivery.attempts,
        "messageId": delivery.message_id,
        "created": shown(delivery.created_at),
        "finished": shown(delivery.finished_at),
        "href": here(f"/api/reports/runs/{delivery.run_id}"),
    }
