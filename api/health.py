"""Whether this process lives, and whether it can serve."""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import Any

from api import schemas
from api.auth import public
from api.blueprint import Blueprint
from api.services import services
from shared import db, migrate
from shared.db import Pool
from shared.errors import DatabaseAway, NotMigrated

#: Supervisors ask every few seconds, and take silence for death.
PATIENCE = 3.0

blp = Blueprint("health", __name__, description="For supervisors and load balancers.")


@blp.route("/healthz", methods=["GET"])
@public
@blp.answers(200, schemas.Health)
def alive() -> dict[str, Any]:
    """Say that the process answers."""
    return {"status": "ok"}


@blp.route("/readyz", methods=["GET"])
@public
@blp.answers(200, schemas.Health)
def ready() -> dict[str, Any]:
    """Say that the database answers too, and is at this release's version; 503 when not so.

    Also when it does not answer in time.
    """
    lacking: queue.Queue[list[str]] = queue.Queue()

    def ask(pool: Pool) -> None:
        with contextlib.suppress(DatabaseAway), db.transaction(pool) as conn:
            lacking.put(migrate.missing(conn))

    # In a thread: a server that is frozen rather than gone keeps a query waiting for ever.
    threading.Thread(target=ask, args=[services().pool], daemon=True).start()
    try:
        names = lacking.get(timeout=PATIENCE)
    except queue.Empty as exc:
        raise DatabaseAway from exc
    if names:
        raise NotMigrated(
            f"The database is not at this release's version; run `broadsheet migrate`. It lacks "
            f"{', '.join(names)}."
        )
    return {"status": "ok"}
