"""Traces: what a run went through, as spans of OpenTelemetry, from who asked for it to each mail.

The one home of OpenTelemetry, which is imported only where BROADSHEET_TRACES is on; elsewhere all
that is here does nothing. Messages carry ids only, so a run's trace is handed on in its row
(`run.traceparent`), as W3C's text. Spans go out from a thread of their own and are dropped where
the collector does not take them: nothing here waits for it, or fails because of it.

A span says what happened and where, never with what: no token, no address of a person, no text of
a query, and of an error its class only, since its message may quote any of these.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from shared.errors import BroadsheetError, SettingsError
from shared.settings import PREFIX, Settings

if TYPE_CHECKING:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

#: A span under way as another thread or task is given it; what OpenTelemetry calls a context.
Context = Any
Kind = Literal["internal", "server", "client", "producer", "consumer"]

#: What a process that ends waits, in seconds, for a collector to take what is left.
PATIENCE = 3.0
#: What OTLP is spoken over, in the standard's words.
PROTOCOL = "http/protobuf"
#: Variables of the standard that the SDK fails over when they are no number.
NUMBERS = (
    *("OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"),
    *("OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT"),
    *("OTEL_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"),
    *("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT"),
    *("OTEL_SPAN_EVENT_COUNT_LIMIT", "OTEL_SPAN_LINK_COUNT_LIMIT"),
    *("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"),
)
HEADER = "traceparent"


class Attributes(TypedDict, total=False):
    """What a span may say, in our words; None is left out. `NAMES` has what they are called."""

    org: int | None
    report: int | None
    run: int | None
    runs: list[int] | None
    run_kind: str
    slot: str
    capture: int | None
    delivery: int | None
    dashboard: str
    panel: str | None
    attempt: int | None
    outcome: str
    complete: bool
    documents: int
    size: int | None
    waited: int | None
    #: Milliseconds by stage.
    stages: Mapping[str, float]
    queue: str
    message: str
    method: str
    route: str | None
    template: str
    url: str
    path: str | None
    scheme: str
    status: int
    resend: int | None
    server: str | None
    port: int | None
    protocol: str
    phase: str
    code: int | None
    error: str


#: After OpenTelemetry's semantic conventions where there are any.
NAMES = {
    "org": "broadsheet.org.id",
    "report": "broadsheet.report.id",
    "run": "broadsheet.run.id",
    "runs": "broadsheet.run.ids",
    "run_kind": "broadsheet.run.kind",
    "slot": "broadsheet.slot",
    "capture": "broadsheet.capture.id",
    "delivery": "broadsheet.delivery.id",
    "dashboard": "broadsheet.dashboard.uid",
    "panel": "broadsheet.panel.id",
    "attempt": "broadsheet.attempt",
    "outcome": "broadsheet.outcome",
    "complete": "broadsheet.complete",
    "documents": "broadsheet.documents",
    "size": "broadsheet.size",
    "waited": "broadsheet.waited_ms",
    "queue": "messaging.destination.name",
    "message": "messaging.message.id",
    "method": "http.request.method",
    "route": "http.route",
    "template": "url.template",
    "url": "url.full",
    "path": "url.path",
    "scheme": "url.scheme",
    "status": "http.response.status_code",
    "resend": "http.request.resend_count",
    "server": "server.address",
    "port": "server.port",
    "protocol": "network.protocol.name",
    "phase": "broadsheet.smtp.phase",
    "code": "broadsheet.smtp.code",
    "error": "error.type",
}
#: Who takes a task takes a message of Celery.
MESSAGING = {"messaging.system": "celery", "messaging.operation.type": "process"}


class Span:
    """A span under way; one of nothing where traces are off."""

    __slots__ = ("_span",)

    def __init__(self, span: trace.Span | None = None) -> None:
        self._span = span

    def note(self, **attributes: Unpack[Attributes]) -> None:
        """Say something more."""
        if self._span is not None:
            self._span.set_attributes(_named(attributes))

    def failed(self, error: str) -> None:
        """Say that it came to nothing, and of what kind the error is: a status, a class."""
        if self._span is not None:
            from opentelemetry.trace import StatusCode  # noqa: PLC0415 - see the module's head

            self._span.set_attribute(NAMES["error"], error)
            self._span.set_status(StatusCode.ERROR)

    def answered(self, status: int) -> None:
        """Say what a server answered us; from 400 on that is a failure."""
        self.note(status=status)
        if status >= 400:
            self.failed(str(status))

    def end(self) -> None:
        """End a span that was `begun`."""
        if self._span is not None:
            self._span.end()

    @property
    def traceparent(self) -> str | None:
        """The span as W3C's text."""
        if self._span is None:
            return None
        from opentelemetry import trace  # noqa: PLC0415 - see the module's head

        return _text(trace.set_span_in_context(self._span))


class _Off(AbstractContextManager[Span]):
    """What `span` returns where traces are off."""

    def __enter__(self) -> Span:
        return _NOTHING

    def __exit__(self, *_: object) -> None:
        return None


