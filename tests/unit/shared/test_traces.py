"""Traces: nothing at all while they are off, and a clear word where they cannot be had."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shared import traces
from shared.errors import SettingsError
from shared.settings import Settings

ON = Settings(traces=True)
EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


def told(environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        traces.check(ON, environ)
    return caught.value.message


def test_they_are_off_unless_switched_on() -> None:
    assert not Settings().traces
    traces.begin(Settings(), "api")
    assert not traces.on()


def test_while_they_are_off_a_span_is_nothing() -> None:
    with traces.span("capture", run=1) as span:
        span.note(outcome="sent")
        span.answered(500)
        traces.note(run=2)
        traces.failed("Error")
        assert (traces.here(), traces.headers(), traces.ids()) == (None, {}, {})
        assert (traces.current(), traces.continued("00-1-2-01")) == (None, None)
    begun = traces.begun("claim", kind="producer", run=1)
    begun.end()
    assert begun.traceparent is None
    traces.end()


def test_while_they_are_off_an_error_passes_through_as_it_is() -> None:
    with pytest.raises(KeyError), traces.span("capture"):
        raise KeyError


def test_while_they_are_off_no_process_needs_opentelemetry(checkout: Path) -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "import beat.scheduler, beat.tick, api.app, workers.pipeline, workers.capture.browser\n"
        "from shared import traces; from shared.settings import Settings\n"
        "traces.check(Settings(), {}); traces.begin(Settings(), 'test')\n"
        "with traces.span('capture', run=1): traces.note(run=2)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=checkout, check=True)


def test_switched_on_without_the_package_the_start_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, EXPORTER, None)
    assert told({}) == (
        "BROADSHEET_TRACES: is on, and OpenTelemetry is not installed. "
        'Install it with pip install "broadsheet[traces]", or unset BROADSHEET_TRACES.'
    )
    traces.check(Settings(), {})


def test_another_protocol_than_the_one_that_is_spoken_is_refused() -> None:
    found = told({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    assert found.startswith("OTEL_EXPORTER_OTLP_PROTOCOL: Broadsheet speaks http/protobuf only")
    own = {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}
    traces.check(ON, own | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})


def test_an_endpoint_without_a_scheme_is_refused() -> None:
    variable = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
    assert told({variable: "collector:4317"}) == (
        f"{variable}: must be an http:// or https:// address."
    )


def test_headers_that_cannot_be_read_are_refused_and_not_shown() -> None:
    assert told({"OTEL_EXPORTER_OTLP_HEADERS": "a=b,hush"}) == (
        "OTEL_EXPORTER_OTLP_HEADERS: must be name=value, several with commas between."
    )
    traces.check(ON, {"OTEL_EXPORTER_OTLP_HEADERS": "a=b, authorization=Bearer x=="})


def test_every_word_has_a_name_in_the_span() -> None:
    assert set(traces.Attributes.__annotations__) == set(traces.NAMES) | {"stages"}


@pytest.mark.parametrize(
    ("text", "recorded"),
    [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", True),
        # With the second flag, which says that the number is random.
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03", True),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", False),
        (None, False),
    ],
)
def test_a_trace_says_whether_it_is_recorded(text: str | None, recorded: bool) -> None:
    assert traces.is_recorded(text) == recorded


def test_a_number_of_the_standard_that_is_none_is_refused() -> None:
    assert told({"OTEL_BSP_MAX_QUEUE_SIZE": "many"}).startswith("OTEL_BSP_MAX_QUEUE_SIZE: must be")
    traces.check(ON, {"OTEL_BSP_MAX_QUEUE_SIZE": "512", "OTEL_SPAN_EVENT_COUNT_LIMIT": ""})


def test_numbers_that_do_not_go_together_cost_the_traces_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
    traces.begin(ON, "tests")
    assert not traces.on()
    assert "OTEL_BSP" in caplog.text
