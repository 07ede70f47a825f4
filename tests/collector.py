"""A collector of traces on loopback: takes OTLP over HTTP, keeps the spans, and may hang."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1 import trace_pb2


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One span as it arrived."""

    name: str
    kind: str
    service: str
    trace: str
    span: str
    parent: str
    began: int
    ended: int
    failed: bool
    attributes: dict[str, Any]
    links: tuple[str, ...] = ()
    #: All that was sent of it and of the process it is from, but for numbers made at random.
    text: str = field(repr=False)


class Collector:
    """`with Collector() as collector`: at `url` it takes spans; while `gate` is closed, none.

    A closed gate reads each request and answers nothing.
    """

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        #: Set once something was sent to it.
        self.asked = threading.Event()
        self._changed = threading.Condition()
        self._seen: list[Seen] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.asked.set()
                collector.gate.wait()
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.take(body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Who went away while the gate was closed is no news."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """What OTEL_EXPORTER_OTLP_ENDPOINT has to be."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def take(self, body: bytes) -> None:
        """Keep the spans of a request."""
        with self._changed:
            self._seen += _spans(ExportTraceServiceRequest.FromString(body))
            self._changed.notify_all()

    @property
    def spans(self) -> list[Seen]:
        """What has arrived, in the order of their beginnings."""
        with self._changed:
            return sorted(self._seen, key=lambda seen: seen.began)

    def of_run(self, run_id: int, *, within: float = 30, **numbers: int) -> list[Seen]:
        """The trace of the run as soon as it has so many spans of each name (`deliver=2`)."""

        def found() -> list[Seen] | None:
            spans = sorted(self._seen, key=lambda seen: seen.began)
            traces = {
                seen.trace for seen in spans if seen.attributes.get("broadsheet.run.id") == run_id
            }
            spans = [seen for seen in spans if seen.trace in traces]
            names = [seen.name for seen in spans]
            enough = all(names.count(name) >= number for name, number in numbers.items())
            return spans if traces and enough else None

        with self._changed:
            spans = self._changed.wait_for(found, within)
            names = sorted(seen.name for seen in self._seen)
        assert spans, f"no such trace of run {run_id} within {within:g} s, but {names}"
        return spans


def tree(spans: list[Seen]) -> str:
    """The spans of a trace, each below its parent, with when they began and how long they took."""
    known = {seen.span for seen in spans}
    first = spans[0].began
    lines = []

    def show(seen: Seen, depth: int) -> None:
        wanted = {
            name.removeprefix("broadsheet."): value
            for name, value in seen.attributes.items()
            if not name.startswith(("broadsheet.stage", "url.", "http.request.method", "network"))
        }
        told = " ".join(f"{name}={value}" for name, value in wanted.items())
        lines.append(
            f"{(seen.began - first) / 1e6:8.0f} {(seen.ended - seen.began) / 1e6:7.0f} ms  "
            f"{'  ' * depth}{seen.name} [{seen.service.removeprefix('broadsheet-')}, {seen.kind}]"
            f"{' FAILED' if seen.failed else ''}{' →' + str(len(seen.links)) if seen.links else ''}"
            f" {told}"
        )
        for below in spans:
            if below.parent == seen.span:
                show(below, depth + 1)

    for seen in spans:
        if seen.parent not in known:
            show(seen, 0)
    return "\n".join(lines)


def _spans(request: ExportTraceServiceRequest) -> Iterator[Seen]:
    for group in request.resource_spans:
        resource = _attributes(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                kind = trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower()
                yield Seen(
                    name=span.name,
                    kind=kind,
                    service=str(resource.get("service.name")),
                    trace=span.trace_id.hex(),
                    span=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    began=span.start_time_unix_nano,
                    ended=span.end_time_unix_nano,
                    failed=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
                    attributes=_attributes(span.attributes),
                    links=tuple(link.span_id.hex() for link in span.links),
                    text=f"{_without_ids(span)}{group.resource}",
                )


def _without_ids(span: trace_pb2.Span) -> trace_pb2.Span:
    """A copy without what is printed as bytes, any of which may look like anything."""
    copy = trace_pb2.Span.FromString(span.SerializeToString())
    for one in (copy, *copy.links):
        one.ClearField("trace_id")
        one.ClearField("span_id")
    copy.ClearField("parent_span_id")
    return copy


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, kind)