_NOTHING = Span()
_OFF = _Off()
#: The provider and its tracer, where traces are on and this process has begun.
_on: dict[str, Any] = {}


# -- a process begins and ends ----------------------------------------------------------------


def check(settings: Settings, environ: Mapping[str, str]) -> None:
    """Raise `SettingsError` where traces are wanted that cannot be had.

    It imports what they need, so that the children of a pool find it in their parent's memory.
    """
    if not settings.traces:
        return
    _check_standard(environ)
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter  # noqa: PLC0415 - see the module's head
        import opentelemetry.sdk.trace.export  # noqa: F401, PLC0415 - the same
    except ImportError as exc:
        raise SettingsError(
            f"{PREFIX}TRACES: is on, and OpenTelemetry is not installed. Install it with "
            f'pip install "broadsheet[traces]", or unset {PREFIX}TRACES.'
        ) from exc


def _check_standard(environ: Mapping[str, str]) -> None:
    """Refuse what would send nothing, ever. The SDK goes on with its defaults for all others."""
    variable, protocol = _first(environ, "PROTOCOL")
    if protocol and protocol != PROTOCOL:
        raise SettingsError(
            f"{variable}: Broadsheet speaks {PROTOCOL} only, which collectors take at port "
            f"4318; set it to that, or unset {PREFIX}TRACES."
        )
    variable, endpoint = _first(environ, "ENDPOINT")
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise SettingsError(f"{variable}: must be an http:// or https:// address.")
    for variable, value in environ.items():
        if variable in NUMBERS and value.strip() and not value.strip().isdecimal():
            raise SettingsError(f"{variable}: must be a whole number, such as 512.")
    variable, pairs = _first(environ, "HEADERS")
    if any("=" not in pair for pair in pairs.split(",") if pair.strip()):
        raise SettingsError(f"{variable}: must be name=value, several with commas between.")
    # It would repeat what it cannot read of those, and they are mostly secret.
    logging.getLogger("opentelemetry.util.re").disabled = True


