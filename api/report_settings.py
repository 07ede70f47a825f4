"""`/api/reports/settings`: one object per org, for all its reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from api import auth, schemas
from api.auth import identity, needs
from api.blueprint import Blueprint
from api.errors import invalid
from api.services import services
from shared import db, log, report_settings
from shared.report_settings import DEFAULTS, ReportSettings

blp = Blueprint(
    "settings",
    __name__,
    url_prefix="/api/reports/settings",
    description="Branding, themes, header and footer, for all reports of an organisation.",
)
logger = log.get(__name__)

ADDRESSES = ("reportLogoUrl", "emailLogoUrl", "emailFooterLink")


@blp.route("", methods=["GET"])
@needs(auth.SETTINGS_READ)
@blp.answers(200, schemas.ReportSettings)
def get_settings() -> dict[str, Any]:
    """Return the settings, the defaults where none were saved."""
    with db.transaction(services().pool) as conn:
        found = report_settings.get(conn, identity().org_id)
    return {
        "id": found.id,
        "userId": found.user_id,
        "orgId": found.org_id,
        **DEFAULTS,
        **found.body,
    }


@blp.route("", methods=["POST"])
@needs(auth.SETTINGS_WRITE)
@blp.arguments(schemas.ReportSettings)
@blp.answers(200, schemas.SuccessResponseBody)
def save_settings(body: dict[str, Any]) -> dict[str, Any]:
    """Create or replace the settings."""
    asking = identity()
    with db.transaction(services().pool) as conn:
        settings = merged(body, report_settings.get(conn, asking.org_id))
        check_branding(settings["branding"])
        report_settings.save(conn, asking.org_id, asking.user_id, settings)
    logger.info("settings.saved", org_id=asking.org_id)
    return {"message": "Report settings saved"}


def merged(body: Mapping[str, Any], stored: ReportSettings) -> dict[str, Any]:
    """Return the settings that the body asks for.

    Go's clients leave out what is false. So on the first saving an absent switch is the default
    (on), and afterwards it is off; but a body of branding alone, which is all that clients
    before Grafana 11 know, changes nothing else.
    """
    wanted = {name: body[name] for name in DEFAULTS if name in body}
    branding = {**DEFAULTS["branding"], **wanted.pop("branding", stored.body["branding"])}
    if not wanted:
        return {**DEFAULTS, **stored.body, "branding": branding}
    absent = {
        name: False if isinstance(value, bool) and stored.id else value
        for name, value in DEFAULTS.items()
    }
    return {**absent, **wanted, "branding": branding}


def check_branding(branding: Mapping[str, Any]) -> None:
    """Raise `BadRequest` for a footer without text or link, and for odd kinds of address."""
    for name in ADDRESSES:
        try:
            scheme = urlsplit(branding[name]).scheme
        except ValueError as exc:
            raise invalid(f"branding.{name}", "is not an address") from exc
        if scheme not in ("", "http", "https"):
            raise invalid(f"branding.{name}", "must be an http:// or https:// address")
    # The default footer has no link, and may be sent back as it was read.
    if branding["emailFooterMode"] != "sent-by" or branding == DEFAULTS["branding"]:
        return
    for name in ("emailFooterText", "emailFooterLink"):
        if not branding[name]:
            raise invalid(f"branding.{name}", 'is required when emailFooterMode is "sent-by"')
