"""Presence: which processes of Broadsheet are there, by the row that each keeps fresh."""

from __future__ import annotations

import datetime as dt
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import metadata
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from shared import db, log
from shared.db import Connection
from shared.errors import DatabaseAway

logger = log.get(__name__)

API, BEAT, WORKER = ROLES = ("api", "beat", "worker")
#: Seconds between two renewals, and after which a process that did not renew is not there.
EVERY, GONE = 10.0, 35.0
#: Rows are kept for so long, to show since when somebody is gone.
KEPT = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A row of `process`. A worker's is one pool child, which does one task at a time."""

    name: str
    role: str
    queues: Sequence[str] = ()
    version: str
    since: dt.datetime | None = None
    seen_at: dt.datetime | None = None
    #: Whether it renewed within `GONE` seconds.
    is_there: bool = True
    detail: Mapping[str, Any] = field(default_factory=dict)


def this(role: str, queues: Sequence[str] = ()) -> Process:
    """Return the row of this very process."""
    return Process(
        name=f"{socket.gethostname()}:{os.getpid()}",
        role=role,
        queues=sorted(queues),
        version=metadata.version("broadsheet"),
    )


RENEW = """
INSERT INTO process (name, role, queues, version, detail)
VALUES (%(name)s, %(role)s, %(queues)s, %(version)s, %(detail)s)
ON CONFLICT (name) DO UPDATE
   SET seen_at = clock_timestamp(), role = excluded.role, queues = excluded.queues,
       version = excluded.version, detail = excluded.detail,
       -- A process of an earlier life may have had the same number.
       since = CASE WHEN process.seen_at < clock_timestamp() - make_interval(secs => %(gone)s)
                    THEN clock_timestamp() ELSE process.since END
"""


def renew(conn: Connection, process: Process) -> None:
    """Say that the process is there."""
    conn.execute(
        RENEW,
        {
            "name": process.name,
            "role": process.role,
            "queues": list(process.queues),
            "version": process.version,
            "detail": Jsonb(process.detail),
            "gone": GONE,
        },
    )


def leave(conn: Connection, name: str) -> None:
    """Say that the process ends as it should."""
    conn.execute("DELETE FROM process WHERE name = %s", [name])


def find(conn: Connection) -> list[Process]:
    """Return the processes that are there, or were within the day, by role and queue."""
    rows = conn.execute(
        "SELECT name, role, queues, version, since, seen_at, detail, "
        "seen_at > statement_timestamp() - make_interval(secs => %s) AS is_there "
        "FROM process ORDER BY role, queues, name",
        [GONE],
    )
    return [Process(**row) for row in rows]


def forget(conn: Connection) -> None:
    """Delete what was not seen for long."""
    conn.execute("DELETE FROM process WHERE seen_at < statement_timestamp() - %s", [KEPT])


class Presence:
    """Keeps the row of one process fresh, in a thread; each time over a connection of its own.

    `look` is called each time as well, in a transaction of its own.

    An open connection must not be there when a pool forks, and one every ten seconds costs less
    than one that is kept by each of very many processes.
    """

    def __init__(
        self,
        database_url: str,
        process: Process,
        *,
        detail: Callable[[], Mapping[str, Any]] = dict,
        look: Callable[[Connection], None] | None = None,
        every: float = EVERY,
    ) -> None:
        self._url = database_url
        self._process = process
        self._detail = detail
        self._look = look
        self._every = every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="presence", daemon=True)

    def start(self) -> None:
        """Be there from now on."""
        self._thread.start()

    def close(self) -> None:
        """Be there no more. What cannot be told, the others find out by themselves."""
        self._ended.set()
        self._thread.join(timeout=self._every)
        self._do(partial(leave, name=self._process.name))

    def _keep(self) -> None:
        while True:
            told = replace(self._process, detail=dict(self._detail()))
            self._do(partial(renew, process=told))
            if self._look:
                self._do(self._look)
            if self._ended.wait(self._every):
                return

    def _do(self, what: Callable[[Connection], None]) -> None:
        try:
            with db.connect(self._url, application="broadsheet-presence") as conn, db.translated():
                what(conn)
        except (DatabaseAway, psycopg.Error) as exc:
            # Also a schema that is not there yet: who starts before `migrate` is seen after it.
            logger.warning("presence.not_renewed", error=str(exc))
        except Exception:
            # Whatever it is: without this thread nobody would see this process any more.
            logger.exception("presence.broke")