def _first(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """Return a variable of the standard and its value: that for traces goes before that for all."""
    own, common = f"OTEL_EXPORTER_OTLP_TRACES_{name}", f"OTEL_EXPORTER_OTLP_{name}"
    return (own, environ[own]) if environ.get(own) else (common, environ.get(common, ""))


def begin(settings: Settings, process: str) -> None:
    """Make spans from now on, in this process: to be called after a fork, not before one."""
    if not settings.traces or _on:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - see the module's head
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - the same
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - the same

    try:
        # Not at exit by itself: it would wait for half a minute. `end` waits for less.
        provider = TracerProvider(resource=_resource(process), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    except ValueError as exc:
        # Of two numbers that do not go together; reports go out without traces.
        logging.getLogger(__name__).error("Traces are off: %s. Look at OTEL_BSP_….", exc)  # noqa: TRY400 - a traceback says nothing here
        return
    _on.update(provider=provider, tracer=provider.get_tracer("broadsheet", _version()))


def end() -> None:
    """Send what is left, within `PATIENCE` seconds, and make no more spans."""
    provider: TracerProvider | None = _on.get("provider")
    _on.clear()
    if provider is None:
        return
    # In a thread that nobody waits for: a collector may take what it is sent and never answer.
    sending = threading.Thread(target=provider.shutdown, name="traces-end", daemon=True)
    sending.start()
    sending.join(PATIENCE)


def on() -> bool:
    """Whether spans are made in this process: where not, nothing has to be looked up for them."""
    return bool(_on)


def _resource(process: str) -> Any:
    """Return what the spans say of their process; what the operator calls it goes first."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - see the module's head

    ours = {
        "service.version": _version(),
        "service.instance.id": f"{os.uname().nodename}:{os.getpid()}",
    }
    resource = Resource.create()
    if str(resource.attributes.get("service.name", "")).startswith("unknown_service"):
        ours |= {"service.name": f"broadsheet-{process}", "service.namespace": "broadsheet"}
    return resource.merge(
        Resource(
            {
                name: text
                for name, text in ours.items()
                if name == "service.name" or name not in resource.attributes
            }
        )
    )


def _version() -> str:
    try:
        return metadata.version("broadsheet")
    except metadata.PackageNotFoundError:
        return "unknown"


# -- spans --------------------------------------------------------------------------------------


def span(
    name: str,
    *,
    kind: Kind = "internal",
    within: Context | None = None,
    links: Sequence[str] = (),
    began: int | None = None,
    **attributes: Unpack[Attributes],
) -> AbstractContextManager[Span]:
    """Make a span of the block, and of an error that leaves it a failed one.

    It is part of the span under way, or of another's (`within`: see `continued` and `current`).
    `links` are the spans, as W3C's text, that it has to do with besides. `began` is when, in
    nanoseconds since 1970, where that was before now.
    """
    # Taken once: another thread may end the process's traces meanwhile.
    tracer = _on.get("tracer")
    if tracer is None:
        return _OFF
    return _spanning(tracer, name, kind, within, links, began, attributes)


@contextlib.contextmanager
def _spanning(
    tracer: trace.Tracer,
    name: str,
    kind: Kind,
    within: Context | None,
    links: Sequence[str],
    began: int | None,
    attributes: Attributes,
) -> Iterator[Span]:
    from opentelemetry import trace  # noqa: PLC0415 - see the module's head

    begun = tracer.start_span(
        name,
        context=within,
        kind=trace.SpanKind[kind.upper()],
        attributes=_named(attributes) | (MESSAGING if kind == "consumer" else {}),
        links=[trace.Link(linked) for link in links if (linked := _context_of(link)).is_valid],
        start_time=began,
    )
    with trace.use_span(
        begun, end_on_exit=True, record_exception=False, set_status_on_exception=False
    ):
        spanned = Span(begun)
        try:
            yield spanned
        except BaseException as exc:
            _fail(begun, exc)
            raise


def _fail(span: trace.Span, exc: BaseException) -> None:
    """Give the span its error. Not the message, which may quote anything; see the log for that."""
    from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - see the module's head

    text = inspect.getdoc(type(exc)) if isinstance(exc, BroadsheetError) else None
    span.set_attribute(NAMES["error"], type(exc).__qualname__)
    span.set_status(Status(StatusCode.ERROR, (text or "").partition("\n")[0] or None))


def begun(name: str, *, kind: Kind, **attributes: Unpack[Attributes]) -> Span:
    """Begin a trace with a span that is not the one under way; `Span.end` is its end.

    For many at once, that end when it is known what they came to.
    """
    tracer: trace.Tracer | None = _on.get("tracer")
    if tracer is None:
        return _NOTHING
    from opentelemetry import trace  # noqa: PLC0415 - see the module's head

    return Span(
        tracer.start_span(
            name,
            context=continued(None),
            kind=trace.SpanKind[kind.upper()],
            attributes=_named(attributes),
        )
    )


def note(**attributes: Unpack[Attributes]) -> None:
    """Say something more of the span under way."""
    if _on:
        from opentelemetry import trace  # noqa: PLC0415 - see the module's head

        trace.get_current_span().set_attributes(_named(attributes))


def failed(error: str) -> None:
    """Say that the span under way came to nothing, and of what kind the error is."""
    if _on:
        from opentelemetry import trace  # noqa: PLC0415 - see the module's head

        Span(trace.get_current_span()).failed(error)


def now() -> int:
    """Return when it is, for `began`; 0 where nobody asks."""
    return time.time_ns() if _on else 0


# -- from one process, thread or task to the next -----------------------------------------------


def here() -> str | None:
    """Return the span under way as W3C's text; None where there is none."""
    if not _on:
        return None
    return _text(None)


def _text(context: Context | None) -> str | None:
    carrier: dict[str, str] = {}
    _propagator().inject(carrier, context)
    return carrier.get(HEADER)


def headers() -> dict[str, str]:
    """Return what a request has to carry so that who answers it can go on with the trace."""
    text = here()
    return {HEADER: text} if text else {}


def current() -> Context | None:
    """Return the span under way, for a thread or a task that does not inherit it."""
    if not _on:
        return None
    from opentelemetry import context  # noqa: PLC0415 - see the module's head

    return context.get_current()


def continued(traceparent: str | None) -> Context | None:
    """Return the span that the text is of, to go on with; a trace begins where there is none."""
    if not _on:
        return None
    from opentelemetry import context  # noqa: PLC0415 - see the module's head

    return _propagator().extract({HEADER: traceparent or ""}, context.Context())


def is_recorded(traceparent: str | None) -> bool:
    """Whether somebody will see the trace, and not only its number."""
    # The last two digits are flags, the first bit of them this.
    return traceparent is not None and int(traceparent[-2:], 16) % 2 == 1


def are_of_one(one: str, other: str) -> bool:
    """Whether two spans, as W3C's text, are of one trace."""
    return one.split("-")[1] == other.split("-")[1]


def ids() -> dict[str, str]:
    """Return the numbers of trace and span, for a line of the log; none where there is none."""
    if not _on:
        return {}
    from opentelemetry import trace  # noqa: PLC0415 - see the module's head

    found = trace.get_current_span().get_span_context()
    if not found.is_valid:
        return {}
    return {
        "trace_id": trace.format_trace_id(found.trace_id),
        "span_id": trace.format_span_id(found.span_id),
    }


def _context_of(traceparent: str) -> trace.SpanContext:
    from opentelemetry import trace  # noqa: PLC0415 - see the module's head

    return trace.get_current_span(continued(traceparent)).get_span_context()


def _propagator() -> Any:
    from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 - see the module's head
        TraceContextTextMapPropagator,
    )

    return TraceContextTextMapPropagator()


def _named(attributes: Attributes) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for name, value in attributes.items():
        if name == "stages":
            stages: Mapping[str, float] = attributes["stages"]
            named |= {f"broadsheet.stage.{stage}_ms": took for stage, took in stages.items()}
        elif value is not None:
            named[NAMES[name]] = value
    return named
