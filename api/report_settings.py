"""`/api/reports/settings`: one object per org, for all its reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from api import auth, schemas
from api.audit import noted
from api.auth import identity, needs
from api.blueprint import Blueprint
from api.errors import invalid
from api.services import services, transaction
from shared import footer, logo_images, logos, report_settings
from shared.db import Connection
from shared.logos import NoPicture
from shared.report_settings import DEFAULTS, ReportSettings

blp = Blueprint(
    "settings",
    __name__,
    url_prefix="/api/reports/settings",
    description="Branding, themes, header and footer, for all reports of an organisation.",
)

LOGOS = ("reportLogoUrl", "emailLogoUrl")
FOOTER = ("emailFooterMode", "emailFooterText", "emailFooterLink")
LONGEST_ADDRESS = 2_000


@blp.route("", methods=["GET"])
@needs(auth.SETTINGS_READ)
@blp.answers(200, schemas.ReportSettings)
def get_settings() -> dict[str, Any]:
    """Return the settings, the defaults where none were saved."""
    with transaction() as conn:
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
    """Create or replace the settings.

    Branding alone changes nothing else. With anything besides, what is absent gets its default,
    and a switch that is absent is off, except on the first saving.
    """
    asking = identity()
    with transaction() as conn:
        stored = report_settings.get(conn, asking.org_id)
        branding = body.get("branding", {})
        check_branding(branding, stored.body["branding"])
        _check_uploaded(conn, asking.org_id, branding, stored.body["branding"])
        check_footer(body.get("footerItems", []))
        settings = merged(body, stored)
        report_settings.save(conn, asking.org_id, asking.user_id, settings)
        noted(conn, auth.SETTINGS_WRITE)
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


def check_branding(wanted: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
    """Raise `BadRequest` for odd kinds of address, and for a footer without text or link.

    The footer is judged only where the body asks for one, and not where it is sent back as it
    was read: the default footer has no link.
    """
    for name in LOGOS:
        _check_logo(name, wanted.get(name, ""))
    _check_address("emailFooterLink", wanted.get("emailFooterLink", ""))
    footer = {name: {**DEFAULTS["branding"], **wanted}[name] for name in FOOTER}
    if wanted.get("emailFooterMode") != "sent-by" or footer in (
        {name: DEFAULTS["branding"][name] for name in FOOTER},
        {name: stored[name] for name in FOOTER},
    ):
        return
    for name in ("emailFooterText", "emailFooterLink"):
        if not footer[name]:
            raise invalid(f"branding.{name}", 'is required when emailFooterMode is "sent-by"')


def check_footer(items: Sequence[Mapping[str, Any]]) -> None:
    """Raise `BadRequest` for what an item of a known type cannot have; others are kept as is."""
    for number, item in enumerate(items):
        for field, reason in footer.faults(item):
            raise invalid(f"footerItems[{number}].{field}", reason)


def _check_logo(name: str, url: str) -> None:
    """Take an address, or a picture that is itself in its `data:` address and not too large."""
    if not logos.is_data(url):
        _check_address(name, url)
        if "@" in urlsplit(url).netloc:
            # Everybody who may read the settings would read it.
            raise invalid(f"branding.{name}", "must not hold a user or a password")
        return
    try:
        logos.png(logos.in_data(url))
    except NoPicture as exc:
        raise invalid(
            f"branding.{name}",
            "must be a picture as data:image/png;base64,… (or jpeg, or gif), or an address",
        ) from exc


def _check_uploaded(
    conn: Connection, org_id: int, wanted: Mapping[str, Any], stored: Mapping[str, Any]
) -> None:
    """Raise `BadRequest` for an uploaded logo that this org has not, unless it stood there."""
    for field in LOGOS:
        url = wanted.get(field, "")
        name = logos.uploaded(url, services().settings.public_url)
        if name is None or url == stored.get(field):
            continue
        if not (name and logo_images.content(conn, org_id, name)):
            raise invalid(
                f"branding.{field}",
                f"is no logo of this organisation; POST {logos.PATH} takes one, and tells its name",
            )


def _check_address(name: str, url: str) -> None:
    try:
        scheme = urlsplit(url).scheme
    except ValueError as exc:
        raise invalid(f"branding.{name}", "is not an address") from exc
    if scheme not in ("", "http", "https"):
        raise invalid(f"branding.{name}", "must be an http:// or https:// address")
    if len(url) > LONGEST_ADDRESS:
        raise invalid(f"branding.{name}", f"must not be longer than {LONGEST_ADDRESS} characters")
