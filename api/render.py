"""`/api/reports/render/*`: dashboards as files, without a stored report and without a mail."""

from __future__ import annotations

import datetime as dt
import io
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from flask import Response, send_file
from marshmallow import ValidationError
from werkzeug.exceptions import BadRequest, InternalServerError

from api import auth, dashboards, launch, schemas
from api.auth import identity, needs
from api.blueprint import Blueprint
from api.errors import invalid, sentence
from api.fields import Body, Choice, QueryWhole, Text
from api.parser import parse_json
from api.reports import blank, check_ranges, merged
from api.services import services, transaction
from shared import documents, runs
from shared.runs import NewRun, Run

blp = Blueprint(
    "render",
    __name__,
    url_prefix="/api/reports/render",
    description="Dashboards as files, for whoever may see them.",
)
BINARY = {"type": "string", "format": "binary"}
YES, NO = ("true", "1"), ("false", "0")
#: A list of dashboards in an address; servers and proxies take about 8,000 characters.
LONGEST_LIST = 100_000


class CsvQuery(Body):
    """Which dashboards."""

    dashboards = Text(
        longest=LONGEST_LIST,
        line=False,
        required=True,
        error_messages={"required": "is required"},
        metadata={
            "description": "A JSON array of ReportDashboard, or uids separated by commas.",
            "example": '[{"dashboard":{"uid":"7MeksYbmk"}}]',
        },
    )
    title = Text(longest=255)


class PdfQuery(CsvQuery):
    """Which dashboards, and how they look."""

    orientation = Choice("portrait", "landscape")
    layout = Choice("simple", "grid")
    scale_factor = QueryWhole(low=0, high=10)
    include_tables = Choice(
        *YES,
        *NO,
        metadata={"description": "Whether the rows of all tables follow the dashboards."},
    )


@blp.route("/pdfs", methods=["GET"], parameters=launch.PARAMETERS)
@needs(auth.RENDER)
@blp.arguments(PdfQuery, location="query")
@blp.answers(200, BINARY, content_type="application/pdf")
@blp.answers(202, schemas.RunStarted, headers=launch.HEADERS)
@blp.answers(504, schemas.RunStarted, headers=launch.HEADERS)
@blp.fails(*launch.FAILS)
def render_pdf(query: dict[str, Any]) -> Response:
    """Return one PDF of all the dashboards.

    As in Grafana, this is available to all users, for dashboards that they may see; a token
    of ours sees what Broadsheet's service account does.
    """
    run = _exported(query, "pdf")
    if isinstance(run, Response):
        return run
    made = _files(run, "pdf")
    if not made:
        raise InternalServerError(f"Run {run.id} made no PDF")
    name, content = made[0]
    return _download(content, name, "application/pdf")


@blp.route("/csvs", methods=["GET"], parameters=launch.PARAMETERS)
@needs(auth.RENDER)
@blp.arguments(CsvQuery, location="query")
@blp.answers(200, BINARY, content_type="application/zip")
@blp.answers(202, schemas.RunStarted, headers=launch.HEADERS)
@blp.answers(204, description="The dashboards have no table.")
@blp.answers(504, schemas.RunStarted, headers=launch.HEADERS)
@blp.fails(*launch.FAILS)
def render_csvs(query: dict[str, Any]) -> Response:
    """Return an archive with a CSV file for each table of the dashboards.

    As in Grafana, this is available to all users, for dashboards that they may see; a token
    of ours sees what Broadsheet's service account does.
    """
    run = _exported(query, "csv")
    if isinstance(run, Response):
        return run
    made = _files(run, "csv")
    if not made:
        return Response(status=204)
    name = documents.stem(run.spec.name, run.scheduled_for)
    return _download(_zipped(made, run.scheduled_for), f"{name}.zip", "application/zip")


def _exported(query: dict[str, Any], kind: str) -> Run | Response:
    return launch.repeated() or launch.run_to_its_end(_export(query, kind))


def _export(query: dict[str, Any], kind: str) -> launch.Make:
    """Check what is asked for, with Grafana's help; return what makes the run of it."""
    now = services().now()
    options = {name: query[name] for name in ("orientation", "layout") if query.get(name)}
    body = {
        "dashboards": _listed(query["dashboards"]),
        "formats": [kind],
        "options": {
            "pdfCombineOneFile": True,
            "pdfIncludeTables": query.get("includeTables") in YES,
            **options,
        },
        "scaleFactor": query.get("scaleFactor", 0),
    }
    report = merged(body, blank(now), now)
    check_ranges(report, now)
    found = dashboards.filled_in(report.dashboards)
    title = query.get("title", "").strip() or found[0]["dashboard"]["name"]
    spec = replace(report, dashboards=found, name=title).spec()
    return lambda _: NewRun(
        org_id=identity().org_id,
        report_id=None,
        report_revision=None,
        kind=runs.EXPORT,
        scheduled_for=services().clock(),
        spec=spec,
    )


def _listed(text: str) -> list[dict[str, Any]]:
    """Read the parameter `dashboards`, whose encoding Grafana does not document."""
    if text.lstrip()[:1] in ("[", "{"):
        try:
            value = parse_json(text)
        except BadRequest as exc:
            raise invalid("dashboards", str(exc.description)) from exc
        value = value if isinstance(value, list) else [value]
    else:
        value = [{"dashboard": {"uid": uid.strip()}} for uid in text.split(",") if uid.strip()]
    try:
        items: list[dict[str, Any]] = schemas.CreateOrUpdateReport(only=["dashboards"]).load(
            {"dashboards": value}
        )["dashboards"]
    except ValidationError as exc:
        raise BadRequest(sentence(exc.messages_dict)) from exc
    if not items:
        raise invalid("dashboards", "at least one dashboard is required")
    for position, item in enumerate(items):
        if not item.get("dashboard", {}).get("uid"):
            raise invalid(f"dashboards[{position}].dashboard.uid", "is required")
    return items


def _files(run: Run, kind: str) -> list[tuple[str, bytes]]:
    """Return name and bytes of the finished files of one kind."""
    with transaction() as conn:
        found = [item for item in documents.of_run(conn, run.id) if item.kind == kind]
    read = services().storage.contents(transaction, found)
    return [(document.name, content) for document, content in zip(found, read, strict=True)]


def _zipped(files: Sequence[tuple[str, bytes]], made: dt.datetime) -> bytes:
    """Pack the files, dated `made`: a repeated request gets the same bytes.

    Those of one run have names of their own.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            entry = zipfile.ZipInfo(documents.harmless(name), made.timetuple()[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return packed.getvalue()


def _download(content: bytes, name: str, media_type: str) -> Response:
    return send_file(
        io.BytesIO(content),
        mimetype=media_type,
        as_attachment=True,
        download_name=documents.harmless(name),
    )
