"""The three steps of a run on a real database, with fakes for browser and mail server."""

from __future__ import annotations

import datetime as dt
import io
import re
import threading
from dataclasses import dataclass, replace
from typing import Any

import pytest
from pypdf import PdfReader
from structlog.testing import capture_logs

from beat import sweep
from shared import (
    admission,
    captures,
    db,
    deliveries,
    documents,
    links,
    logo_images,
    logos,
    report_settings,
    runs,
    setbacks,
    tasks,
)
from shared.errors import DashboardNotFound, DatabaseAway, GrafanaAway
from shared.settings import Settings
from shared.spec import DashboardSpec, RunSpec
from shared.storage import Storage
from tests.fakes import FakeMailer, FakePrinter, FakeRenderer, RecordingBell
from tests.pictures import picture
from workers import pipeline
from workers.capture.request import Captured, CaptureRequest
from workers.capture.verdict import Panel
from workers.logo import Logos
from workers.mail import MailRefused, MailUnknown
from workers.pipeline import Deps

SLOT = dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC)
STEPS = {"render": pipeline.render, "assemble": pipeline.assemble, "deliver": pipeline.deliver}


@dataclass
class Workshop:
    """A worker of both queues, whose bell is worked off in this thread."""

    pool: db.Pool
    deps: Deps
    bell: RecordingBell
    renderer: FakeRenderer
    mailer: FakeMailer

    def start(self, *, kind: str = runs.TEST, **spec: Any) -> int:
        wanted = {
            "name": "Weekly",
            "dashboards": (DashboardSpec(uid="a"), DashboardSpec(uid="b")),
            "recipients": ("one@example.com", "two@example.com"),
            **spec,
        }
        new = runs.NewRun(
            org_id=1,
            report_id=None,
            report_revision=None,
            kind=kind,
            scheduled_for=SLOT,
            spec=RunSpec(**wanted),
        )
        with db.transaction(self.pool) as conn:
            made = admission.insert(conn, new)
        assert made
        self.bell.rings += made[1]
        return made[0]

    def work(self) -> None:
        """Hear every ring, also those that the work causes, and those that beat would repeat."""
        while self.bell.rings:
            ring = self.bell.rings.pop(0)
            STEPS[ring.kind](ring.task_id, self.deps)
            STEPS[ring.kind](ring.task_id, self.deps)  # every message may come twice
            if not self.bell.rings:
                self.make_due()
                sweep.ring_again(self.pool, self.bell)

    def make_due(self) -> None:
        with db.transaction(self.pool) as conn:
            conn.execute(
                "UPDATE task SET not_before = now(), ring_at = now() "
                "WHERE lease_until IS NULL AND not_before > now()"
            )

    def run(self, run_id: int) -> runs.Run:
        with db.transaction(self.pool) as conn:
            run = runs.get(conn, run_id)
        assert run
        return run

    def ledger(self, run_id: int) -> dict[str, deliveries.Delivery]:
        with db.transaction(self.pool) as conn:
            return {entry.recipient: entry for entry in deliveries.of_run(conn, run_id)}


def workshop_of(pool: db.Pool, settings: Settings) -> Workshop:
    bell, renderer, mailer = RecordingBell(), FakeRenderer(), FakeMailer()
    deps = Deps(
        settings=settings,
        pool=pool,
        bell=bell,
        render=renderer,
        print=FakePrinter(),
        logos=Logos(settings),
        mailer=mailer,
        owner="test",
        storage=Storage.from_settings(settings),
    )
    return Workshop(pool, deps, bell, renderer, mailer)


@pytest.fixture
def workshop(pool: db.Pool, settings: Settings) -> Workshop:
    return workshop_of(pool, settings)


def test_a_run_is_rendered_assembled_and_mailed_to_each_recipient_once(workshop: Workshop) -> None:
    run_id = workshop.start()
    workshop.work()
    run = workshop.run(run_id)
    assert run.state == "sent"
    assert sorted(recipient for recipient, _ in workshop.mailer.sent) == [
        "one@example.com",
        "two@example.com",
    ]
    with db.transaction(workshop.pool) as conn:
        [document] = documents.of_run(conn, run_id)
        assert documents.kept(conn, [document.id])[document.id].content.startswith(b"%PDF")
    assert document.name == "Weekly-2026-01-05.pdf"
    assert len(workshop.renderer.requests) == 2


