"""Traces as a collector gets them, and what becomes of the process when it does not answer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from shared import log, traces
from shared.errors import GrafanaAway
from shared.settings import Settings
from tests.collector import Collector, Seen

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NEVER_SHOWN = "whom-it-may-concern"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        traces.begin(Settings(traces=True), "test")
        yield collector
        traces.end()


def sent(collector: Collector) -> dict[str, Seen]:
    """The spans by their names, once all are sent."""
    traces.end()
    return {seen.name: seen for seen in collector.spans}


def test_a_span_has_its_parent_its_names_and_its_process(collector: Collector) -> None:
    with (
        traces.span("outer", kind="server", within=traces.continued(PARENT), run=3),
        traces.span("inner", report=None, stages={"ready": 5}) as inner,
    ):
        inner.note(dashboard="shop")
        traces.note(outcome="sent")
    found = sent(collector)
    assert (found["outer"].trace, found["outer"].parent) == tuple(PARENT.split("-")[1:3])
    assert found["inner"].parent == found["outer"].span
    assert (found["outer"].kind, found["outer"].service) == ("server", "broadsheet-test")
    assert found["outer"].attributes == {"broadsheet.run.id": 3}
    assert found["inner"].attributes == {
        "broadsheet.stage.ready_ms": 5,
        "broadsheet.dashboard.uid": "shop",
        "broadsheet.outcome": "sent",
    }


def test_a_trace_is_handed_on_as_text_and_one_that_is_none_begins_anew(
    collector: Collector,
) -> None:
    with traces.span("first"):
        text = traces.here()
    with traces.span("second", within=traces.continued(text), links=[PARENT]):
        pass
    for nonsense in (None, "", "nonsense", "00-1-2-01"):
        with traces.span("anew", within=traces.continued(nonsense), links=["nonsense"]):
            assert traces.here() != text
    found = sent(collector)
    assert found["second"].parent == found["first"].span
    assert found["second"].links == (PARENT.split("-")[2],)
    assert (found["anew"].parent, found["anew"].links) == ("", ())


def test_an_error_is_told_by_its_class_and_never_by_its_message(collector: Collector) -> None:
    with pytest.raises(GrafanaAway), traces.span("ours"):
        raise GrafanaAway(NEVER_SHOWN)
    with pytest.raises(ValueError, match=NEVER_SHOWN), traces.span("theirs"):
        raise ValueError(NEVER_SHOWN)
    with traces.span("answered") as span:
        span.answered(503)
    found = sent(collector)
    assert all(seen.failed for seen in found.values())
    assert found["ours"].attributes == {"error.type": "GrafanaAway"}
    assert "Grafana does not answer" in found["ours"].text
    assert found["theirs"].attributes == {"error.type": "ValueError"}
    assert found["answered"].attributes["error.type"] == "503"
    assert NEVER_SHOWN not in "".join(seen.text for seen in found.values())


def test_a_line_of_the_log_has_the_number_of_its_trace(
    collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        log.configure(Settings(), process="test")
        with traces.span("spoken"):
            log.get("test").info("said.within")
        log.get("test").info("said.after")
    finally:
        structlog.reset_defaults()
    said = capsys.readouterr().err.splitlines()
    seen = sent(collector)["spoken"]
    [within] = [line for line in said if "said.within" in line]
    [after] = [line for line in said if "said.after" in line]
    assert seen.trace in within
    assert seen.span in within
    assert "trace_id" not in after


def test_what_the_standard_calls_sampling_is_kept_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "reports")
        traces.begin(Settings(traces=True), "test")
        with traces.span("unseen"):
            assert not traces.is_recorded(traces.here())
        with traces.span("seen", within=traces.continued(PARENT)):
            assert traces.is_recorded(traces.here())
        traces.end()
        [seen] = collector.spans
    assert (seen.name, seen.service) == ("seen", "reports")


WORK = """
import sys
from shared import traces
from shared.settings import Settings
traces.begin(Settings(traces=True), "test")
for number in range(20_000):
    with traces.span("work", run=number):
        pass
print("worked", flush=True)
traces.end()
print("ended", flush=True)
"""


@pytest.mark.parametrize("is_there", [True, False])
def test_a_collector_that_hangs_or_is_away_keeps_neither_the_work_nor_the_end(
    checkout: Path, is_there: bool
) -> None:
    """If either waited for the collector, the process would be there until the gate opens."""
    with Collector() as collector:
        collector.gate.clear()
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url if is_there else "http://127.0.0.1:9",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "3600",
        }
        done = subprocess.run(
            [sys.executable, "-c", WORK],
            cwd=checkout,
            env=environ,
            capture_output=True,
            timeout=60,
            check=True,
            text=True,
        )
        assert done.stdout.split() == ["worked", "ended"]
        assert collector.asked.is_set() == is_there
        assert collector.spans == []
