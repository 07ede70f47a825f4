"""The mail server as all mailers see it: one row, in which they tell each other how it is.

Its rules are methods without I/O: after failures in a row nobody connects for a while and then
one tries (a circuit breaker); when it asks for fewer mails there are none for a while; and mails
keep the pace that the settings ask for. The functions below apply them to the row, locked and by
the database's clock, so that mailers on any machines act as one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from shared import db
from shared.db import Connection
from shared.settings import Settings

#: So many failures in a row, and nobody connects for `FIRST` seconds; each probe that fails
#: doubles that, up to `LONGEST`.
FAILURES = 5
FIRST, LONGEST = 60.0, 600.0
#: A probe has so long, in seconds, before another mailer tries: its worker may be dead.
PROBE = 90.0
#: While somebody probes, the others look again after this.
PROBE_PAUSE = 5.0
#: How long a server is left alone that asks for fewer mails; doubled each time, up to `LONGEST`.
QUIET = 15.0
#: A mailer may hold its slot so long for its turn, in seconds.
PATIENCE = 1.0

THROTTLED = "The mail server asked for fewer mails at a time."


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Whether a mail may go out: in `wait` seconds, or (not `go`) ask again after them.

    `cause` is why it has to wait for long; None where it is a matter of moments. `seen` is how
    the server was when the turn was asked for.
    """

    seen: MailServer
    go: bool
    wait: float = 0.0
    cause: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """A row of `mail_server`. Each method returns the row as it is afterwards."""

    name: str
    failures: int = 0
    openings: int = 0
    open_until: dt.datetime | None = None
    probe_until: dt.datetime | None = None
    cause: str | None = None
    configuration: bool = False
    throttles: int = 0
    quiet_until: dt.datetime | None = None
    next_at: dt.datetime | None = None
    size_limit: int | None = None

    @property
    def sound(self) -> bool:
        """Whether there is nothing to be said of it."""
        return not (self.failures or self.throttles)

    def condition(self, now: dt.datetime) -> str:
        """Return "open" (nobody connects), "probing", "throttled", or "closed": all is well."""
        if self.open_until is not None:
            return "open" if now < self.open_until else "probing"
        return "throttled" if self.quiet_until and now < self.quiet_until else "closed"

    def turn(self, now: dt.datetime, rate: float) -> tuple[MailServer, Turn]:
        """Ask to send one mail, where `rate` a second may go out (0: any number)."""
        for until, cause in ((self.open_until, self.cause), (self.quiet_until, THROTTLED)):
            if until and now < until:
                return self, Turn(seen=self, go=False, wait=_seconds(until - now), cause=cause)
        if self.probe_until and now < self.probe_until:
            return self, Turn(seen=self, go=False, wait=PROBE_PAUSE, cause=self.cause)
        # A token bucket that holds one token: what is saved up would go out as a burst, and
        # bursts are what the servers with a limit refuse.
        place = max(now, self.next_at or now)
        wait = _seconds(place - now)
        if rate and wait > PATIENCE:
            return self, Turn(seen=self, go=False, wait=wait)
        after = self
        if rate:
            after = replace(after, next_at=place + dt.timedelta(seconds=1 / rate))
        if self.open_until is not None:
            after = replace(after, probe_until=now + dt.timedelta(seconds=PROBE))
        return after, Turn(seen=self, go=True, wait=wait if rate else 0.0)

    def failed(self, now: dt.datetime, cause: str, *, configuration: bool) -> MailServer:
        """No connection came about, or the server would not have us."""
        after = replace(self, failures=self.failures + 1, cause=cause, configuration=configuration)
        if after.failures < FAILURES or (self.open_until and now < self.open_until):
            # In the second case it began before the others failed, and tells nothing new.
            return after
        wait = min(LONGEST, FIRST * 2 ** min(self.openings, 10))
        return replace(
            after,
            openings=self.openings + 1,
            open_until=now + dt.timedelta(seconds=wait),
            probe_until=None,
        )

    def throttled(self, now: dt.datetime) -> MailServer:
        """It asked for fewer mails, so it answers: leave it alone for a while."""
        after = self.answered()
        if self.quiet_until and now < self.quiet_until:
            return after
        wait = min(LONGEST, QUIET * 2 ** min(self.throttles, 10))
        return replace(
            after, throttles=self.throttles + 1, quiet_until=now + dt.timedelta(seconds=wait)
        )

    def answered(self) -> MailServer:
        """It dealt with a mail, whatever it said to it."""
        return replace(
            self,
            failures=0,
            openings=0,
            open_until=None,
            probe_until=None,
            cause=None,
            configuration=False,
        )

    def took(self, now: dt.datetime) -> MailServer:
        """It took a mail; one that was under way when it asked for fewer says nothing of that."""
        after = self.answered()
        if self.quiet_until and now < self.quiet_until:
            return after
        return replace(after, throttles=0, quiet_until=None)

    def sized(self, limit: int | None) -> MailServer:
        """It said how large a mail it takes."""
        return replace(self, size_limit=limit)

    def reason(self, now: dt.datetime) -> str | None:
        """Return why mails wait for it, from its first failure on; None: it is well."""
        if self.failures:
            return self.cause
        return THROTTLED if self.quiet_until and now < self.quiet_until else None

    def told(self, now: dt.datetime) -> str:
        """Return a sentence on its condition for an operator; empty: all is well."""
        condition = self.condition(now)
        if condition == "closed":
            return ""
        if condition == "throttled":
            return f"{THROTTLED} The next one goes out at {self.quiet_until:%H:%M:%S} UTC."
        when = f"again at {self.open_until:%H:%M:%S} UTC" if condition == "open" else "right now"
        return (
            f"Mails wait, because {self.failures} connections in a row failed; "
            f"it is tried {when}. The last one: {self.cause}"
        )