def test_relative_ranges_are_handed_on_with_the_slot_they_resolve_against(
    workshop: Workshop,
) -> None:
    workshop.start(dashboards=(DashboardSpec(uid="a", time_from="now-1d/d", time_to="now"),))
    workshop.work()
    [request] = workshop.renderer.requests
    assert (request.time_from, request.time_to, request.at) == ("now-1d/d", "now", SLOT)


def test_a_grafana_that_is_away_for_a_moment_costs_an_attempt_and_nothing_else(
    workshop: Workshop,
) -> None:
    workshop.renderer.faults = [GrafanaAway("away")]
    run_id = workshop.start()
    workshop.work()
    assert workshop.run(run_id).state == "sent"
    with db.transaction(workshop.pool) as conn:
        attempts = sorted(capture.attempts for capture in captures.of_run(conn, run_id))
    assert attempts == [1, 2]
    assert len(workshop.mailer.sent) == 2


def test_a_dashboard_that_is_gone_fails_the_run_at_once_with_the_cause(workshop: Workshop) -> None:
    workshop.renderer.faults = [DashboardNotFound("Dashboard not found: a")]
    run_id = workshop.start()
    workshop.work()
    run = workshop.run(run_id)
    assert (run.state, run.cause) == ("failed", "Dashboard not found: a")
    assert len(workshop.renderer.requests) == 1
    assert workshop.mailer.sent == []


def test_an_error_nobody_thought_of_ends_the_run_with_its_name(workshop: Workshop) -> None:
    workshop.renderer.faults = [ZeroDivisionError("oops")] * 3
    run_id = workshop.start(dashboards=(DashboardSpec(uid="a"),))
    workshop.work()
    run = workshop.run(run_id)
    assert run.state == "failed"
    assert "ZeroDivisionError" in (run.cause or "")


def test_panels_that_are_amiss_are_named_in_the_mail(workshop: Workshop) -> None:
    workshop.renderer.panels = (
        Panel(key="p", title="Disk", type="stat", state="error", message="query failed"),
        Panel(key="q", title="Quiet", type="stat", state="no data"),
    )
    workshop.start()
    workshop.work()
    text = workshop.mailer.sent[0][1].decode()
    assert "Disk: error (query failed)" in text
    assert "Quiet" not in text


def test_a_refused_recipient_makes_the_run_partial_and_names_him(workshop: Workshop) -> None:
    workshop.mailer.outcomes["two@example.com"] = MailRefused(
        "no such user", phase="rcpt", code=550, permanent=True
    )
    run_id = workshop.start()
    workshop.work()
    run = workshop.run(run_id)
    assert run.state == "partial"
    assert "two@example.com: 550 no such user" in (run.cause or "")
    assert workshop.ledger(run_id)["two@example.com"].smtp_code == 550


def test_a_mail_server_that_is_away_is_tried_again_until_it_is_back(workshop: Workshop) -> None:
    away = MailRefused("connection refused", phase="connect")
    workshop.mailer.outcomes = {"one@example.com": away, "two@example.com": away}
    run_id = workshop.start()
    for _ in range(4):
        ring = workshop.bell.rings.pop(0)
        STEPS[ring.kind](ring.task_id, workshop.deps)
    # Two captures, one assembly, one refused mail: the run waits and says so.
    assert workshop.run(run_id).state == "delivering"
    assert workshop.ledger(run_id)["one@example.com"].state == "retry"
    workshop.mailer.outcomes = {}
    workshop.make_due()
    sweep.ring_again(workshop.pool, workshop.bell)
    workshop.work()
    assert workshop.run(run_id).state == "sent"
    assert len(workshop.mailer.sent) == 2


def test_a_mail_without_an_answer_to_its_dot_is_never_sent_again(workshop: Workshop) -> None:
    workshop.mailer.outcomes["one@example.com"] = MailUnknown("no answer")
    workshop.mailer.after_dot = True
    run_id = workshop.start()
    workshop.work()
    entry = workshop.ledger(run_id)["one@example.com"]
    assert (entry.state, entry.attempts) == ("unknown", 1)
    assert workshop.run(run_id).state == "partial"


