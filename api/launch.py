"""Starting a run for a caller, and waiting for its end."""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import replace

from flask import Response, jsonify, request
from werkzeug.exceptions import InternalServerError

from api.services import services
from shared import db, log, runs
from shared.queue import announce
from shared.runs import NewRun, Run
from shared.tasks import Ring

#: Attempts to find a moment that no other run of the same report and kind was asked for.
ATTEMPTS = 5
MILLISECOND = 1_000

HEADERS = {
    "Location": {"description": "Where the run can be followed.", "schema": {"type": "string"}}
}
PREFER = {
    "in": "header",
    "name": "Prefer",
    "description": "`respond-async`: answer 202 at once with the address of the run.",
    "schema": {"type": "string"},
}

logger = log.get(__name__)


def run_to_its_end(new: NewRun) -> Run | Response:
    """Start a run and return it once it was sent.

    Returns a finished response instead where there is no such run to show: 202 for a caller
    that prefers not to wait, 504 at the deadline, while the run goes on. Raises `NoSlot`, before
    anything was started, when too many wait already, and `InternalServerError` with the cause
    of a run that failed.
    """
    if "respond-async" in request.headers.get("Prefer", "").lower().replace(" ", "").split(","):
        run_id, rings = _stored(new)
        announce(services().pool, services().bell, rings)
        response = _pointer(202, run_id, f"Run {run_id} was started")
        response.headers["Preference-Applied"] = "respond-async"
        return response
    timeout = services().settings.wait_timeout
    with services().waiter.slot() as slot:
        run_id, rings = _stored(new)
        slot.expect(run_id)
        announce(services().pool, services().bell, rings)
        slot.wait(timeout)
    # What the row says counts, not why the waiting ended: the process may be stopping.
    with db.transaction(services().pool) as conn:
        run = runs.get(conn, run_id)
    if run is not None and run.state in runs.ACTIVE:
        return _pointer(504, run_id, f"Run {run_id} has not ended after {timeout:g} s; it goes on")
    if run is None or run.state != "sent":
        cause = run.cause if run else "its record was deleted"
        raise InternalServerError(f"Run {run_id} was not sent: {cause}")
    return run


def _stored(new: NewRun) -> tuple[int, list[Ring]]:
    """Insert the run and commit; a worker that was rung for must find it."""
    for attempt in range(ATTEMPTS):
        # Callers that ask at once step aside at random, not one behind the other.
        aside = attempt and 1 + secrets.randbelow(MILLISECOND - 1)
        moment = new.scheduled_for + dt.timedelta(microseconds=aside)
        with db.transaction(services().pool) as conn:
            made = runs.insert(conn, replace(new, scheduled_for=moment))
        if made is not None:
            logger.info("run.asked_for", run_id=made[0], kind=new.kind, report_id=new.report_id)
            return made
    raise InternalServerError("The report is being sent by many callers at once; try again")


def _pointer(status: int, run_id: int, message: str) -> Response:
    address = f"/api/reports/runs/{run_id}"
    response = jsonify({"message": f"{message}: see {address}", "runId": run_id})
    response.status_code = status
    response.headers["Location"] = address
    return response
