"""`/api/reports/images`: logos that were uploaded.

Grafana shows uploaded logos at this address. How its page sends them is not public, so taking,
listing and deleting them is of our own making.
"""

from __future__ import annotations

import io
from typing import Any

from flask import Response, jsonify, request
from werkzeug.exceptions import BadRequest, Conflict, NotFound, RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from api import auth, schemas
from api.audit import noted
from api.auth import identity, needs
from api.blueprint import Blueprint
from api.services import transaction
from api.times import shown
from shared import logo_images, logos
from shared.logos import NoPicture

blp = Blueprint(
    "images",
    __name__,
    url_prefix="/api/reports/images",
    description="Uploaded logos of an organisation. Uploading and listing are not in Grafana.",
)

BINARY = {"type": "string", "format": "binary"}
#: What the form has around the picture.
AROUND = 64 * 1024
MOST_PARTS = 10
TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp", "application/octet-stream")
FORM = "multipart/form-data"
UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            FORM: {
                "schema": {
                    "type": "object",
                    "properties": {"file": BINARY},
                    "required": ["file"],
                }
            },
            **{kind: {"schema": BINARY} for kind in TYPES},
        },
    }
}


@blp.route("", methods=["POST"])
@needs(auth.SETTINGS_WRITE)
@blp.doc(**UPLOAD)  # type: ignore[untyped-decorator]  # flask-smorest has no types
@blp.answers(200, schemas.UploadedImage)
@blp.fails(409, 413)
def upload_image() -> dict[str, Any]:
    """Keep a logo, and tell the address that the settings take.

    The body is the picture, or a form with one file of any name: PNG, JPEG, GIF or WebP, up to
    3 MB. What is kept is drawn anew as a small PNG. The same picture twice is kept once.
    """
    try:
        content = logos.png(_sent())
    except NoPicture as exc:
        raise BadRequest(f"The body: {exc.message}") from exc
    with transaction() as conn:
        name = logo_images.add(conn, identity().org_id, content)
        if name is not None:
            noted(conn, auth.SETTINGS_WRITE, uploaded=name)
    if name is None:
        raise Conflict(
            f"The organisation has {logo_images.MOST} logos, as many as it may; delete one of them"
        )
    return {"message": "Image uploaded", "name": name, "url": f"{logos.PATH}/{name}"}


@blp.route("", methods=["GET"])
@needs(auth.SETTINGS_READ)
@blp.answers(200, schemas.StoredImage(many=True))
def list_images() -> Response:
    """List the logos of the organisation, the newest first."""
    with transaction() as conn:
        found = logo_images.of_org(conn, identity().org_id)
    return jsonify(
        [
            {
                "name": image.name,
                "url": f"{logos.PATH}/{image.name}",
                "size": image.size,
                "created": shown(image.created_at),
            }
            for image in found
        ]
    )


@blp.route("/<image>", methods=["GET"])
@needs(auth.SETTINGS_READ)
@blp.answers(200, BINARY, content_type="image/png")
@blp.fails(404)
def get_image(image: str) -> Response:
    """Return an uploaded logo."""
    content = None
    if logos.is_name(image):
        with transaction() as conn:
            content = logo_images.content(conn, identity().org_id, image)
    if content is None:
        raise _unknown()
    return Response(content, mimetype="image/png")


@blp.route("/<image>", methods=["DELETE"])
@needs(auth.SETTINGS_WRITE)
@blp.answers(200, schemas.SuccessResponseBody)
@blp.fails(404)
def delete_image(image: str) -> dict[str, Any]:
    """Delete an uploaded logo; reports whose settings name it go out without."""
    deleted = False
    if logos.is_name(image):
        with transaction() as conn:
            deleted = logo_images.delete(conn, identity().org_id, image)
            if deleted:
                noted(conn, auth.SETTINGS_WRITE, deleted=image)
    if not deleted:
        raise _unknown()
    return {"message": "Image deleted"}


def _unknown() -> NotFound:
    return NotFound("The organisation has no uploaded logo of this name")


def _sent() -> bytes:
    """Return what was uploaded. Raises `BadRequest` and `RequestEntityTooLarge`."""
    # Other calls take as much as BROADSHEET_MAX_BODY_BYTES says, which is less than a picture.
    request.max_content_length = logos.MAX_SOURCE + AROUND
    try:
        if request.mimetype == FORM:
            content = _in_form()
        elif request.mimetype in TYPES:
            content = request.get_data()
        else:
            raise BadRequest(f"Content-Type: must be {FORM}, or one of {', '.join(TYPES)}")
    except RequestEntityTooLarge as exc:
        raise _too_large() from exc
    if len(content) > logos.MAX_SOURCE:
        raise _too_large()
    return content


def _in_form() -> bytes:
    """Return the only file of a form, read in memory: of that size no disk is needed."""
    parser = FormDataParser(
        stream_factory=lambda *_, **__: io.BytesIO(),
        max_form_memory_size=AROUND,
        max_form_parts=MOST_PARTS,
        silent=False,
    )
    try:
        _, _, files = parser.parse(
            request.stream, FORM, request.content_length, request.mimetype_params
        )
    except ValueError as exc:
        raise BadRequest("The body is no multipart/form-data") from exc
    found = [file for _, file in files.items(multi=True)]
    if len(found) != 1:
        raise BadRequest("The form must have one file")
    content: bytes = found[0].stream.read()
    return content


def _too_large() -> RequestEntityTooLarge:
    return RequestEntityTooLarge(f"A logo may have {logos.MAX_SOURCE // 1024 // 1024} MB at most")
