"""Whether this process lives, and whether it can serve."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from api import schemas
from api.auth import public
from api.blueprint import Blueprint
from api.services import services
from shared import db
from shared.db import Pool
from shared.errors import DatabaseAway

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
    """Say that the database answers too; 503 when it does not, or not in time."""
    answered = threading.Event()

    def ask(pool: Pool) -> None:
        with contextlib.suppress(DatabaseAway), db.transaction(pool) as conn:
            conn.execute("SELECT 1")
            answered.set()

    # In a thread: a server that is frozen rather than gone keeps a query waiting for ever.
    threading.Thread(target=ask, args=[services().pool], daemon=True).start()
    if not answered.wait(PATIENCE):
        raise DatabaseAway
    return {"status": "ok"}