def test_a_worker_killed_after_the_dot_leaves_the_mail_unknown(workshop: Workshop) -> None:
    run_id = workshop.start(recipients=("one@example.com",))
    while workshop.bell.rings[0].kind != "deliver":
        ring = workshop.bell.rings.pop(0)
        STEPS[ring.kind](ring.task_id, workshop.deps)
    task_id = workshop.bell.rings.pop(0).task_id
    with db.transaction(workshop.pool) as conn:
        claim = tasks.claim(conn, task_id, "deliver", "killed", lease=60)
        assert claim
        assert deliveries.start(conn, claim.delivery_id or 0, 1)
        assert deliveries.mark_dot(conn, claim.delivery_id or 0)
        conn.execute("UPDATE task SET lease_until = now() - interval '1 second'")
    sweep.reap(workshop.pool, max_attempts=3)
    workshop.work()
    assert workshop.ledger(run_id)["one@example.com"].state == "unknown"
    assert workshop.ledger(run_id)["one@example.com"].cause == setbacks.UNKNOWN_CAUSE
    assert workshop.mailer.sent == []


def test_a_worker_killed_before_the_dot_loses_nothing(workshop: Workshop) -> None:
    run_id = workshop.start(recipients=("one@example.com",))
    while workshop.bell.rings[0].kind != "deliver":
        ring = workshop.bell.rings.pop(0)
        STEPS[ring.kind](ring.task_id, workshop.deps)
    task_id = workshop.bell.rings.pop(0).task_id
    with db.transaction(workshop.pool) as conn:
        claim = tasks.claim(conn, task_id, "deliver", "killed", lease=60)
        assert claim
        assert deliveries.start(conn, claim.delivery_id or 0, 1)
        conn.execute("UPDATE task SET lease_until = now() - interval '1 second'")
    sweep.reap(workshop.pool, max_attempts=3)
    sweep.ring_again(workshop.pool, workshop.bell)
    workshop.work()
    assert workshop.run(run_id).state == "sent"
    assert len(workshop.mailer.sent) == 1


def test_a_worker_that_lost_its_lease_while_capturing_stores_nothing(workshop: Workshop) -> None:
    run_id = workshop.start(dashboards=(DashboardSpec(uid="a"),))
    task_id = workshop.bell.rings.pop(0).task_id

    def take_over() -> None:
        with db.transaction(workshop.pool) as conn:
            conn.execute("UPDATE task SET owner = 'another', attempt = attempt + 1")

    workshop.renderer.meanwhile = take_over
    pipeline.render(task_id, workshop.deps)
    with db.transaction(workshop.pool) as conn:
        [capture] = captures.of_run(conn, run_id)
        assert documents.parts(conn, capture.id) == []
    assert capture.state == "rendering"
    assert workshop.bell.rings == []


def test_a_run_cancelled_while_capturing_is_not_mailed(workshop: Workshop) -> None:
    run_id = workshop.start(dashboards=(DashboardSpec(uid="a"),))

    def cancel() -> None:
        with db.transaction(workshop.pool) as conn:
            runs.finish(conn, run_id, "cancelled", "the report was deleted")

    workshop.renderer.meanwhile = cancel
    workshop.work()
    assert workshop.run(run_id).state == "cancelled"
    assert workshop.mailer.sent == []


@pytest.mark.parametrize("joined", [False, True])
def test_a_capture_that_nobody_needs_any_more_is_broken_off(
    workshop: Workshop, joined: bool
) -> None:
    run_id = workshop.start(dashboards=(DashboardSpec(uid="a"),))
    workshop.deps = replace(
        workshop.deps, settings=replace(workshop.deps.settings, lease_seconds=1.0)
    )

    def cancel() -> None:
        with db.transaction(workshop.pool) as conn:
            runs.finish(conn, run_id, "cancelled", "somebody cancelled it")

    drop = captures.is_wanted

    def join(conn: db.Connection, capture_id: int) -> bool:
        wanted = drop(conn, capture_id)
        if joined and not wanted:
            # At this very moment another run takes the capture for its own.
            conn.execute("UPDATE run SET state = 'queued', cause = NULL, finished_at = NULL")
        return wanted

    workshop.renderer.meanwhile = cancel
    workshop.renderer.patience = 20.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(captures, "is_wanted", join)
        pipeline.render(workshop.bell.rings[0].task_id, workshop.deps)
    with db.transaction(workshop.pool) as conn:
        [capture] = captures.of_run(conn, run_id)
        left = conn.execute("SELECT lease_until FROM task").fetchall()
    if joined:
        assert [row["lease_until"] for row in left] == [None]
        assert capture.state != "failed"
    else:
        assert left == []
        assert (capture.state, capture.cause) == ("failed", captures.UNWANTED)


