"""Delivery on a real database to a real mail server, from the assembled run to what arrives."""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog

from beat import sweep
from deploy.local.inbox import DROP, SILENCE, Inbox
from deploy.local.services import free_port
from shared import (
    admission,
    db,
    deliveries,
    documents,
    mail_server,
    resolutions,
    runs,
    tasks,
)
from shared.mail_place import MailPlace
from shared.mail_server import FAILURES, MailServer
from shared.settings import Settings
from shared.spec import DashboardSpec, RunSpec
from shared.storage import Storage
from shared.tasks import Ring
from tests.fakes import FakePrinter, FakeRenderer, RecordingBell
from workers import gate, pipeline
from workers.logo import Logos
from workers.mail import Mailer
from workers.messages import Letter, Letters
from workers.pipeline import Deps

SLOT = dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC)
SIGN_IN = "535 5.7.8 Authentication credentials invalid"


@dataclass
class Office:
    """A mailer with its database, and runs that are rendered."""

    pool: db.Pool
    settings: Settings
    bell: RecordingBell = field(default_factory=RecordingBell)
    mailers: list[Mailer] = field(default_factory=list)

    def deps(self, **changes: Any) -> Deps:
        settings = dataclasses.replace(self.settings, **changes)
        place = (
            MailPlace(
                settings.database_url,
                name=mail_server.name_of(settings),
                limit=settings.smtp_connections,
            )
            if settings.smtp_connections
            else None
        )
        mailer = Mailer(settings, place=place)
        self.mailers.append(mailer)
        return Deps(
            settings=settings,
            pool=self.pool,
            bell=self.bell,
            render=FakeRenderer(),
            print=FakePrinter(),
            logos=Logos(settings),
            mailer=mailer,
            owner=f"mailer {len(self.mailers)}",
            storage=Storage(),
        )

    def rendered(self, *recipients: str, content: bytes = b"%PDF-1.7 pages") -> list[Ring]:
        """Store a run with one document and both letters; return the rings of its mails."""
        with db.transaction(self.pool) as conn:
            made = admission.insert(
                conn,
                runs.NewRun(
                    org_id=1,
                    report_id=None,
                    report_revision=None,
                    kind=runs.TEST,
                    scheduled_for=SLOT,
                    spec=RunSpec(name="Weekly", dashboards=(DashboardSpec(uid="a"),)),
                ),
            )
            assert made
            runs.start(conn, [made[0]])
            document_id = documents.put(conn, made[0], "pdf", "Weekly.pdf", content)
            light = Letter(
                subject="Weekly",
                text="Not attached, https://link",
                html="<p>Not attached</p>",
                reply_to=(),
                date=SLOT,
                attachments=(),
                images=(),
            )
            letters = Letters(
                full=dataclasses.replace(light, text="Attached", attachments=(document_id,)),
                light=light,
            )
            runs.rendered(conn, made[0], letters.to_json(), complete=True, milliseconds=1)
            return deliveries.insert(
                conn, made[0], recipients, domain="example.org", lane="scheduled"
            )

    def delivery(self, ring: Ring) -> deliveries.Delivery:
        """The last run's only delivery, or that of a task that is still there."""
        with db.transaction(self.pool) as conn:
            row = conn.execute(
                "SELECT coalesce((SELECT delivery_id FROM task WHERE id = %s), "
                "(SELECT max(id) FROM delivery)) AS id",
                [ring.task_id],
            ).fetchone()
            assert row
            found = deliveries.get(conn, row["id"])
        assert found
        return found

    def run(self) -> runs.Run:
        with db.transaction(self.pool) as conn:
            row = conn.execute("SELECT max(id) AS id FROM run").fetchone()
            assert row
            found = runs.get(conn, row["id"])
        assert found
        return found

    def server(self) -> MailServer:
        with db.transaction(self.pool) as conn:
            return mail_server.get(conn, mail_server.name_of(self.settings))

    def due(self, *, server: bool = False) -> list[Ring]:
        """Let the waits of all tasks, and perhaps of the server, be over."""
        with db.transaction(self.pool) as conn:
            conn.execute("UPDATE task SET not_before = now(), ring_at = now()")
            if server:
                conn.execute(
                    "UPDATE mail_server SET open_until = now() - interval '1 second' "
                    "WHERE open_until IS NOT NULL"
                )
                conn.execute(
                    "UPDATE mail_server SET quiet_until = now() - interval '1 second' "
                    "WHERE quiet_until IS NOT NULL"
                )
            return tasks.take_unheard(conn, "deliver")

    def wait_of(self, ring: Ring) -> float:
        with db.transaction(self.pool) as conn:
            row = conn.execute(
                "SELECT extract(epoch FROM not_before - clock_timestamp())::float8 AS wait "
                "FROM task WHERE id = %s",
                [ring.task_id],
            ).fetchone()
        assert row
        return row["wait"]


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    with Inbox(tmp_path / "inbox") as inbox:
        yield inbox


