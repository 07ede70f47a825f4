"""`/api/reports/audit`: who did what in an organisation; and how the views record it."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify

from api import auth, paging, schemas
from api.auth import identity, needs
from api.blueprint import Blueprint
from api.services import transaction
from api.times import shown
from shared import audit
from shared.audit import Record
from shared.db import Connection

blp = Blueprint(
    "audit",
    __name__,
    url_prefix="/api/reports/audit",
    description="Who did what, when and from where; not in Grafana's API.",
)
DEFAULT_PAGE = 50


@blp.route("", methods=["GET"])
@needs(auth.AUDIT_READ)
@blp.arguments(paging.OwnQuery, location="query")
@blp.answers(200, schemas.AuditRecord(many=True), headers=paging.HEADERS)
def list_audit(query: dict[str, Any]) -> Response:
    """List what was done, the latest first, 50 a page."""
    with transaction() as conn:
        found = audit.find(
            conn,
            org_id=identity().org_id,
            limit=paging.limit(query, DEFAULT_PAGE) or DEFAULT_PAGE,
            offset=paging.offset(query, DEFAULT_PAGE),
        )
        total = audit.count(conn, org_id=identity().org_id)
    response = jsonify([_as_json(record) for record in found])
    return paging.headed(response, total, query, DEFAULT_PAGE)


def noted(
    conn: Connection,
    action: str,
    *,
    report_id: int | None = None,
    run_id: int | None = None,
    **detail: Any,
) -> None:
    """Record what the caller of this request does in this transaction."""
    asking = identity()
    audit.note(
        conn,
        asking.actor,
        action,
        org_id=asking.org_id,
        report_id=report_id,
        run_id=run_id,
        **detail,
    )


def _as_json(record: Record) -> dict[str, Any]:
    return {
        "id": record.id,
        "at": shown(record.at),
        "who": record.who,
        "name": record.name,
        "address": record.address,
        "action": record.action,
        "reportId": record.report_id,
        "runId": record.run_id,
        "detail": record.detail,
    }
