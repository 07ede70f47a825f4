"""Starting a run for a caller, and waiting for its end."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from flask import Response, jsonify, request
from werkzeug.exceptions import InternalServerError, TooManyRequests, UnprocessableEntity

from api import limits
from api.audit import noted
from api.auth import RENDER, SEND, identity
from api.errors import invalid
from api.hrefs import here
from api.services import services, transaction
from shared import admission, deliveries, runs, traces
from shared.db import Connection
from shared.queue import announce
from shared.runs import NewRun, Run
from shared.tasks import Ring

#: Attempts to find a moment that no other run of the same report and kind was asked for.
ATTEMPTS = 5
MILLISECOND = 1_000

KEY = "Idempotency-Key"
_KEY = re.compile(r"[!-~]([ -~]{0,253}[!-~])?")

HEADERS = {
    "Location": {"description": "Where the run can be followed.", "schema": {"type": "string"}}
}
PARAMETERS: list[dict[str, Any]] = [
    {
        "in": "header",
        "name": "Prefer",
        "description": "`respond-async`: answer 202 at once with the address of the run.",
        "schema": {"type": "string"},
    },
    {
        "in": "header",
        "name": KEY,
        "description": (
            "Makes it safe to repeat the request: with the same key, the same request starts "
            "nothing again, but waits for the run that it started before and answers its "
            "outcome, also where that run failed. Another request with the key is 422. A key is "
            "kept for as long as its run, that of an export for a day."
        ),
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": 255,
            "pattern": f"^{_KEY.pattern}$",
        },
    },
]
#: What the calls that start a run may answer besides what `blueprint` adds everywhere.
FAILS = (403, 404, 422, 429)


#: Makes the run, in the transaction that stores it.
Make = Callable[[Connection], NewRun]


def repeated() -> Run | Response | None:
    """Return the outcome of the run that this very request started before; None for a new one.

    To be called before anything is checked but who asks: what was started then counts, whatever
    has become of its report since. A new one is counted, and `TooManyRequests` where the caller
    has had its share (a repeat is not: it starts nothing). Otherwise like `run_to_its_end`.
    """
    key = _key()
    if key is None:
        limits.count(identity().who)
        return None
    with transaction() as conn:
        run_id = _earlier(conn, key)
    if run_id is None:
        limits.count(identity().who)
        return None
    return _followed(lambda: (run_id, []))


def run_to_its_end(make: Make) -> Run | Response:
    """Start a run and return it once it was sent, to everybody or (`partial`) to some.

    Returns a finished response instead where there is no such run to show: 202 for a caller
    that prefers not to wait, 504 at the deadline, while the run goes on. Raises `NoSlot` or
    `TooManyRequests`, before anything was started, when there are too many already, and
    `InternalServerError` with the cause of a run that failed.
    """
    return _followed(lambda: _stored(make))


def _followed(store: Callable[[], tuple[int, list[Ring]]]) -> Run | Response:
    """Follow the run that `store` returns with its rings, none if it was started before."""
    if "respond-async" in request.headers.get("Prefer", "").lower().replace(" ", "").split(","):
        run_id, rings = store()
        announce(services().pool, services().bell, rings)
        response = _pointer(202, run_id, f"Run {run_id} was started")
        response.headers["Preference-Applied"] = "respond-async"
        return response
    timeout = services().settings.wait_timeout
    with services().waiter.slot() as slot:
        run_id, rings = store()
        slot.expect(run_id)
        announce(services().pool, services().bell, rings)
        # Nobody will tell of the end of a run that had ended before it was expected.
        if rings or _is_active(_read(run_id)):
            slot.wait(timeout)
    # What the row says counts, not why the waiting ended: the process may be stopping.
    run = _read(run_id)
    if _is_active(run):
        return _pointer(504, run_id, f"Run {run_id} has not ended after {timeout:g} s; it goes on")
    if run is None or run.state not in ("sent", "partial"):
        raise InternalServerError(_failed(run_id, run))
    return run


def _failed(run_id: int, run: Run | None) -> str:
    """Say why nobody got it; and where that is not known, that repeating the call may double it."""
    if run is None:
        return f"Run {run_id} failed: Its record was deleted."
    with transaction() as conn:
        ledger = deliveries.of_run(conn, run_id)
    unknown = sum(delivery.state == deliveries.UNKNOWN for delivery in ledger)
    if not unknown:
        return f"Run {run_id} failed: {run.cause}"
    whose = "its mail" if len(ledger) == 1 else f"{unknown} of its {len(ledger)} mails"
    return (
        f"Run {run_id}: it is not known whether {whose} arrived, so asking again may send the "
        f"report twice. Ask the recipients, then decide: POST /api/reports/runs/{run_id}/"
        "deliveries/:id/resolve, with the ids of GET /api/reports/deliveries (or the commands "
        f"`broadsheet deliveries` and `broadsheet resolve`). {run.cause}"
    )


def _stored(make: Make) -> tuple[int, list[Ring]]:
    """Insert the run and commit; a worker that was rung for must find it."""
    key = _key()
    for attempt in range(ATTEMPTS):
        # Callers that ask at once step aside at random, not one behind the other.
        aside = attempt and 1 + secrets.randbelow(MILLISECOND - 1)
        with transaction() as conn:
            if key is not None and (earlier := _earlier(conn, key)) is not None:
                return earlier, []
            new = make(conn)
            _check_room(conn)
            made = admission.insert(
                conn,
                replace(
                    new,
                    scheduled_for=new.scheduled_for + dt.timedelta(microseconds=aside),
                    asked_by=identity().who,
                    idempotency_key=key,
                    request_sha256=_digest() if key is not None else None,
                    lifetime=services().settings.run_timeout,
                ),
            )
            if made is not None:
                noted(
                    conn,
                    RENDER if new.kind == runs.EXPORT else SEND,
                    report_id=new.report_id,
                    run_id=made[0],
                    kind=new.kind,
                    report=new.spec.name,
                )
        if made is not None:
            traces.note(org=new.org_id, report=new.report_id, run=made[0], run_kind=new.kind)
            return made
    raise InternalServerError("The report is being sent by many callers at once; try again")


def _check_room(conn: Connection) -> None:
    """Raise `TooManyRequests` when the org has as many runs under way as could be waited for.

    What people ask for goes before what is scheduled, so it must be bounded, also where nobody
    waits any more. Callers that ask at the same moment may exceed the number by one each.
    """
    most = services().settings.wait_slots
    if runs.count_requested(conn, identity().org_id) >= most:
        raise TooManyRequests(
            f"The organisation has {most} runs under way that were asked for; "
            "try again when one of them has ended"
        )


def _key() -> str | None:
    """Return the caller's key for this request. Raises `BadRequest`."""
    key = request.headers.get(KEY)
    if key is not None and not _KEY.fullmatch(key.strip(" ")):
        raise invalid(KEY, "must be 1 to 255 characters of printable ASCII")
    return key and key.strip(" ")


def _earlier(conn: Connection, key: str) -> int | None:
    """Return the run that was started with the key; raise if by another request than this."""
    found = runs.of_key(conn, identity().org_id, key)
    if found is None:
        return None
    run_id, digest = found
    if digest != _digest():
        raise UnprocessableEntity(f"{KEY}: was used for another request; use a new one")
    return run_id


def _digest() -> str:
    """Return the SHA-256 of what is asked for, and by whom: another may not see what came of it."""
    asked = hashlib.sha256()
    who = identity().who.encode()
    for part in (who, request.path.encode(), request.query_string, request.get_data()):
        asked.update(len(part).to_bytes(8) + part)
    return asked.hexdigest()


def _read(run_id: int) -> Run | None:
    with transaction() as conn:
        return runs.get(conn, run_id)


def _is_active(run: Run | None) -> bool:
    return run is not None and run.state in runs.ACTIVE


def _pointer(status: int, run_id: int, message: str) -> Response:
    address = here(f"/api/reports/runs/{run_id}")
    response = jsonify({"message": f"{message}: see {address}", "runId": run_id})
    response.status_code = status
    response.headers["Location"] = address
    return response
