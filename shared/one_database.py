"""One database: with a pooler there are two addresses of it, and they must not lead to two.

After a restore into a new database the one, changed, would be served by the processes, and the
other, forgotten, be migrated and settled.
"""

from __future__ import annotations

from shared import db
from shared.errors import DatabaseAway, SettingsError
from shared.settings import Settings

#: The server is told by when it started: a copy of its files, such as a snapshot of a disk, keeps
#: the name and the system identifier.
WHICH = "SELECT current_database() AS name, pg_postmaster_start_time() AS started"
TWO = (
    "BROADSHEET_DATABASE_URL leads to the database {here}, and BROADSHEET_DATABASE_SESSION_URL to "
    "{there}: both must lead to the same one, the former by the pooler."
)


def check(settings: Settings) -> None:
    """See that a pooler leads to the database that is meant; without one there is nothing to see.

    Raises `SettingsError`, `DatabaseAway`.
    """
    if not settings.is_pooled:
        return
    here = _which("BROADSHEET_DATABASE_URL", settings.database_url)
    there = _which("BROADSHEET_DATABASE_SESSION_URL", settings.database_session_url)
    if here != there:
        apart = " of another server" if here[0] == there[0] else ""
        raise SettingsError(TWO.format(here=here[0], there=f"{there[0]}{apart}"))


def _which(variable: str, url: str) -> tuple[str, object]:
    """Return what no other database has in common with this one."""
    try:
        # Not by `db.open_pool`, which refuses it until `migrate` has given the login its limits.
        with (
            db.connect(url, autocommit=True, application="broadsheet-cli", pooled=True) as conn,
            db.translated(),
        ):
            row = conn.execute(WHICH).fetchone()
    except DatabaseAway as exc:
        raise DatabaseAway(f"{variable}: {exc.message}") from exc
    assert row is not None  # noqa: S101 - a SELECT of functions always gives a row
    return row["name"], row["started"]
