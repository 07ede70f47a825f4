"""The logos of the report settings, found wherever they are: a small PNG each, or none.

A logo that cannot be had is no reason not to make the report: it goes out without, and the log
says why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shared import log, logos
from shared.logos import NoPicture
from shared.settings import Settings
from workers import logo_fetch
from workers.logo_address import LogoRefused

logger = log.get(__name__)

FIELDS = ("reportLogoUrl", "emailLogoUrl")
#: How long a logo is remembered, and how long that there is none.
KEPT, MISSED = 600.0, 60.0
#: Of so many organisations and addresses; who has more fetches more often.
MOST = 64

#: Returns what an address holds. Raises `LogoRefused`.
Fetch = Callable[[str], bytes]
#: Returns the uploaded logo of that name, of the report's organisation only.
Look = Callable[[str], bytes | None]


@dataclass(frozen=True, slots=True)
class _Known:
    """The `data:` address of a logo, "" for none, and until when that holds."""

    url: str
    until: float


class Logos:
    """What one worker process knows of logos. `clock` counts seconds."""

    def __init__(
        self,
        settings: Settings,
        *,
        fetch: Fetch | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._public_url = settings.public_url
        trusted = settings.logo_hosts
        self._fetch = fetch or (lambda url: logo_fetch.fetch(url, trusted=trusted))
        self._clock = clock
        self._known: dict[tuple[int, str], _Known] = {}

    def found(self, body: Mapping[str, Any], *, org_id: int, look: Look) -> dict[str, Any]:
        """Return an organisation's report settings with each logo as its PNG, or as "".

        `look` finds uploaded ones; it is called for this organisation only.
        """
        branding = dict(body.get("branding") or {})
        for field in FIELDS:
            url = str(branding.get(field) or "").strip()
            branding[field] = self._one(url, field, org_id, look) if url else ""
        return {**body, "branding": branding}

    def _one(self, url: str, field: str, org_id: int, look: Look) -> str:
        try:
            if logos.is_data(url):
                return logos.data_url(logos.png(logos.in_data(url)))
            name = logos.uploaded(url, self._public_url)
            if name is not None:
                return _of_ours(look(name) if name else None)
        except (NoPicture, LogoRefused) as exc:
            logger.warning("logo.left_out", org_id=org_id, field=field, error=exc.message)
            return ""
        return self._fetched(url, field, org_id)

    def _fetched(self, url: str, field: str, org_id: int) -> str:
        now = self._clock()
        known = self._known.get((org_id, url))
        if known and now < known.until:
            return known.url
        try:
            found = logos.data_url(logos.png(self._fetch(url)))
        except (NoPicture, LogoRefused) as exc:
            # Without the address: its path or query may be a secret.
            logger.warning("logo.left_out", org_id=org_id, field=field, error=exc.message)
            found = ""
        self._known.pop((org_id, url), None)
        while len(self._known) >= MOST:
            self._known.pop(next(iter(self._known)))
        self._known[org_id, url] = _Known(found, now + (KEPT if found else MISSED))
        return found


def _of_ours(content: bytes | None) -> str:
    """Return the address of an uploaded logo, which was drawn anew when it came."""
    if content is None:
        raise LogoRefused("there is no uploaded logo of that name")
    return logos.data_url(content)
