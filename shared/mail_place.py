"""A place for a connection to the mail server, of which all mailers together have a few.

A place is a session-level advisory lock of Postgres, as those of `shared.semaphore` are: the
server takes it back when the session ends, so that a mailer that is killed keeps none. Unlike
there, nobody goes on without one: without the database no mail is sent anyway.
"""

from __future__ import annotations

import time

import psycopg

from shared import db
from shared.errors import DatabaseAway
from shared.semaphore import family

#: Seconds between two looks for a free place.
POLL = 0.05

TAKE = """
SELECT n FROM generate_series(1, %(limit)s) AS n WHERE pg_try_advisory_lock(%(family)s, n) LIMIT 1
"""


class MailPlace:
    """One of `limit` places of this name, or none yet. Not for use by two threads at once.

    All processes should have the same limit; where they differ, the largest holds.
    """

    def __init__(self, database_url: str, *, name: str, limit: int) -> None:
        self._database_url = database_url
        self._family = family(f"mail {name}")
        self._limit = limit
        self._session: db.Connection | None = None
        self._number: int | None = None

    def take(self, patience: float) -> bool:
        """Have a place within `patience` seconds, or say that there is none.

        Raises `DatabaseAway`.
        """
        deadline = time.monotonic() + patience
        while not self._try():
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL)
        return True

    @property
    def taken(self) -> bool:
        """Whether there is one to give back."""
        return self._number is not None

    def held(self) -> bool:
        """Whether the place is still ours: the session may have ended, and the place with it."""
        if self._session is None or self._number is None:
            return False
        try:
            with db.translated():
                self._session.execute("SELECT 1")
        except DatabaseAway:
            self.close()
            return False
        return True

    def give_back(self) -> None:
        """Let others have the place. Does nothing without one, and raises nothing."""
        if self._session is None or self._number is None:
            return
        try:
            self._session.execute("SELECT pg_advisory_unlock(%s, %s)", [self._family, self._number])
            self._number = None
        except psycopg.Error:
            self.close()

    def close(self) -> None:
        """Give the place back by ending the session; the next use opens one."""
        session, self._session, self._number = self._session, None, None
        if session is not None:
            session.close()

    def _try(self) -> bool:
        if self._number is not None:
            return True
        if self._session is None or self._session.closed:
            self._session = db.connect(
                self._database_url, autocommit=True, application="broadsheet-mail-place"
            )
        try:
            with db.translated():
                row = self._session.execute(
                    TAKE, {"limit": self._limit, "family": self._family}
                ).fetchone()
        except DatabaseAway:
            self.close()
            raise
        self._number = row["n"] if row else None
        return row is not None