def _seconds(span: dt.timedelta) -> float:
    return span.total_seconds()


def name_of(settings: Settings) -> str:
    """Return the name under which all mailers know the server of these settings."""
    return f"{settings.smtp_host.lower()}:{settings.smtp_port}"


COLUMNS = ", ".join(MailServer.__dataclass_fields__)

STORE = """
UPDATE mail_server
   SET failures = %(failures)s, openings = %(openings)s, open_until = %(open_until)s,
       probe_until = %(probe_until)s, cause = %(cause)s, configuration = %(configuration)s,
       throttles = %(throttles)s, quiet_until = %(quiet_until)s, next_at = %(next_at)s,
       size_limit = %(size_limit)s
 WHERE name = %(name)s
"""


def get(conn: Connection, name: str) -> MailServer:
    """Return how the server is; one that nobody has told of is well."""
    row = conn.execute(f"SELECT {COLUMNS} FROM mail_server WHERE name = %s", [name]).fetchone()
    return MailServer(**row) if row else MailServer(name=name)


def find(conn: Connection) -> list[MailServer]:
    """Return all servers that mailers have told of, also those of earlier settings."""
    rows = conn.execute(f"SELECT {COLUMNS} FROM mail_server ORDER BY name")
    return [MailServer(**row) for row in rows]


def why_waiting(conn: Connection, settings: Settings) -> str | None:
    """Return why mails that nobody has tried yet may be waiting; None: the server is well."""
    return get(conn, name_of(settings)).reason(db.clock(conn))


def change(
    conn: Connection, name: str, rule: Callable[[MailServer, dt.datetime], MailServer]
) -> tuple[MailServer, MailServer]:
    """Apply a rule to the row, one mailer after the other; return it as it was and as it is.

    The transaction must be short and lock nothing else: all mailers stand in line here.
    """
    conn.execute("INSERT INTO mail_server (name) VALUES (%s) ON CONFLICT DO NOTHING", [name])
    row = conn.execute(
        f"SELECT {COLUMNS} FROM mail_server WHERE name = %s FOR UPDATE", [name]
    ).fetchone()
    assert row is not None  # noqa: S101 - inserted above, and never deleted
    before = MailServer(**row)
    # Read after the lock was had, so that waiting for it does not turn the clock back.
    after = rule(before, db.clock(conn))
    if after != before:
        conn.execute(STORE, asdict(after))
    return before, after


def take_turn(conn: Connection, name: str, rate: float) -> Turn:
    """Ask to send one mail to this server. Locks the row only where there is something to note."""
    seen = get(conn, name)
    after, turn = seen.turn(db.clock(conn), rate)
    if after == seen:
        return turn
    found: list[Turn] = []

    def rule(server: MailServer, now: dt.datetime) -> MailServer:
        changed, given = server.turn(now, rate)
        found.append(given)
        return changed

    change(conn, name, rule)
    return found[0]
