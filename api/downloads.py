"""Downloads: documents that were too large for their mail, for whoever has its signed link."""

from __future__ import annotations

import io
from functools import partial
from typing import Any

from flask import Response, request, send_file
from werkzeug.exceptions import Forbidden, Gone, NotFound

from api import auth, schemas
from api.blueprint import Blueprint
from api.services import services
from shared import audit, db, documents, links
from shared.audit import Actor

blp = Blueprint(
    "downloads",
    __name__,
    url_prefix="/api/reports",
    description="Documents that were too large for their mail; not in Grafana.",
)
BINARY = {"type": "string", "format": "binary"}


@blp.route("/documents/<id64:document_id>", methods=["GET"])
@auth.by_link
@blp.arguments(schemas.LinkQuery, location="query")
@blp.answers(200, BINARY, content_type="application/pdf")
@blp.answers(200, BINARY, content_type="image/png")
@blp.answers(200, BINARY, content_type="text/csv")
@blp.fails(403, 404, 410)
def download_document(query: dict[str, Any], document_id: int) -> Response:
    """Return a document by the link that stood in a mail. No token is needed, or looked at."""
    org_id: int = query["org"]
    expires: int = query["expires"]
    with db.transaction(services().pool) as conn:
        keys = links.keys(conn, services().settings)
        if not links.genuine(keys, org_id, document_id, expires, query["signature"]):
            raise Forbidden("This link is not one of ours. Was it copied as a whole?")
        if expires <= services().clock().timestamp():
            raise Gone("This link has expired. Ask whoever looks after the report for the file.")
    with db.org_transaction(services().pool, org_id) as conn:
        document = documents.get_of_org(conn, org_id, document_id)
        if document is None:
            raise NotFound("This document is gone.")
    begin = partial(db.org_transaction, services().pool, org_id)
    [content] = services().storage.contents(begin, [document])
    with begin() as conn:
        audit.note(
            conn,
            Actor(who="link", name="a link from a mail", address=request.remote_addr),
            "documents:download",
            org_id=org_id,
            run_id=document.run_id,
            document=document.name,
        )
    response = send_file(
        io.BytesIO(content),
        mimetype=document.media_type,
        as_attachment=True,
        download_name=documents.harmless(document.name),
        etag=False,
    )
    response.headers["Cache-Control"] = "private, no-store"
    response.headers["X-Robots-Tag"] = "noindex"
    return response
