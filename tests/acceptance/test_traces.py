"""Traces of real processes: one per run, from who asked to each mail, and no secret in it."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.stack import Stack
from tests.acceptance.harness import Service, eventually, serving
from tests.collector import Collector, Seen

#: Part of no address that the stack has by itself, so that it is found wherever it comes out.
DOMAIN = "kept-to-ourselves.example"
ADDRESSES = f"ada@{DOMAIN},grace@{DOMAIN}"
PASSWORD = f"SECRET{secrets.token_hex(8)}"
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STEPS = ["assemble", "capture", "capture", "deliver", "deliver"]


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def service(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(
        tmp_path_factory.mktemp("traces"),
        outside=told(collector),
        TRACES="true",
        GRAFANA_HEADERS=f'{{"X-Proxy-Key": "{PASSWORD}"}}',
    ) as service:
        service.inbox.refusals[f"nobody@{DOMAIN}"] = f"550 5.1.1 <nobody@{DOMAIN}> is not here"
        yield service


def told(collector: Collector) -> dict[str, str]:
    """What an operator sets; and sooner than after five seconds, that the test need not wait."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "200"}


def expect_a_whole_run(spans: list[Seen], beginning: Seen) -> None:
    """Both captures with their queries, the assembly and both mails, each below its parent."""
    steps = [seen for seen in spans if seen.kind == "consumer"]
    assert sorted(seen.name for seen in steps) == STEPS
    assert {(seen.trace, seen.parent) for seen in steps} == {(beginning.trace, beginning.span)}
    assert {seen.service for seen in steps} == {"broadsheet-worker"}

    def below(step: Seen, name: str) -> list[Seen]:
        return [seen for seen in spans if (seen.parent, seen.name) == (step.span, name)]

    for step in steps:
        match step.name:
            case "capture":
                queries = below(step, "POST /api/ds/query")
                assert queries
                assert {seen.kind for seen in queries} == {"client"}
                assert {seen.attributes["http.response.status_code"] for seen in queries} == {200}
                assert below(step, "GET /api/dashboards/uid/{uid}")
            case "assemble":
                [stored] = below(step, "store")
                assert stored.attributes["broadsheet.documents"] == 1
            case "deliver":
                [sending] = below(step, "SMTP send")
                assert sending.attributes["broadsheet.smtp.phase"] == "dot"
                assert sending.attributes["broadsheet.smtp.code"] == 250
    captured = {seen.attributes["broadsheet.dashboard.uid"] for seen in steps[:2]}
    assert captured == {"shop", "small"}


def test_a_scheduled_run_is_one_trace_from_the_tick_to_the_last_mail(
    service: Service, collector: Collector
) -> None:
    run = service.ended(service.create("Morning", "shop", "small", recipients=ADDRESSES))
    assert run["state"] == "sent"

    spans = collector.of_run(run["id"], capture=2, assemble=1, deliver=2, claim=1)

    assert (spans[0].name, spans[0].service, spans[0].parent) == ("claim", "broadsheet-beat", "")
    expect_a_whole_run(spans, spans[0])


def test_a_run_that_somebody_asks_for_goes_on_with_the_trace_of_the_caller(
    service: Service, collector: Collector
) -> None:
    report = service.create("At once", "shop", "small", recipients=ADDRESSES)
    service.ended(report)

    answer = service.api.post(
        "/api/reports/email",
        json={"id": str(report), "useEmailsFromReport": True},
        headers={"traceparent": CALLER},
    )

    assert answer.status_code == 200
    asked = "POST /api/reports/email"
    spans = collector.of_run(answer.json()["runId"], deliver=2, **{asked: 1})
    assert (spans[0].name, spans[0].service, spans[0].kind) == (asked, "broadsheet-api", "server")
    assert (spans[0].trace, spans[0].parent) == tuple(CALLER.split("-")[1:3])
    assert spans[0].attributes["http.response.status_code"] == 200
    expect_a_whole_run(spans, spans[0])
    # The caller's call, and in the log of each process that had to do with it, its number.
    for name in ("api", "render", "deliver"):
        said = Path(service.stack.logs, f"{name}.log").read_text(errors="replace")
        assert spans[0].trace in said


def test_no_token_no_password_and_no_address_is_in_any_span(
    service: Service, collector: Collector
) -> None:
    run = service.ended(
        service.create("Partly", "small", recipients=f"nobody@{DOMAIN},ada@{DOMAIN}")
    )
    assert run["state"] == "partial"
    service.api.get("/api/reports", headers={"Authorization": f"Bearer {PASSWORD}"})
    service.api.get(f"/api/{PASSWORD}?signature={PASSWORD}")
    spans = collector.of_run(run["id"], deliver=2)
    refused = [seen for seen in spans if seen.name == "SMTP send" and seen.failed]
    assert [seen.attributes["broadsheet.smtp.phase"] for seen in refused] == ["rcpt"]

    everything = "".join(seen.text for seen in collector.spans)

    stack = service.stack
    for secret in (PASSWORD, stack.grafana_token, stack.token, DOMAIN, "ada@", "rawSql"):
        assert secret not in everything
    assert "postgresql://" not in everything


def test_what_is_not_sent_yet_goes_out_when_a_process_ends(tmp_path: Path) -> None:
    with Collector() as collector:
        late = told(collector) | {"OTEL_BSP_SCHEDULE_DELAY": "3600000"}
        with serving(tmp_path, outside=late, TRACES="true") as service:
            run = service.ended(service.create("Kept back", "small"))
            assert collector.spans == []
            end_all(service.stack)
        spans = collector.of_run(run["id"], claim=1, capture=1, assemble=1, deliver=1)
        assert {seen.service for seen in spans} == {"broadsheet-beat", "broadsheet-worker"}
        assert "broadsheet-api" in {seen.service for seen in collector.spans}


def test_a_collector_that_hangs_delays_no_run_and_no_end(tmp_path: Path) -> None:
    with Collector() as hanging:
        hanging.gate.clear()
        with serving(tmp_path, outside=told(hanging), TRACES="true") as service:
            run = service.ended(service.create("All the same", "small"))
            assert run["state"] == "sent"
            assert hanging.asked.wait(30)
            end_all(service.stack)
        assert hanging.spans == []


def end_all(stack: Stack) -> None:
    """Have our processes end by themselves, which they would not if they waited for a gate."""
    ours = [stack.processes[name].popen for name in ("beat", "deliver", "render", "api")]
    for process in ours:
        process.send_signal(signal.SIGTERM)
    eventually(
        lambda: all(process.poll() is not None for process in ours), within=60, what="their end"
    )
    assert {process.returncode for process in ours} == {0}