def test_an_export_ends_with_its_documents_and_no_mail(workshop: Workshop) -> None:
    run_id = workshop.start(kind=runs.EXPORT, recipients=())
    workshop.work()
    assert workshop.run(run_id).state == "sent"
    assert workshop.mailer.sent == []


def test_all_formats_come_as_documents_with_names_of_their_own(workshop: Workshop) -> None:
    run_id = workshop.start(formats=("pdf", "csv", "image"), combine=False)
    workshop.work()
    with db.transaction(workshop.pool) as conn:
        names = [document.name for document in documents.of_run(conn, run_id)]
    assert len(names) == len(set(names))
    # A PDF and a table of each dashboard, and an image of each in two slices.
    assert sorted(names) == [
        "Dashboard a - T-2026-01-05.csv",
        "Dashboard a-2026-01-05-2.png",
        "Dashboard a-2026-01-05.pdf",
        "Dashboard a-2026-01-05.png",
        "Dashboard b - T-2026-01-05.csv",
        "Dashboard b-2026-01-05-2.png",
        "Dashboard b-2026-01-05.pdf",
        "Dashboard b-2026-01-05.png",
    ]


def contents(workshop: Workshop, run_id: int, kind: str) -> list[bytes]:
    with db.transaction(workshop.pool) as conn:
        return [
            documents.kept(conn, [document.id])[document.id].content
            for document in documents.of_run(conn, run_id)
            if document.kind == kind
        ]


def test_csv_is_written_as_the_report_wants_it(workshop: Workshop) -> None:
    once = (DashboardSpec(uid="a"),)
    shown = workshop.start(formats=("csv",), dashboards=once)
    raw = workshop.start(
        formats=("csv",), dashboards=once, csv_raw=True, csv_encoding="utf-8", kind=runs.API
    )
    workshop.work()
    assert contents(workshop, shown, "csv") == [b"\xef\xbb\xbfa\r\n1 ms\r\n"]
    assert contents(workshop, raw, "csv") == [b"a\r\n1\r\n"]


def test_the_rows_of_tables_follow_the_dashboards_if_the_report_asks_for_it(
    workshop: Workshop,
) -> None:
    plain = workshop.start()
    with_tables = workshop.start(table_appendix=True, kind=runs.API)
    workshop.work()
    assert {request.formats for request in workshop.renderer.requests} == {
        ("pdf",),
        ("pdf", "csv"),
    }
    for run_id in (plain, with_tables):
        assert contents(workshop, run_id, "csv") == []
    pages = [
        len(PdfReader(io.BytesIO(contents(workshop, run_id, "pdf")[0])).pages)
        for run_id in (plain, with_tables)
    ]
    assert pages == [2, 3]


def test_the_slices_of_an_image_stand_in_the_mail_under_their_dashboard(
    workshop: Workshop,
) -> None:
    run_id = workshop.start(formats=("image",), recipients=("one@example.com",))
    workshop.work()
    mail = workshop.run(run_id).mail
    assert mail is not None
    places = [mail["html"].index(f"cid:{content_id}") for content_id, _ in mail["images"]]
    assert len(places) == 4
    assert places == sorted(places)
    assert places[1] < mail["html"].index("Dashboard b") < places[2]


def test_image_and_pdf_have_each_the_theme_that_the_settings_give_it(workshop: Workshop) -> None:
    workshop.start(formats=("pdf", "image"), dashboards=(DashboardSpec(uid="a"),))
    workshop.start(formats=("image",), dashboards=(DashboardSpec(uid="a"),), kind=runs.API)
    workshop.work()
    themes = [(request.theme, request.image_theme) for request in workshop.renderer.requests]
    assert themes == [("light", "dark"), ("dark", "dark")]


BROKEN = (
    Panel(key="p", title="Disk", type="stat", state="timed out"),
    Panel(key="q", title="CPU", type="stat", state="ok"),
)


def test_what_is_complete_is_sent_and_what_is_missing_is_named(workshop: Workshop) -> None:
    workshop.renderer.panels = BROKEN
    run_id = workshop.start()
    workshop.work()
    run = workshop.run(run_id)
    assert (run.state, run.complete) == ("sent", False)
    assert len(workshop.renderer.requests) == 2