@pytest.fixture
def make_office(pool: db.Pool, settings: Settings) -> Iterator[Callable[..., Office]]:
    made: list[Office] = []

    def make(port: int, **changes: Any) -> Office:
        values = {
            "smtp_host": "127.0.0.1",
            "smtp_port": port,
            "smtp_from": "Reports <reports@example.org>",
            "smtp_timeout": 5.0,
            **changes,
        }
        made.append(Office(pool, dataclasses.replace(settings, **values)))
        return made[-1]

    yield make
    for office in made:
        for mailer in office.mailers:
            mailer.close()


@pytest.fixture
def office(make_office: Callable[..., Office], inbox: Inbox) -> Office:
    return make_office(inbox.port)


def deliver(ring: Ring, deps: Deps) -> None:
    pipeline.deliver(ring.task_id, deps)


def test_a_mail_that_is_taken_is_sent_and_counts_one_attempt(office: Office, inbox: Inbox) -> None:
    [ring] = office.rendered("ann@example.org")
    deliver(ring, office.deps())
    delivery = office.delivery(ring)
    assert (delivery.state, delivery.attempts, delivery.smtp_code) == ("sent", 1, 250)
    assert office.run().state == "sent"
    assert len(inbox.messages) == 1


def test_a_mail_to_a_domain_that_is_no_longer_allowed_has_failed_and_is_not_sent(
    office: Office, inbox: Inbox
) -> None:
    rings = office.rendered("ann@example.org", "bob@elsewhere.net")
    deps = office.deps(allowed_domains=("*.example.org", "elsewhere.net"))
    for ring in rings:
        deliver(ring, deps)
    with db.transaction(office.pool) as conn:
        first, second = deliveries.of_run(conn, office.run().id)
    assert (first.state, first.attempts, first.cause) == ("failed", 0, pipeline.NOT_ALLOWED)
    assert second.state == "sent"
    assert [mail.recipients for mail in inbox.messages] == [("bob@elsewhere.net",)]
    assert office.run().state == "partial"


# -- a server that is away ------------------------------------------------------------------


def test_a_server_that_is_away_is_left_alone_after_five_failures_of_whatever_mails(
    make_office: Callable[..., Office],
) -> None:
    office = make_office(free_port())
    rings = office.rendered(*(f"{n}@example.org" for n in range(FAILURES + 3)))
    with structlog.testing.capture_logs() as logs:
        mailers = [office.deps(), office.deps()]
        for number, ring in enumerate(rings):
            deliver(ring, mailers[number % 2])
    server = office.server()
    assert (server.failures, server.openings) == (FAILURES, 1)
    waits = [office.wait_of(ring) for ring in rings]
    assert all(wait < 31 for wait in waits[:FAILURES])
    # Those that did not even try come back after the minute, spread.
    assert all(55 < wait < 60 + gate.SPREAD for wait in waits[FAILURES:])
    for ring in rings:
        delivery = office.delivery(ring)
        assert delivery.attempts == 0
        assert "Connection refused" in (delivery.cause or "")
    assert [log["event"] for log in logs if log["log_level"] == "warning"] == [
        "mail_server.failed",
        "mail_server.away",
    ]


