"""Runs: what became of a report, stage by stage, and the files it made."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Mapping
from typing import Any

from flask import Response, jsonify, send_file
from werkzeug.exceptions import Conflict, NotFound

from api import auth, dashboards, paging, schemas
from api.audit import noted
from api.auth import identity, needs
from api.blueprint import Blueprint
from api.deliveries import mails_of_run
from api.hrefs import here
from api.services import services, transaction
from api.times import shown
from shared import amiss, captures, documents, reports, reruns, runs
from shared.captures import Capture
from shared.db import Connection
from shared.documents import Document
from shared.forecast import rounded
from shared.queue import announce
from shared.runs import Run

blp = Blueprint(
    "runs",
    __name__,
    url_prefix="/api/reports",
    description="What became of a report each time it was due or asked for; not in Grafana.",
)
DEFAULT_PAGE = 50
CANCELLED = "It was cancelled through the API."

BINARY = {"type": "string", "format": "binary"}


@blp.route("/<id64:report_id>/runs", methods=["GET"])
@needs(auth.READ, on_report=True)
@blp.arguments(paging.RunQuery, location="query")
@blp.answers(200, schemas.Run(many=True), headers=paging.HEADERS)
@blp.fails(404)
def list_runs(query: dict[str, Any], report_id: int) -> Response:
    """List the runs of a report, the newest first, 50 unless another page is asked for."""
    with transaction() as conn:
        if reports.get(conn, identity().org_id, report_id) is None:
            raise NotFound("Report not found")
    return _listed(query, report_id)


def _listed(query: dict[str, Any], report_id: int | None) -> Response:
    state, kind = query.get("state") or None, query.get("kind") or None
    org_id = identity().org_id
    with transaction() as conn:
        found = runs.find(
            conn,
            org_id,
            report_id,
            state=state,
            kind=kind,
            limit=paging.limit(query, DEFAULT_PAGE) or DEFAULT_PAGE,
            offset=paging.offset(query, DEFAULT_PAGE),
        )
        total = runs.count(conn, org_id, report_id, state=state, kind=kind)
    response = jsonify([_summary(run) for run in found])
    return paging.headed(response, total, query, DEFAULT_PAGE)


@blp.route("/runs", methods=["GET"])
@needs(auth.READ)
@blp.arguments(paging.RunQuery, location="query")
@blp.answers(200, schemas.Run(many=True), headers=paging.HEADERS)
def list_all_runs(query: dict[str, Any]) -> Response:
    """List the runs of all reports, the newest first: what did not go out is `state=failed`.

    For those who may read every report.
    """
    if not identity().may_all(auth.READ):
        raise auth.denied(auth.READ)
    return _listed(query, None)


@blp.route("/runs/<id64:run_id>/cancel", methods=["POST"])
@needs(auth.SEND, or_asker=True)
@blp.answers(200, schemas.SuccessResponseBody)
@blp.fails(404, 409)
def cancel_run(run_id: int) -> dict[str, Any]:
    """Cancel a run that is not rendered yet; nothing of it is sent. Later it is 409."""
    with transaction() as conn:
        run = _mine_to_send(conn, run_id)
        if not runs.cancel(conn, run_id, CANCELLED):
            # As it is now that its row was locked, not as it was before.
            ended = runs.get(conn, run_id)
            state = ended.state if ended else "deleted"
            raise Conflict(f"The run is {state} and cannot be cancelled any more")
        noted(conn, "runs:cancel", report_id=run.report_id, run_id=run_id)
    return {"message": "Run cancelled"}


@blp.route("/runs/<id64:run_id>/retry", methods=["POST"])
@needs(auth.SEND, or_asker=True)
@blp.answers(200, schemas.Retried)
@blp.fails(404, 409)
def retry_run(run_id: int) -> dict[str, Any]:
    """Take up again a run that failed, was sent to some only, missed or skipped.

    Nobody gets a second mail: what was rendered goes on with its failed mails only, with the same
    files; what was not is rendered for its own slot. Otherwise it is 409, saying why.
    """
    with transaction() as conn:
        run = _mine_to_send(conn, run_id)
    dashboards.check_seen(item.uid for item in run.spec.dashboards)
    lifetime = services().settings.run_timeout
    with transaction() as conn:
        done = reruns.rerun(conn, run_id, who=identity().name, lifetime=lifetime)
        if done.refusal:
            raise Conflict(f"The run cannot be taken up again. {done.refusal}")
        noted(conn, "runs:retry", report_id=run.report_id, run_id=run_id, what=done.what)
    announce(services().pool, services().bell, done.rings)
    told = f"{done.mails} mails are sent again" if done.mails else "The run is rendered again"
    return {"message": told, "runId": run_id, "mails": done.mails}


@blp.route("/runs/<id64:run_id>", methods=["GET"])
@needs(auth.READ, or_asker=True)
@blp.answers(200, schemas.RunDetails)
@blp.fails(404)
def get_run(run_id: int) -> dict[str, Any]:
    """Return a run with its captures, deliveries and documents, finished or under way."""
    with transaction() as conn:
        run = _found(conn, run_id)
        return {
            **_summary(run),
            "captures": [
                _capture(position, run, item)
                for position, item in enumerate(captures.of_run(conn, run_id))
            ],
            "deliveries": mails_of_run(conn, run_id),
            "documents": [_document(item) for item in documents.of_run(conn, run_id)],
        }


@blp.route("/runs/<id64:run_id>/documents", methods=["GET"])
@needs(auth.READ, or_asker=True)
@blp.answers(200, schemas.RunDocument(many=True))
@blp.fails(404)
def list_documents(run_id: int) -> Response:
    """List the files of a run."""
    with transaction() as conn:
        run = _found(conn, run_id)
        found = documents.of_run(conn, run_id)
    dashboards.check_seen(item.uid for item in run.spec.dashboards)
    return jsonify([_document(item) for item in found])


@blp.route("/runs/<id64:run_id>/documents/<id64:document_id>", methods=["GET"])
@needs(auth.READ, or_asker=True)
@blp.answers(200, BINARY, content_type="application/pdf")
@blp.answers(200, BINARY, content_type="image/png")
@blp.answers(200, BINARY, content_type="text/csv")
@blp.fails(404)
def get_document(run_id: int, document_id: int) -> Response:
    """Return a file of a run."""
    with transaction() as conn:
        run = _found(conn, run_id)
    dashboards.check_seen(item.uid for item in run.spec.dashboards)
    with transaction() as conn:
        document = next(
            (item for item in documents.of_run(conn, run_id) if item.id == document_id), None
        )
        if document is None:
            raise NotFound("Document not found")
    [content] = services().storage.contents(transaction, [document])
    with transaction() as conn:
        noted(
            conn,
            "documents:download",
            report_id=run.report_id,
            run_id=run_id,
            document=document.name,
        )
    return send_file(
        io.BytesIO(content),
        mimetype=document.media_type,
        as_attachment=True,
        download_name=documents.harmless(document.name),
        etag=False,
    )


def _mine_to_send(conn: Connection, run_id: int) -> Run:
    """Return the run if the caller asked for it or may send its report; raise 403 or 404."""
    asking = identity()
    run = runs.get(conn, run_id, org_id=asking.org_id)
    if run is not None and run.asked_by == asking.who:
        return run
    if not asking.may_send(run.report_id if run else None):
        raise auth.denied(auth.SEND)
    if run is None:
        raise NotFound("Run not found")
    return run


def _found(conn: Connection, run_id: int) -> Run:
    """Return the run if the caller may see it; raise `NotFound` or Grafana's 403.

    It is for whoever asked for it, whose other answer names its address, and for those
    who may read its report; without a report (a test, an export, or one whose report is gone),
    for those who may read all reports of the org.
    """
    asking = identity()
    run = runs.get(conn, run_id, org_id=asking.org_id)
    if run is not None and run.asked_by == asking.who:
        return run
    if not asking.may(auth.READ):
        raise auth.denied(auth.READ)
    if run is None:
        raise NotFound("Run not found")
    allowed = (
        asking.may_all(auth.READ)
        if run.report_id is None
        else asking.may_one(auth.READ, run.report_id)
    )
    if not allowed:
        raise auth.denied(auth.READ)
    return run


def _summary(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "reportId": run.report_id,
        "reportRevision": run.report_revision,
        "kind": run.kind,
        "name": run.spec.name,
        "state": run.state,
        "cause": run.cause or _waits(run),
        "complete": run.complete,
        "scheduledFor": shown(run.scheduled_for),
        "notBefore": shown(_waits_until(run)),
        "created": shown(run.created_at),
        "started": shown(run.started_at),
        "rendered": shown(run.rendered_at),
        "finished": shown(run.finished_at),
        "stages": {
            "queued": _milliseconds(run.created_at, run.started_at),
            "rendering": _rendering(run),
            "assemble": run.timings.get("assemble"),
            "delivering": _milliseconds(run.rendered_at, run.finished_at),
        },
        "href": here(f"/api/reports/runs/{run.id}"),
    }


def _waits_until(run: Run) -> dt.datetime | None:
    """Return when a run may begin whose report spreads its slots; None: at once, or it has."""
    # Of one that may begin at once the two are the same moment, but for what storing it takes.
    spread = run.not_before - run.created_at > dt.timedelta(seconds=1)
    return run.not_before if spread and run.state == "queued" else None


def _waits(run: Run) -> str | None:
    """Say of a run that nobody has begun for a while that it waits; `None` of any other."""
    if run.state != "queued":
        return None
    waited = (services().clock() - run.not_before).total_seconds()
    if waited < amiss.LATE:
        return None
    return f"No worker has begun it for {rounded(waited)}: do they hang, or are there too few?"


def _rendering(run: Run) -> int | None:
    """Milliseconds from the first capture's start to the last one's end, without assembly."""
    # A run that failed, or an export, which is not delivered, ends without having been rendered.
    whole = _milliseconds(run.started_at, run.rendered_at or run.finished_at)
    return None if whole is None else max(0, whole - int(run.timings.get("assemble") or 0))


def _milliseconds(start: dt.datetime | None, end: dt.datetime | None) -> int | None:
    return None if start is None or end is None else round((end - start).total_seconds() * 1000)


def _capture(position: int, run: Run, capture: Capture) -> dict[str, Any]:
    # A capture's own title is what the page really showed.
    dashboard = run.spec.dashboards[position]
    name: Mapping[str, Any] = {"title": dashboard.name, **capture.facts}
    return {
        "id": capture.id,
        "position": position,
        "dashboard": {"uid": dashboard.uid, "name": str(name["title"])},
        "state": capture.state,
        "cause": capture.cause,
        "attempts": capture.attempts,
        "facts": capture.facts,
        "verdict": _told(capture.verdict),
        "stages": capture.timings,
    }


def _told(verdict: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return a verdict in the shape that is documented; earlier ones only counted queries."""
    if verdict is None or not isinstance(verdict.get("queries"), int):
        return verdict
    counts = {"query_count": verdict["queries"], "failed_count": verdict["failed_queries"]}
    kept = {name: value for name, value in verdict.items() if name != "failed_queries"}
    return {**kept, "queries": [], **counts}


def _document(document: Document) -> dict[str, Any]:
    return {
        "id": document.id,
        "kind": document.kind,
        "name": document.name,
        "mediaType": document.media_type,
        "size": document.size,
        "sha256": document.sha256,
        "href": here(f"/api/reports/runs/{document.run_id}/documents/{document.id}"),
    }
