"""The gate before the mail server: who may send now, and what became of it for everybody else.

What is decided is decided in `shared.mail_server`; here it is asked, waited for and logged.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace

from shared import db, log, mail_server
from shared.db import Pool
from shared.mail_server import PATIENCE, Turn
from shared.settings import Settings
from workers.mail import MailRefused

logger = log.get(__name__)

#: What waits for a server that is away comes back spread over so many seconds, not all at once.
SPREAD = 20.0
#: A mail that waits for its turn or for a connection comes back within these.
SOONEST, LATEST = 0.5, 5.0


def pass_through(pool: Pool, settings: Settings) -> Turn:
    """Ask to send one mail, and wait for its turn if that comes within about a second.

    Otherwise the turn says when to ask again, spread so that not all that wait do so together.
    """
    name = mail_server.name_of(settings)
    with db.transaction(pool) as conn:
        turn = mail_server.take_turn(conn, name, settings.smtp_rate)
    if not turn.go and turn.cause is None:
        # Its place in the line may be near in a second; and who cannot send must not run
        # through all that waits, handing back one after the other.
        time.sleep(PATIENCE)
        with db.transaction(pool) as conn:
            turn = mail_server.take_turn(conn, name, settings.smtp_rate)
    if turn.go:
        time.sleep(turn.wait)
        return turn
    return replace(turn, wait=turn.wait + _spread(turn))


def _spread(turn: Turn) -> float:
    return SPREAD * random.random() if turn.cause else another_try()  # noqa: S311 - may be guessed


def another_try() -> float:
    """Return the seconds after which to ask again for what may be free at any moment."""
    return random.uniform(SOONEST, LATEST)  # noqa: S311 - it may be guessed


def sized(pool: Pool, turn: Turn, limit: int | None) -> None:
    """Remember how large a mail the server takes, as it says with its greeting."""
    if turn.seen.size_limit != limit:
        with db.transaction(pool) as conn:
            mail_server.change(conn, turn.seen.name, lambda server, _: server.sized(limit))


def took(pool: Pool, turn: Turn) -> None:
    """Tell that the server took the mail whose turn it was; no news if it was well then."""
    if turn.seen.sound:
        return
    name = turn.seen.name
    with db.transaction(pool) as conn:
        before, after = mail_server.change(conn, name, lambda server, now: server.took(now))
    if after.sound and not before.sound:
        logger.info("mail_server.well", server=name, failures=before.failures)


def refused(pool: Pool, settings: Settings, error: MailRefused) -> None:
    """Tell that a mail was refused, or that no connection came about; log what is news."""
    name = mail_server.name_of(settings)
    if not error.of_the_server and not error.throttled:
        if error.heard:
            answered(pool, settings)
        return
    with db.transaction(pool) as conn:
        if error.throttled:
            before, after = mail_server.change(
                conn, name, lambda server, now: server.throttled(now)
            )
        else:
            before, after = mail_server.change(
                conn,
                name,
                lambda server, now: server.failed(
                    now, error.message, configuration=error.configuration
                ),
            )
    if after.throttles > before.throttles:
        until = after.quiet_until.isoformat() if after.quiet_until else ""
        logger.warning("mail_server.throttled", server=name, until=until, cause=error.message)
    if after.configuration and not before.configuration:
        # Once, not per mail: it is one fault, and a person has to mend it.
        logger.error("mail_server.configuration", server=name, cause=error.message)
    elif after.failures == 1:
        # The first one, so that a server that hangs is heard of at once and not with the fifth.
        logger.warning("mail_server.failed", server=name, cause=error.message)
    if after.openings > before.openings:
        until = after.open_until.isoformat() if after.open_until else ""
        logger.warning(
            "mail_server.away",
            server=name,
            failures=after.failures,
            until=until,
            cause=error.message,
        )


def answered(pool: Pool, settings: Settings) -> None:
    """Tell that the server dealt with a mail, though it did not take it."""
    name = mail_server.name_of(settings)
    with db.transaction(pool) as conn:
        if mail_server.get(conn, name).failures:
            mail_server.change(conn, name, lambda server, _: server.answered())