@pytest.mark.parametrize("moment", ["rcpt", "dot"])
def test_a_server_that_takes_long_over_a_mail_is_told_of_while_it_is_waited_for(
    make_office: Callable[..., Office],
    tmp_path: Path,
    moment: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline, "SLOW", 0.5)
    told = threading.Event()
    slow = deliveries.slow

    def watch(*arguments: Any) -> None:
        slow(*arguments)
        told.set()

    monkeypatch.setattr(deliveries, "slow", watch)
    with structlog.testing.capture_logs() as logs:
        with Inbox(tmp_path / "inbox") as inbox:
            inbox.faults[moment] = SILENCE
            office = make_office(inbox.port)
            [ring] = office.rendered("ann@example.org")
            sender = threading.Thread(target=deliver, args=(ring, office.deps()))
            sender.start()
            assert told.wait(10)
            assert inbox.silent.wait(10)
            with db.transaction(office.pool) as conn:
                # Waits for the commit of what was told.
                conn.execute("SELECT FROM delivery FOR UPDATE")
            waiting = office.delivery(ring)
        sender.join()
    assert waiting.state == ("dot" if moment == "dot" else "sending")
    assert f"did not answer within 0.5 s (in phase {moment})" in (waiting.cause or "")
    assert ("delivery.slow", "warning") in [(log["event"], log["log_level"]) for log in logs]
    # What it came to in the end is what stays.
    assert "0.5 s" not in (office.delivery(ring).cause or "")


def test_one_mail_probes_and_its_success_lets_all_others_through(
    make_office: Callable[..., Office], tmp_path: Path
) -> None:
    office = make_office(free_port())
    rings = office.rendered(*(f"{n}@example.org" for n in range(FAILURES + 1)))
    deps = office.deps()
    for ring in rings:
        deliver(ring, deps)
    assert office.server().openings == 1
    office.due(server=True)
    deliver(rings[0], deps)  # the probe, and still nobody is there
    assert (office.server().openings, office.server().condition(_now(office))) == (2, "open")
    with Inbox(tmp_path / "inbox", office.settings.smtp_port) as inbox:
        office.due(server=True)
        inbox.gate.clear()
        probe = threading.Thread(target=deliver, args=(rings[1], deps))
        probe.start()
        inbox.wait_for(1)
        others = office.deps()
        deliver(rings[2], others)
        assert inbox.connections == 1
        inbox.gate.set()
        probe.join()
        assert office.server().sound
        office.due()
        for ring in rings:
            deliver(ring, others)
        assert len(inbox.wait_for(len(rings))) == len(rings)
    assert office.run().state == "sent"


def _now(office: Office) -> dt.datetime:
    with db.transaction(office.pool) as conn:
        return db.clock(conn)


@pytest.mark.parametrize(("moment", "answer"), [("ehlo", DROP), ("connect", "421 4.3.2 Busy")])
def test_whatever_keeps_a_connection_from_coming_about_counts(
    office: Office, inbox: Inbox, moment: str, answer: str
) -> None:
    inbox.faults[moment] = answer
    [ring] = office.rendered("ann@example.org")
    deliver(ring, office.deps())
    assert (office.server().failures, office.delivery(ring).attempts) == (1, 0)


def test_a_server_that_refuses_mails_is_not_away(office: Office, inbox: Inbox) -> None:
    inbox.faults["rcpt"] = "450 4.2.1 Greylisted"
    rings = office.rendered(*(f"{n}@example.org" for n in range(FAILURES + 1)))
    deps = office.deps()
    for ring in rings:
        deliver(ring, deps)
    assert office.server().sound
    assert {office.delivery(ring).attempts for ring in rings} == {1}


def test_a_wrong_password_is_one_error_in_the_log_and_costs_no_attempt(
    make_office: Callable[..., Office], tmp_path: Path
) -> None:
    with Inbox(tmp_path / "inbox", user="reports", password="s3cret") as inbox:
        office = make_office(inbox.port, smtp_user="reports", smtp_password="wr0ng")
        rings = office.rendered(*(f"{n}@example.org" for n in range(FAILURES + 3)))
        deps = office.deps()
        with structlog.testing.capture_logs() as logs:
            for ring in rings:
                deliver(ring, deps)
        assert inbox.connections == FAILURES
        assert [log["event"] for log in logs if log["log_level"] == "error"] == [
            "mail_server.configuration"
        ]
        assert office.server().configuration
        assert "BROADSHEET_SMTP_PASSWORD" in office.server().told(_now(office))
        assert {office.delivery(ring).attempts for ring in rings} == {0}
        office.due(server=True)
        right = office.deps(smtp_password="s3cret")
        for ring in rings:
            deliver(ring, right)
        assert len(inbox.messages) == len(rings)