def test_a_report_may_ask_to_fail_rather_than_be_incomplete(workshop: Workshop) -> None:
    workshop.renderer.panels = BROKEN
    run_id = workshop.start(on_incomplete="fail", dashboards=(DashboardSpec(uid="a"),))
    workshop.work()
    run = workshop.run(run_id)
    assert run.state == "failed"
    assert "Disk: timed out" in (run.cause or "")
    assert len(workshop.renderer.requests) == workshop.deps.settings.max_attempts
    assert workshop.mailer.sent == []
    # The history says which panels they were.
    with db.transaction(workshop.pool) as conn:
        [capture] = captures.of_run(conn, run_id)
    assert capture.verdict is not None
    assert capture.verdict["counts"]["timed out"] == 1


def test_such_a_report_is_sent_when_another_attempt_is_complete(workshop: Workshop) -> None:
    def recover() -> None:
        if len(workshop.renderer.requests) == 2:
            workshop.renderer.panels = BROKEN[1:]

    workshop.renderer.panels = BROKEN
    workshop.renderer.meanwhile = recover
    run_id = workshop.start(on_incomplete="fail", dashboards=(DashboardSpec(uid="a"),))
    workshop.work()
    assert workshop.run(run_id).state == "sent"


def test_two_workers_that_end_the_captures_of_a_run_at_once_do_not_block_each_other(
    workshop: Workshop,
) -> None:
    run_id = workshop.start()
    together = threading.Barrier(2, timeout=20)
    workshop.renderer.meanwhile = together.wait
    tasks_of_run = [ring.task_id for ring in workshop.bell.rings]
    workshop.bell.rings.clear()
    threads = [
        threading.Thread(target=pipeline.render, args=[task_id, workshop.deps])
        for task_id in tasks_of_run
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [ring.kind for ring in workshop.bell.rings] == ["assemble"]
    workshop.work()
    assert workshop.run(run_id).state == "sent"


def test_a_cancelled_runs_captures_do_not_stay_open(workshop: Workshop) -> None:
    run_id = workshop.start()
    with db.transaction(workshop.pool) as conn:
        runs.finish(conn, run_id, "cancelled", "the report was paused")
        captures.fail_unwanted(conn)
        assert {capture.state for capture in captures.of_run(conn, run_id)} == {"failed"}


def test_a_mailer_killed_after_many_refusals_does_not_use_up_the_mail(workshop: Workshop) -> None:
    run_id = workshop.start(recipients=("one@example.com",))
    while workshop.bell.rings[0].kind != "deliver":
        ring = workshop.bell.rings.pop(0)
        STEPS[ring.kind](ring.task_id, workshop.deps)
    task_id = workshop.bell.rings.pop(0).task_id
    with db.transaction(workshop.pool) as conn:
        conn.execute("UPDATE task SET attempt = 7")
        assert tasks.claim(conn, task_id, "deliver", "killed", lease=60)
        conn.execute("UPDATE task SET lease_until = now() - interval '1 second'")
    sweep.reap(workshop.pool, max_attempts=3)
    workshop.make_due()
    with db.transaction(workshop.pool) as conn:
        conn.execute("UPDATE task SET ring_at = now()")
    sweep.ring_again(workshop.pool, workshop.bell)
    workshop.work()
    assert workshop.run(run_id).state == "sent"


MEGABYTE = 1024 * 1024


def large(workshop: Workshop) -> None:
    """Let dashboards make files that no limit of a megabyte lets through."""
    render = workshop.deps.render

    def padded(request: CaptureRequest, in_vain: threading.Event) -> Captured:
        captured = render(request, in_vain)
        table = replace(captured.tables[0], rows=(("x" * 2 * MEGABYTE,),))
        return replace(captured, tables=(table,))

    workshop.deps = replace(
        workshop.deps,
        render=padded,
        settings=replace(
            workshop.deps.settings,
            max_attachment_size_mb=1,
            public_url="https://reports.example.org",
            secret_key=("k" * 32,),
        ),
    )


def test_what_is_too_large_for_the_mail_has_a_link_in_it(workshop: Workshop) -> None:
    large(workshop)
    run_id = workshop.start(
        formats=("pdf", "csv"),
        dashboards=(DashboardSpec(uid="a"),),
        recipients=("one@example.com",),
    )
    workshop.work()
    run = workshop.run(run_id)
    assert run.mail is not None
    with db.transaction(workshop.pool) as conn:
        pdf, csv = documents.of_run(conn, run_id)
    assert run.mail["attachments"] == [pdf.id]
    found = re.search(r"https://reports.example.org/api/reports/documents/(\d+)\?org=1&expires=(\d+)"
                      r"&signature=(\w+)", run.mail["text"])  # fmt: skip
    assert found
    assert int(found[1]) == csv.id
    assert links.genuine([b"k" * 32], 1, csv.id, int(found[2]), found[3])
    until = dt.datetime.fromtimestamp(int(found[2]), dt.UTC)
    week = run.rendered_at + dt.timedelta(days=7) if run.rendered_at else None
    assert week and abs(until - week) < dt.timedelta(minutes=1)
    assert workshop.ledger(run_id)["one@example.com"].attached == "some"
    # And for a mail server that finds even that too large, all of them.
    assert run.mail["light"]["attachments"] == []
    assert run.mail["light"]["text"].count("https://reports.example.org/") == 2


def test_without_an_address_for_links_the_mail_says_where_the_files_are(
    workshop: Workshop,
) -> None:
    large(workshop)
    workshop.deps = replace(workshop.deps, settings=replace(workshop.deps.settings, public_url=""))
    run_id = workshop.start(formats=("csv",), dashboards=(DashboardSpec(uid="a"),))
    workshop.work()
    mail = workshop.run(run_id).mail
    assert mail is not None
    assert "can fetch what is missing here from Broadsheet" in mail["text"]
    assert mail["attachments"] == []
    assert {entry.attached for entry in workshop.ledger(run_id).values()} == {"none"}


def test_what_the_mail_server_takes_is_known_at_assembly(workshop: Workshop) -> None:
    workshop.mailer.size_limit = 10
    first = workshop.start(dashboards=(DashboardSpec(uid="a"),))
    workshop.work()
    second = workshop.start(dashboards=(DashboardSpec(uid="a"),), kind=runs.API)
    workshop.work()
    assert [workshop.ledger(run)["one@example.com"].attached for run in (first, second)] == [
        "all",
        "none",
    ]


def test_a_mail_that_took_hours_to_make_says_so(workshop: Workshop) -> None:
    run_id = workshop.start(kind=runs.SCHEDULE)
    with db.transaction(workshop.pool) as conn:
        conn.execute("UPDATE run SET not_before = now() - interval '3 hours'")
    workshop.work()
    assert workshop.run(run_id).state == "sent"
    assert all("Delayed: " in mail.decode() for _, mail in workshop.mailer.sent)


def test_an_answer_of_the_mail_server_is_kept_though_the_database_was_away(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    end, fails = pipeline._end_delivery, [True]

    def once_away(*arguments: Any) -> str | None:
        if fails and fails.pop():
            raise DatabaseAway
        return end(*arguments)

    monkeypatch.setattr(pipeline, "_end_delivery", once_away)
    run_id = workshop.start(recipients=("one@example.com",))
    workshop.work()
    assert workshop.run(run_id).state == "sent"
    assert len(workshop.mailer.sent) == 1


@pytest.mark.parametrize(("owner", "shown"), [(1, True), (2, False)])
def test_a_mail_has_the_uploaded_logo_of_its_own_organisation_only(
    workshop: Workshop, owner: int, shown: bool
) -> None:
    content = logos.png(picture())
    with db.transaction(workshop.pool) as conn:
        name = logo_images.add(conn, owner, content)
        branding = {"emailLogoUrl": f"/api/reports/images/{name}"}
        report_settings.save(conn, 1, 0, {**report_settings.DEFAULTS, "branding": branding})
    run_id = workshop.start()
    workshop.work()
    run = workshop.run(run_id)
    assert run.state == "sent"
    assert run.mail is not None
    assert run.mail["logo"] == (logos.data_url(content) if shown else "")


def test_a_logo_inside_the_network_is_not_fetched_and_keeps_no_report_back(
    workshop: Workshop,
) -> None:
    with db.transaction(workshop.pool) as conn:
        branding = {"emailLogoUrl": "http://127.0.0.1/a.png", "reportLogoUrl": "http://[::1]/"}
        report_settings.save(conn, 1, 0, {**report_settings.DEFAULTS, "branding": branding})
    run_id = workshop.start()
    with capture_logs() as lines:
        workshop.work()
    assert workshop.run(run_id).state == "sent"
    causes = [line["error"] for line in lines if line["event"] == "logo.left_out"]
    assert len(causes) == 2
    assert all("is inside this network" in cause for cause in causes)
