"""The app factory: everything the API needs is handed in."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import Callable
from contextlib import ExitStack

import structlog
from flask import Flask, Response, g, request
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import BadRequest
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import BaseConverter

from api import (
    audit,
    auth,
    deliveries,
    downloads,
    errors,
    health,
    images,
    mail,
    metrics,
    openapi,
    render,
    report_settings,
    reports,
    runs,
    schedule_preview,
    tokens,
)
from api.fields import INT64
from api.parser import unstorable
from api.services import EXTENSION, Services
from api.waiter import Waiter
from shared import meters, traces
from shared.db import Pool
from shared.grafana import Grafana
from shared.queue import Bell
from shared.settings import Settings
from shared.storage import Storage

#: Seconds: a person waits for a download, and three times for a store that hangs.
STORE_TIMEOUT = 5.0
#: Bytes of a refused body that are read; proxies pass no more on, as those in `deploy/proxy`.
READ_ON = 4_194_304

#: Parts of addresses that stand on every line of the log.
ABOUT = ("report_id", "run_id", "delivery_id")

BLUEPRINTS = (
    reports.blp,
    mail.blp,
    render.blp,
    runs.blp,
    deliveries.blp,
    downloads.blp,
    report_settings.blp,
    images.blp,
    tokens.blp,
    audit.blp,
    schedule_preview.blp,
    health.blp,
    metrics.blp,
)


def system_clock() -> dt.datetime:
    """Return the time of this machine."""
    return dt.datetime.now(dt.UTC)


def create_app(
    settings: Settings,
    *,
    pool: Pool,
    bell: Bell,
    grafana: Grafana,
    waiter: Waiter,
    clock: Callable[[], dt.datetime] = system_clock,
) -> Flask:
    """Return the WSGI app; raise `TypeError` if a route forgot to declare its permission."""
    app = Flask("api", static_folder=None)
    app.extensions[EXTENSION] = Services(
        settings=settings,
        pool=pool,
        bell=bell,
        grafana=grafana,
        waiter=waiter,
        clock=clock,
        storage=Storage.from_settings(
            dataclasses.replace(settings, s3_timeout=min(settings.s3_timeout, STORE_TIMEOUT))
        ),
    )
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.json = Json(app)
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.url_map.converters["id64"] = Id64
    if trusted := settings.trusted_proxies:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]  # as Flask's documentation says
            app.wsgi_app, x_for=trusted, x_proto=trusted, x_host=trusted, x_prefix=trusted
        )
    app.before_request(_begin_span)
    app.teardown_request(_end_span)
    app.before_request(_name_client)
    app.teardown_request(_forget_client)
    app.before_request(_begin_clock)
    app.before_request(_check_address)
    auth.register(app, auth.authenticator(settings, pool=pool, grafana=grafana))
    app.before_request(_name_org)
    app.after_request(_headers)
    app.after_request(_read_on)
    app.after_request(_measure)
    app.after_request(_tell_span)
    errors.register(app)
    openapi.register(app, BLUEPRINTS, Id64)
    auth.check_declarations(app)
    return app


def close(app: Flask) -> None:
    """Let go of everything the app was given; who still waits for a report is told 504."""
    given: Services = app.extensions[EXTENSION]
    given.waiter.close()
    given.grafana.close()
    given.pool.close()


class Json(DefaultJSONProvider):
    """Fields in the order of Grafana's documentation, and texts as they are."""

    sort_keys = False
    ensure_ascii = False


class Id64(BaseConverter):
    """The id of a row in an address.

    Whatever is no such id becomes None, which `auth` answers with 400 (and not 404), as Grafana
    does, once it knows who asks. The words are other resources, for other methods.
    """

    regex = (
        r"(?!(?:email|test-email|settings|runs|dashboards|render|schedule|deliveries|documents"
        r"|tokens|audit|images)\Z)[^/]+"
    )
    part_isolating = True

    def to_python(self, value: str) -> int | None:
        """Return the number, or None."""
        if value.isascii() and value.isdigit() and len(value) < 20 and 0 < int(value) <= INT64:
            return int(value)
        return None


#: Asked for by machines, every few seconds.
UNTRACED = {"/healthz", "/readyz", "/metrics"}


def _begin_span() -> None:
    """Go on with the caller's trace, or begin one. An address that no route has is not shown."""
    route = request.url_rule.rule if request.url_rule else None
    g.traced = ExitStack()
    if route in UNTRACED:
        return
    g.span = g.traced.enter_context(
        traces.span(
            f"{request.method} {route}" if route else "HTTP",
            kind="server",
            within=traces.continued(request.headers.get(traces.HEADER)),
            method=request.method if route else "_OTHER",
            route=route,
            path=request.path if _is_of_numbers() else None,
            scheme=request.scheme,
        )
    )


def _is_of_numbers() -> bool:
    """Whether the address is a route's words and numbers: anything else may be anything."""
    arguments = (request.view_args or {}).values()
    return request.url_rule is not None and all(isinstance(one, int) for one in arguments)


def _tell_span(response: Response) -> Response:
    if "span" in g:
        g.span.note(status=response.status_code)
        if response.status_code >= 500:
            g.span.failed(str(response.status_code))
    return response


def _end_span(_: BaseException | None) -> None:
    """End it in the thread that began it."""
    if "traced" in g:
        g.traced.close()


def _name_client() -> None:
    """Put the client's address, and what the request is about, on every line logged for it."""
    given = request.view_args or {}
    about = {name: given[name] for name in ABOUT if name in given}
    structlog.contextvars.bind_contextvars(client=request.remote_addr, **about)


def _name_org() -> None:
    """Put the organisation of who asks there too, once that is known."""
    if "identity" in g:
        structlog.contextvars.bind_contextvars(org_id=g.identity.org_id)


def _forget_client(_: BaseException | None) -> None:
    """Take it all off again: the thread goes on to serve others."""
    structlog.contextvars.unbind_contextvars("client", "org_id", *ABOUT)


def _check_address() -> None:
    """Refuse what no text in the database can hold, wherever in the address it stands."""
    values = [request.path, *request.args.keys(), *request.args.values()]
    for value in values:
        if fault := unstorable(value):
            raise BadRequest(f"The address {fault}")


#: What a browser must not do with any answer. Strict-Transport-Security is left to the proxy that
#: speaks TLS: it concerns the whole host, and so Grafana as well.
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
    ),
    # For browsers that do not know frame-ancestors.
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "X-Permitted-Cross-Domain-Policies": "none",
    "Cache-Control": "no-store",
}


def _begin_clock() -> None:
    g.began = time.monotonic()


def _measure(response: Response) -> Response:
    """Tell Prometheus how long it took. Addresses that no route has are one."""
    meters.observe(
        "api_request_seconds",
        time.monotonic() - g.get("began", time.monotonic()),
        method=request.method if request.url_rule else "other",
        route=request.url_rule.rule if request.url_rule else "none",
        status=response.status_code,
    )
    return response


def _read_on(response: Response) -> Response:
    """Read the body of a request that is refused to its end, up to some length.

    A proxy that is still sending when the connection is closed answers 502 instead of ours.
    """
    if response.status_code >= 400:
        left = min(request.content_length or 0, READ_ON)
        while left > 0 and (part := request.environ["wsgi.input"].read(min(left, 65_536))):
            left -= len(part)
    return response


def _headers(response: Response) -> Response:
    """Add them; the documentation page has a policy of its own."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response