def test_a_server_that_wants_a_sign_in_only_at_the_mail_opens_it_as_well(
    office: Office, inbox: Inbox
) -> None:
    inbox.faults["mail"] = "530 5.7.0 Authentication required"
    rings = office.rendered(*(f"{n}@example.org" for n in range(FAILURES)))
    deps = office.deps()
    for ring in rings:
        deliver(ring, deps)
    assert office.server().openings == 1
    assert {office.delivery(ring).attempts for ring in rings} == {0}


@pytest.mark.parametrize(
    ("moment", "answer"),
    [
        ("dot", "454 4.7.0 Throttling failure: Maximum sending rate exceeded."),
        ("dot", "421 4.7.0 Try again later, closing connection."),
        ("data", "454 4.7.0 Throttling failure: Daily message quota exceeded."),
        ("mail", "450 4.7.1 Error: too many messages from you"),
    ],
)
def test_a_server_that_asks_for_fewer_mails_gets_none_from_anybody_for_a_while(
    office: Office, inbox: Inbox, moment: str, answer: str
) -> None:
    inbox.faults[moment] = answer
    first, second = office.rendered("ann@example.org", "bob@example.org")
    deliver(first, office.deps())
    assert (office.server().throttles, office.server().failures) == (1, 0)
    connections = inbox.connections
    other = office.deps()
    deliver(second, other)
    assert inbox.connections == connections
    assert 10 < office.wait_of(second) < 15 + gate.SPREAD
    assert office.delivery(second).cause == mail_server.THROTTLED
    assert office.delivery(first).attempts == office.delivery(second).attempts == 0
    inbox.faults.clear()
    office.due(server=True)
    for ring in (first, second):
        deliver(ring, other)
    assert len(inbox.messages) == 2
    assert office.server().sound


def test_a_mail_whose_server_is_away_for_a_day_has_failed_and_says_why(
    make_office: Callable[..., Office],
) -> None:
    office = make_office(free_port())
    rings = office.rendered(*(f"{n}@example.org" for n in range(FAILURES + 1)))
    deps = office.deps()
    for ring in rings[:FAILURES]:
        deliver(ring, deps)
    with db.transaction(office.pool) as conn:
        conn.execute("UPDATE delivery SET since = now() - interval '1 day'")
    deliver(rings[-1], deps)
    with db.transaction(office.pool) as conn:
        last = deliveries.of_run(conn, office.run().id)[-1]
    assert last.state == "failed"
    assert "Connection refused" in (last.cause or "")


# -- rate and connections -------------------------------------------------------------------


def test_mailers_together_keep_the_rate(office: Office, inbox: Inbox) -> None:
    rings = office.rendered(*(f"{n}@example.org" for n in range(9)))
    mailers = [office.deps(smtp_rate=8.0) for _ in range(3)]
    begun = time.monotonic()
    with ThreadPoolExecutor(3) as threads:
        list(
            threads.map(
                lambda number: [deliver(ring, mailers[number]) for ring in rings[number::3]],
                range(3),
            )
        )
    assert time.monotonic() - begun >= 8 / 8.0 - 0.05
    assert len(inbox.messages) == 9
    came = sorted(message.at for message in inbox.messages)
    assert (came[-1] - came[0]).total_seconds() >= 8 / 8.0 - 0.2


def test_a_mailer_whose_turn_is_far_puts_the_mail_back_after_about_a_second(
    office: Office, inbox: Inbox
) -> None:
    first, second = office.rendered("ann@example.org", "bob@example.org")
    deps = office.deps(smtp_rate=0.1)
    deliver(first, deps)
    begun = time.monotonic()
    deliver(second, deps)
    assert time.monotonic() - begun < 2
    assert len(inbox.messages) == 1
    delivery = office.delivery(second)
    assert (delivery.state, delivery.attempts, delivery.cause) == ("pending", 0, None)
    assert 5 < office.wait_of(second) < 20


