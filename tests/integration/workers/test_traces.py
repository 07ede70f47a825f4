"""A run's trace through the steps of the workers: what follows what, attempts, what is shared."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from shared import db, runs, traces
from shared.errors import GrafanaAway
from shared.settings import Settings
from shared.spec import DashboardSpec
from tests.collector import Collector, Seen
from tests.integration.workers.test_pipeline import Workshop, workshop
from tests.unit.workers.capture.test_gateway import GRAFANA, Scene, event
from workers.mail import MailRefused

__all__ = ["workshop"]

ONE = (DashboardSpec(uid="a"),)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        traces.begin(Settings(traces=True), "test")
        yield collector
        traces.end()


def asked(workshop: Workshop, name: str, **spec: object) -> int:
    """A run that is asked for within a span of this name."""
    with traces.span(name, kind="server"):
        return workshop.start(**spec)


def named(spans: list[Seen], name: str) -> list[Seen]:
    return [seen for seen in spans if seen.name == name]


def test_the_steps_of_a_run_follow_from_what_asked_for_it(
    workshop: Workshop, collector: Collector
) -> None:
    run_id = asked(workshop, "ask")
    workshop.work()
    traces.end()
    [ask] = named(collector.spans, "ask")
    steps = [seen for seen in collector.spans if seen.kind == "consumer"]
    assert [seen.name for seen in steps] == [
        *("capture", "capture", "assemble", "deliver", "deliver")
    ]
    assert {(seen.trace, seen.parent) for seen in steps} == {(ask.trace, ask.span)}
    assert {seen.attributes["broadsheet.run.id"] for seen in steps} == {run_id}
    assert [seen.attributes.get("broadsheet.dashboard.uid") for seen in steps[:2]] == ["a", "b"]
    assert {seen.attributes["broadsheet.attempt"] for seen in steps} == {1}
    assert [seen.attributes["broadsheet.outcome"] for seen in steps[3:]] == ["sent", "sent"]
    [stored] = [seen for seen in named(collector.spans, "store") if seen.parent == steps[2].span]
    assert stored.attributes["broadsheet.documents"] == 1


def test_each_attempt_is_a_span_and_what_failed_says_why(
    workshop: Workshop, collector: Collector
) -> None:
    refused = MailRefused("<one@example.com>: no such user", phase="rcpt", code=550, permanent=True)
    workshop.mailer.outcomes["one@example.com"] = refused
    workshop.renderer.faults.append(GrafanaAway("at http://somewhere"))
    asked(workshop, "ask", dashboards=ONE)
    workshop.work()
    traces.end()
    first, second = named(collector.spans, "capture")
    assert first.trace == second.trace
    assert [seen.attributes["broadsheet.attempt"] for seen in (first, second)] == [1, 2]
    assert (first.failed, first.attributes["error.type"]) == (True, "GrafanaAway")
    assert not second.failed
    ended = sorted(
        (seen.attributes["broadsheet.outcome"], seen.failed)
        for seen in named(collector.spans, "deliver")
    )
    assert ended == [("failed", True), ("sent", False)]
    assert "@" not in "".join(seen.text for seen in collector.spans)
    assert "somewhere" not in "".join(seen.text for seen in collector.spans)


def test_a_capture_is_shown_in_the_trace_of_each_run_that_shares_it(
    workshop: Workshop, collector: Collector
) -> None:
    one = asked(workshop, "one", dashboards=ONE)
    other = asked(workshop, "other", dashboards=ONE, kind=runs.API)
    workshop.work()
    assert len(workshop.renderer.requests) == 1
    traces.end()
    own, shown = named(collector.spans, "capture")
    assert own.attributes["broadsheet.run.ids"] == [one, other]
    assert (own.kind, own.attributes["broadsheet.run.id"]) == ("consumer", one)
    assert shown.attributes["broadsheet.run.id"] == other
    assert shown.attributes["broadsheet.outcome"] == "shared"
    assert shown.links == (own.span,)
    [asking] = named(collector.spans, "other")
    assert (shown.trace, shown.parent) == (asking.trace, asking.span)


def test_a_run_from_before_traces_were_on_begins_a_trace_with_each_step(
    workshop: Workshop, collector: Collector
) -> None:
    run_id = workshop.start(dashboards=ONE)
    with db.transaction(workshop.pool) as conn:
        assert runs.traceparents(conn, [run_id]) == {run_id: None}
    workshop.work()
    assert workshop.run(run_id).state == "sent"
    traces.end()
    [capture] = named(collector.spans, "capture")
    assert capture.parent == ""
    assert capture.attributes["broadsheet.run.id"] == run_id


def test_each_try_of_a_question_is_a_span_that_grafana_can_go_on_with(
    collector: Collector,
) -> None:
    answers = iter([httpx.Response(503), httpx.Response(200, json={})])
    scene = Scene(lambda _: next(answers), base_url=f"{GRAFANA}/sub")
    paused = event(
        f"{GRAFANA}/sub/api/ds/query?asked=whatever",
        "POST",
        headers={"X-Panel-Id": "7", "traceparent": "of the page"},
        postData="whatever",
    )
    with traces.span("capture"):
        scene.play(paused)
    traces.end()
    first, second = named(collector.spans, "POST /api/ds/query")
    [capture] = named(collector.spans, "capture")
    assert {first.parent, second.parent} == {capture.span}
    assert (first.failed, first.attributes["error.type"], second.failed) == (True, "503", False)
    assert "http.request.resend_count" not in first.attributes
    assert second.attributes == {
        "http.request.method": "POST",
        "http.request.resend_count": 1,
        "http.response.status_code": 200,
        "url.template": "/api/ds/query",
        "url.full": f"{GRAFANA}/sub/api/ds/query",
        "server.address": "grafana.example",
        "server.port": 3000,
        "broadsheet.panel.id": "7",
        "broadsheet.waited_ms": 0,
    }
    handed = [asked.headers["traceparent"].split("-")[2] for asked in scene.grafana.asked]
    assert handed == [first.span, second.span]
