"""Every error leaves as Grafana's `{"message": …}`, whoever raised it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import Flask, Response, jsonify, request
from marshmallow.exceptions import SCHEMA
from werkzeug.exceptions import BadRequest, HTTPException

from api.grafana_login import GrafanaOpen
from api.waiter import NoSlot
from shared import log
from shared.errors import (
    BroadsheetError,
    DashboardForbidden,
    DashboardNotFound,
    DatabaseAway,
    GrafanaAway,
    NotMigrated,
)
from shared.grafana import CallerUnknown, ForeignToken, OrgHidden
from shared.storage import DocumentDeleted, DocumentLost
from shared.store import StoreAway

logger = log.get(__name__)

#: What our own errors mean to a caller; any other is a 500 with its sentence.
STATUS: dict[type[BroadsheetError], int] = {
    DashboardNotFound: 404,
    DocumentDeleted: 404,
    DashboardForbidden: 403,
    NoSlot: 429,
    DatabaseAway: 503,
    NotMigrated: 503,
    CallerUnknown: 401,
    GrafanaAway: 503,
    GrafanaOpen: 503,
    ForeignToken: 503,
    StoreAway: 503,
    OrgHidden: 403,
}
#: What callers are told instead of what is only for the log: addresses, and others' names.
INSTEAD: dict[type[BroadsheetError], str] = {
    GrafanaAway: "Grafana does not answer; the log of the API says more",
    GrafanaOpen: "Grafana cannot be asked who you are; the log of the API says why",
    StoreAway: "The store of documents does not answer; the log of the API says more",
    DocumentLost: "The file is missing or damaged where it is stored; the log of the API says more",
    ForeignToken: "This organisation's access to Grafana is not set up well; see the log",
}
#: Faults repeat names that a caller chose, and there may be very many of both.
LONGEST = 2_000
RETRY_AFTER = {429: "5", 503: "5"}

#: Shorter than werkzeug's own sentences, which speak of browsers and spelling.
SENTENCES = {
    400: "Bad request",
    404: "Not found",
    405: "Method not allowed",
    413: "The body is too large",
    500: "Internal server error; see the log of the API",
}


def register(app: Flask) -> None:
    """Make the app answer every error in JSON."""
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(BroadsheetError, _ours)
    app.register_error_handler(Exception, _unexpected)


def invalid(field: str, sentence: str) -> BadRequest:
    """Return the error for a field, named by its path in the body: `schedule.timeZone`."""
    return BadRequest(f"{field}: {sentence}")


def shortened(text: str) -> str:
    """Return a sentence of bounded length."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def sentence(messages: Any) -> str:
    """Put marshmallow's tree of messages into one line: `schedule.timeZone: must be text`."""
    return "; ".join(
        f"{path}: {message}" if path else str(message) for path, message in _flat(messages, "")
    )


def _flat(messages: Any, path: str) -> list[tuple[str, str]]:
    if isinstance(messages, dict):
        found = []
        for key, value in messages.items():
            found += _flat(value, path if key == SCHEMA else _step(path, key))
        return found
    texts = messages if isinstance(messages, list) else [messages]
    return [(path, str(text)) for text in texts]


def _step(path: str, key: object) -> str:
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else str(key)


def _http(exc: HTTPException) -> Response:
    if exc.response is not None or exc.code is None or exc.code < 400:
        return exc.get_response(request.environ)  # type: ignore[return-value]  # flask's own class
    plain = exc.description in (None, type(exc).description)
    text = SENTENCES.get(exc.code, exc.name) if plain else exc.description
    return _answer(exc.code, str(text), exc.get_headers(request.environ))


def _ours(exc: BroadsheetError) -> Response:
    status = next((code for kind, code in STATUS.items() if isinstance(exc, kind)), 500)
    if status >= 500:
        logger.error("api.failed", error=exc.message, kind=type(exc).__name__)
    elif status == 403:
        logger.info("api.denied", error=exc.message)
    told = next((text for kind, text in INSTEAD.items() if isinstance(exc, kind)), exc.message)
    return _answer(status, told)


def _unexpected(exc: Exception) -> Response:
    logger.error("api.crashed", exc_info=exc, method=request.method, path=request.path)
    return _answer(500, SENTENCES[500])


def _answer(status: int, message: str, headers: Iterable[tuple[str, str]] = ()) -> Response:
    response = jsonify({"message": shortened(message)})
    response.status_code = status
    for name, value in headers:
        if name.lower() not in ("content-type", "content-length"):
            response.headers.add(name, value)
    if status in RETRY_AFTER:
        # Who knows how long to wait has said so.
        response.headers.setdefault("Retry-After", RETRY_AFTER[status])
    return response