def test_mailers_together_have_no_more_connections_than_they_may(
    office: Office, inbox: Inbox
) -> None:
    rings = office.rendered(*(f"{n}@example.org" for n in range(6)))
    mailers = [office.deps(smtp_connections=2) for _ in range(3)]
    most = []
    with ThreadPoolExecutor(3) as threads:
        inbox.gate.clear()
        working = [
            threads.submit(deliver, ring, mailer)
            for ring, mailer in zip(rings[:3], mailers, strict=True)
        ]
        inbox.wait_for(2)
        # The third has to wait, then puts its mail back.
        done = [one for one in working if _ends(one, 4)]
        most.append(len(inbox.open))
        assert len(done) == 1
        inbox.gate.set()
    left = office.due()
    assert len(left) == 4
    for number, ring in enumerate(left):
        deliver(ring, mailers[number % 3])
        most.append(len(inbox.open))
    assert max(most) == 2
    assert len(inbox.messages) + len(office.due()) == 6


def test_who_has_no_place_for_a_connection_uses_up_no_turn_either(
    office: Office, inbox: Inbox
) -> None:
    first, second = office.rendered("ann@example.org", "bob@example.org")
    one, another = (office.deps(smtp_connections=1, smtp_rate=0.5) for _ in range(2))
    inbox.gate.clear()
    busy = threading.Thread(target=deliver, args=(first, one))
    busy.start()
    inbox.wait_for(1)
    before = office.server().next_at
    deliver(second, another)
    assert office.server().next_at == before
    assert office.delivery(second).state == "pending"
    inbox.gate.set()
    busy.join()


def _ends(future: Any, timeout: float) -> bool:
    try:
        future.result(timeout)
    except TimeoutError:
        return False
    return True


def test_a_connection_that_is_idle_is_soon_another_ones(office: Office, inbox: Inbox) -> None:
    first, second = office.rendered("ann@example.org", "bob@example.org")
    one, another = office.deps(smtp_connections=1), office.deps(smtp_connections=1)
    deliver(first, one)
    assert len(inbox.open) == 1
    deliver(second, another)
    assert len(inbox.messages) == 2
    assert inbox.connections == 2


def test_a_mailer_keeps_its_connection_while_it_has_mails_to_send(
    office: Office, inbox: Inbox
) -> None:
    rings = office.rendered(*(f"{n}@example.org" for n in range(5)))
    deps = office.deps(smtp_connections=1)
    for ring in rings:
        deliver(ring, deps)
    assert (len(inbox.messages), inbox.connections) == (5, 1)


# -- size -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "answer"),
    [
        ("dot", "552 5.3.4 Message too big"),
        ("dot", "552 Too big"),
        ("mail", "552 5.3.4 Message size exceeds fixed limit"),
        ("dot", "550 5.2.3 Message length exceeds administrative limit"),
        ("data", "554 5.3.4 Too big"),
    ],
)
def test_a_mail_refused_for_its_size_goes_out_at_once_without_its_documents(
    office: Office, inbox: Inbox, moment: str, answer: str
) -> None:
    inbox.faults[moment] = answer
    [ring] = office.rendered("ann@example.org")
    deps = office.deps()
    deliver(ring, deps)
    delivery = office.delivery(ring)
    assert (delivery.state, delivery.attached, delivery.attempts) == ("retry", "none", 0)
    assert office.bell.rings == [Ring(ring.task_id, "deliver", "scheduled")]
    inbox.faults.clear()
    deliver(office.bell.rings.pop(), deps)
    assert (office.delivery(ring).state, office.delivery(ring).attempts) == ("sent", 1)
    [received] = inbox.messages
    assert "Not attached" in received.text("plain")
    assert received.files() == []
    assert received.message["Message-ID"] == delivery.message_id


def test_the_lighter_mail_that_is_refused_for_its_size_as_well_has_failed(
    office: Office, inbox: Inbox
) -> None:
    inbox.faults["dot"] = "552 5.3.4 Message too big"
    [ring] = office.rendered("ann@example.org")
    deps = office.deps()
    deliver(ring, deps)
    deliver(ring, deps)
    delivery = office.delivery(ring)
    assert (delivery.state, delivery.smtp_code) == ("failed", 552)
    assert office.run().state == "failed"


