"""The doctor: looks at everything Broadsheet needs, and says of each part whether it works.

Every look is bounded in time and changes nothing. What is found is a sentence for an operator,
who reads it before anything else is known to work.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import psycopg
from kombu.exceptions import OperationalError

from shared import (
    amiss,
    backlog,
    db,
    documents,
    log,
    mail_server,
    migrate,
    one_database,
    presence,
    retention,
    s3,
)
from shared.errors import BroadsheetError, DatabaseAway, Permanent, QueueAway
from shared.grafana import Grafana
from shared.queue import make_celery
from shared.settings import Settings
from shared.storage import Storage
from workers import chromium, fontconfig
from workers.capture.browser import Browser
from workers.mail import Mailer

logger = log.get(__name__)

#: Seconds for one answer of anything. An operator waits here; a worker would be more patient.
PATIENCE = 10.0
#: Seconds for a browser to start and print a page, on a busy machine.
STARTING = 60.0
#: What a capture needs of Grafana; the role Viewer has both.
RIGHTS = ("dashboards:read", "datasources:query")
#: A sign that the token could do more than a reader's.
WRITES = "dashboards:write"


class Amiss(Permanent):
    """Something answers, but not as Broadsheet needs it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one part."""

    part: str
    sound: bool
    message: str


def examine(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Look at one part after the other, and yield each finding when it is there.

    A part that breaks the look at it is a finding as well: the others are looked at all the same.
    """
    hasty = dataclasses.replace(
        settings,
        grafana_timeout=min(settings.grafana_timeout, PATIENCE),
        smtp_timeout=min(settings.smtp_timeout, PATIENCE),
        s3_timeout=min(settings.s3_timeout, PATIENCE),
    )
    parts: dict[str, Callable[[], str]] = {
        "database": lambda: _database(hasty),
        "store": lambda: _store(hasty),
        "broker": lambda: _broker(hasty),
        "Grafana": lambda: _grafana(hasty),
        "token": lambda: _token(hasty),
        "mail server": lambda: _mail(hasty),
        "browser": lambda: _browser(hasty, environ),
        "processes": lambda: _processes(hasty),
    }
    for part, look in parts.items():
        try:
            yield Finding(part, sound=True, message=look())
        except BroadsheetError as exc:
            yield Finding(part, sound=False, message=exc.message)
        except Exception as exc:
            logger.debug("doctor.unexpected", part=part, exc_info=True)
            message = f"Unexpected {type(exc).__name__}: {exc}. BROADSHEET_LOG_LEVEL=DEBUG tells."
            yield Finding(part, sound=False, message=message)


def _database(settings: Settings) -> str:
    settings.require("database_url")
    pending = migrate.pending(settings.session_url)
    if pending:
        raise Amiss(f"It answers, but lacks {', '.join(pending)}. Run: broadsheet migrate")
    # Not before: `migrate` sees to it that the first session of a pooler has our limits.
    one_database.check(settings)
    return "It answers, and its schema is up to date."


def _store(settings: Settings) -> str:
    """Write to the store of documents, and see that there is none they lie in unreachably."""
    settings.require("database_url")
    with (
        db.connect(settings.session_url, application="broadsheet-doctor") as conn,
        db.translated(),
    ):
        there = {one.store: one.number for one in retention.stored(conn)}
        loose = retention.loose(conn)
    lying = ", ".join(f"{number:,} in {store}" for store, number in sorted(there.items()))
    told = f"New documents go to {settings.store}; there are {lying or 'none yet'}."
    if not settings.uses_s3:
        if there.get(documents.S3):
            raise Amiss(f"{told} BROADSHEET_S3_BUCKET is not set, so those cannot be read.")
        return told
    s3.check_installed(settings)
    Storage.from_settings(settings).probe()
    waits = f" {loose:,} objects wait to be deleted by beat." if loose else ""
    return f"{told} Bucket {settings.s3_bucket} can be written, read and deleted from.{waits}"


def _broker(settings: Settings) -> str:
    settings.require("redis_url")
    try:
        with make_celery("doctor", settings).connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=PATIENCE)
    except OperationalError as exc:
        raise QueueAway(f"{QueueAway.__doc__} ({exc})") from exc
    return "It answers."


def _grafana(settings: Settings) -> str:
    with Grafana.from_settings(settings) as grafana:
        return f"Grafana {grafana.version()} answers at {settings.grafana_url}."


def _token(settings: Settings) -> str:
    """Look at the service account token of each organisation."""
    with Grafana.from_settings(settings) as grafana:
        return " ".join(_token_of(grafana, org_id) for org_id in settings.org_ids)


def _token_of(grafana: Grafana, org_id: int) -> str:
    account = grafana.of_org(org_id)
    permissions = account.permissions()
    _, name = account.org()
    lacking = [action for action in RIGHTS if action not in permissions]
    if lacking:
        raise Amiss(
            f"That of organisation {org_id} ({name}) may not do {' and '.join(lacking)}; give the "
            "service account the role Viewer."
        )
    more = " It may also write, which Broadsheet never does." if WRITES in permissions else ""
    return f"It is accepted, for organisation {org_id} ({name}).{more}"


def _mail(settings: Settings) -> str:
    found = Mailer(settings).check()
    return f"{found} {_kept_waiting(settings)}".strip()


def _kept_waiting(settings: Settings) -> str:
    """Say what the mailers think of the server, as far as the database tells."""
    try:
        with db.connect(settings.session_url, application="broadsheet-doctor") as conn:
            return mail_server.get(conn, mail_server.name_of(settings)).told(db.clock(conn))
    except (DatabaseAway, psycopg.Error):
        # That is another finding.
        return ""


#: What is printed to see whether that works; it needs no Grafana.
PAGE = "<!doctype html><title>Broadsheet</title><p>A page.</p>"


def _browser(settings: Settings, environ: Mapping[str, str]) -> str:
    program = chromium.find(settings.chromium, environ)
    browser = Browser(
        # It is pinned to the address of a Grafana, whether there is one or not.
        dataclasses.replace(
            settings,
            grafana_url=settings.grafana_url or "http://localhost",
            grafana_token=settings.grafana_token or "none",
        ),
        program.path,
        print_timeout=STARTING,
    )
    try:
        printed = browser.print(PAGE)
    except BroadsheetError as exc:
        raise Amiss(
            f"{program.version} ({program.path}) is there, but does not print a page: {exc.message}"
        ) from exc
    finally:
        browser.close()
    if not printed.startswith(b"%PDF"):
        raise Amiss(f"{program.version} ({program.path}) prints something that is no PDF.")
    advice = fontconfig.advice(fontconfig.languages(environ))
    return f"{program.version} starts and prints, from {program.path}. {advice}".strip()


def _processes(settings: Settings) -> str:
    """Say who is there; nobody is no fault unless something waits for them."""
    settings.require("database_url")
    with (
        db.connect(settings.session_url, application="broadsheet-doctor") as conn,
        db.translated(),
    ):
        there, processes = backlog.read(conn), presence.find(conn)
        found = amiss.find(there, processes, mail_server.find(conn))
    live = [process for process in processes if process.is_there]
    roles = Counter(process.role for process in live)
    slots = Counter(queue for process in live for queue in process.queues)
    told = (
        f"{roles['api']} API, {roles['beat']} beat; slots: {slots['render']} for captures, "
        f"{slots['deliver']} for mails."
    )
    waits = there.due.number or any(line.state == "waiting" for line in there.lines)
    if found and waits:
        raise Amiss(f"{' '.join(found)} ({told})")
    return told
