"""Links: addresses at which a reader of a mail fetches a document, signed and for a while.

The signature stands for who may have it: whoever has the mail. It is an HMAC over purpose,
organisation, document and end, so nothing of a link can be changed or used for something else.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import secrets
from collections.abc import Sequence

from shared.db import Connection
from shared.settings import Settings

#: What the signature is for; another use of the same keys would have another one.
PURPOSE = "broadsheet document link 2"
PATH = "/api/reports/documents"
SECRET = "links"  # noqa: S105 - the name of one


def keys(conn: Connection, settings: Settings) -> Sequence[bytes]:
    """Return the keys: the first signs, all are accepted.

    Those of the settings; or one of the database's own, made at its first use: of several that
    make one at once, the first one's stays.
    """
    if settings.secret_key:
        return [key.encode() for key in settings.secret_key]
    stored = _stored(conn)
    if stored is None:
        conn.execute(
            "INSERT INTO secret (name, value) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [SECRET, secrets.token_bytes(32)],
        )
        stored = _stored(conn)
    assert stored is not None  # noqa: S101 - inserted above, by us or by another before
    return [stored]


def _stored(conn: Connection) -> bytes | None:
    row = conn.execute("SELECT value FROM secret WHERE name = %s", [SECRET]).fetchone()
    return bytes(row["value"]) if row else None


def signature(key: bytes, org_id: int, document_id: int, expires: int) -> str:
    """Return what proves that we made the link; `expires` is in seconds since 1970."""
    text = f"{PURPOSE}\n{org_id}\n{document_id}\n{expires}"
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def address(public_url: str, key: bytes, org_id: int, document_id: int, until: dt.datetime) -> str:
    """Return the link to a document of an org, good until then."""
    expires = int(until.timestamp())
    return (
        f"{public_url}{PATH}/{document_id}?org={org_id}&expires={expires}"
        f"&signature={signature(key, org_id, document_id, expires)}"
    )


def genuine(keys: Sequence[bytes], org_id: int, document_id: int, expires: int, shown: str) -> bool:
    """Whether one of the keys made this signature, found out in constant time."""
    given = shown.encode()
    found = False
    for key in keys:
        made = signature(key, org_id, document_id, expires).encode()
        found |= hmac.compare_digest(made, given)
    return found