def test_a_full_mailbox_is_not_a_mail_too_large(office: Office, inbox: Inbox) -> None:
    inbox.faults["dot"] = "552 5.2.2 Mailbox full"
    [ring] = office.rendered("ann@example.org")
    deliver(ring, office.deps())
    assert (office.delivery(ring).state, office.delivery(ring).attached) == ("failed", "all")


def test_what_the_server_says_of_sizes_is_remembered_and_kept_to(
    make_office: Callable[..., Office], tmp_path: Path
) -> None:
    with Inbox(tmp_path / "inbox", size_limit=100_000) as inbox:
        office = make_office(inbox.port)
        [ring] = office.rendered("ann@example.org", content=b"x" * 200_000)
        deps = office.deps()
        deliver(ring, deps)
        assert office.server().size_limit == 100_000
        assert office.delivery(ring).attached == "none"
        deliver(office.bell.rings.pop(), deps)
        assert len(inbox.messages) == 1


def test_each_letter_is_the_same_bytes_at_every_attempt(office: Office, inbox: Inbox) -> None:
    [ring] = office.rendered("ann@example.org")
    for answer in (DROP, "552 5.3.4 Too big", DROP, None):
        inbox.faults.clear()
        if answer:
            inbox.faults["dot"] = answer
        deliver(ring, office.deps())
        if answer == DROP:
            entry = office.delivery(ring)
            assert entry.state == "unknown"
            with db.transaction(office.pool) as conn:
                resolved = resolutions.resolve(
                    conn, entry.id, "again", resolutions.Resolver(who="ann", through="command line")
                )
            assert resolved
            [ring] = resolved.rings
    full, light, light_again = (message.content for message in inbox.messages)
    assert light == light_again != full
    assert office.run().state == "sent"


def test_files_that_are_gone_make_no_other_mail(office: Office, inbox: Inbox) -> None:
    [ring] = office.rendered("ann@example.org")
    with db.transaction(office.pool) as conn:
        conn.execute("DELETE FROM document")
    deliver(ring, office.deps())
    delivery = office.delivery(ring)
    assert (delivery.state, delivery.cause) == ("failed", "The files of this run are gone.")
    assert inbox.messages == []


# -- never twice ----------------------------------------------------------------------------


class Robbed(Mailer):
    """A mailer to which `meanwhile` happens once it has its connection."""

    meanwhile: Callable[[], None]

    def connect(self) -> int | None:
        limit = super().connect()
        self.meanwhile()
        return limit


def test_who_lost_the_task_while_connecting_does_not_begin_the_mail(
    office: Office, inbox: Inbox
) -> None:
    [ring] = office.rendered("ann@example.org")
    another = office.deps()

    def take_over() -> None:
        with db.transaction(office.pool) as conn:
            conn.execute(
                "UPDATE task SET lease_until = now() - interval '1 second' WHERE owner IS NOT NULL"
            )
        sweep.reap(office.pool, max_attempts=3)
        with db.transaction(office.pool) as conn:
            assert tasks.claim(conn, ring.task_id, "deliver", another.owner, lease=60)

    robbed = Robbed(office.settings)
    robbed.meanwhile = take_over
    office.mailers.append(robbed)
    deliver(ring, dataclasses.replace(office.deps(), mailer=robbed))
    assert inbox.messages == []
    assert office.delivery(ring).attempts == 0
    with db.transaction(office.pool) as conn:
        assert conn.execute("SELECT owner FROM task WHERE kind = 'deliver'").fetchone() == {
            "owner": another.owner
        }


def test_a_mail_sent_again_by_a_person_has_the_same_id_and_bytes(
    office: Office, inbox: Inbox
) -> None:
    inbox.faults["dot"] = DROP
    [ring] = office.rendered("ann@example.org")
    deps = office.deps()
    deliver(ring, deps)
    assert office.run().state == "failed"
    inbox.faults.clear()
    with db.transaction(office.pool) as conn:
        resolved = resolutions.resolve(
            conn,
            office.delivery(ring).id,
            "again",
            resolutions.Resolver(who="ann", through="command line"),
        )
    assert resolved
    deliver(resolved.rings[0], deps)
    first, second = inbox.messages
    assert first.content == second.content
    delivery = office.delivery(ring)
    assert (delivery.state, delivery.attempts) == ("sent", 2)
    assert office.run().state == "sent"
