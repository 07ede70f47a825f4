"""All processes together: what is promised from the API call to the mail."""

from __future__ import annotations

import io
from pathlib import Path

import pypdf
import redis

from tests.acceptance.harness import Service, eventually, serving


def test_a_scheduled_report_arrives_as_one_mail_per_recipient_with_its_pdf(
    service: Service,
) -> None:
    report = service.create(
        "Morning", "shop", "small", recipients="ada@example.com,grace@example.com"
    )

    run = service.ended(report)

    assert (run["state"], run["cause"]) == ("sent", None)
    assert run["kind"] == "schedule"
    assert all(capture["verdict"]["complete"] for capture in run["captures"])
    mails = service.mails("Morning")
    assert sorted(mail.recipients for mail in mails) == [
        ("ada@example.com",),
        ("grace@example.com",),
    ]
    (attached,) = mails[0].files()
    assert attached.get_content_type() == "application/pdf"
    pages = pypdf.PdfReader(io.BytesIO(attached.get_content())).pages
    assert len(pages) >= 2
    assert "Shop overview" in pages[0].extract_text()
    (document,) = run["documents"]
    assert service.api.get(document["href"]).content == attached.get_content()


def test_what_somebody_waits_for_is_answered_when_the_mail_is_out(service: Service) -> None:
    report = service.create("At once", "small")
    service.ended(report)

    answer = service.api.post(
        "/api/reports/email", json={"id": str(report), "emails": "alan@example.com"}
    )

    assert (answer.status_code, answer.json()["message"]) == (200, "Report was sent")
    assert [mail.recipients for mail in service.mails("At once")] == [
        ("ada@example.com",),
        ("alan@example.com",),
    ]


def test_a_worker_killed_in_mid_capture_costs_a_lease_and_doubles_nothing(
    service: Service,
) -> None:
    report = service.create("Survivor", "slow")
    service.wait_for(report, "rendering")

    service.stack.kill("render")
    service.stack.restart("render")

    run = service.ended(report, within=100)
    assert (run["state"], run["cause"]) == ("sent", None)
    assert [capture["attempts"] for capture in run["captures"]] == [2]
    assert len(service.mails("Survivor")) == 1


def test_a_redis_that_lost_everything_delays_a_report_and_loses_none(service: Service) -> None:
    broker = redis.Redis.from_url(service.stack.environ["BROADSHEET_REDIS_URL"])
    service.stack.kill("render")
    report = service.create("Not forgotten", "small")
    eventually(
        lambda: [key for key in broker.keys("*render*") if broker.type(key) == b"list"],
        within=30,
        what="a message for the render workers",
    )

    broker.flushall()
    broker.close()
    service.stack.restart("render")

    assert service.ended(report, within=100)["state"] == "sent"
    assert len(service.mails("Not forgotten")) == 1


def test_a_mailer_killed_after_the_dot_leaves_an_unknown_mail_that_is_not_sent_again(
    service: Service,
) -> None:
    service.inbox.gate.clear()
    report = service.create("In doubt", "small")
    service.inbox.wait_for(len(service.inbox.messages) + 1, timeout=60)

    service.stack.kill("deliver")
    service.inbox.gate.set()
    service.stack.restart("deliver")

    run = service.ended(report, within=100)
    assert run["state"] == "failed"
    assert [delivery["state"] for delivery in run["deliveries"]] == ["unknown"]
    assert len(service.mails("In doubt")) == 1


def test_a_refused_recipient_does_not_keep_the_others_from_their_mail(service: Service) -> None:
    service.inbox.refusals["nobody@example.com"] = "550 5.1.1 No such user"
    report = service.create("Partly", "small", recipients="nobody@example.com,ada@example.com")

    run = service.ended(report)

    assert run["state"] == "partial"
    assert "nobody@example.com" in run["cause"]
    assert "No such user" in run["cause"]
    assert [mail.recipients for mail in service.mails("Partly")] == [("ada@example.com",)]


def test_a_grafana_that_is_away_fails_the_run_and_the_cause_says_so(tmp_path: Path) -> None:
    with serving(tmp_path, MAX_ATTEMPTS="1") as service:
        report = service.create("Nothing to see", "small")
        service.stack.kill("grafana")

        run = service.ended(report)

        assert run["state"] == "failed"
        assert "Grafana does not answer" in run["cause"]
        assert service.inbox.messages == []
