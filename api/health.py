"""Whether this process lives, and whether it can serve."""

from __future__ import annotations

from typing import Any

from api import schemas
from api.blueprint import Blueprint
from api.services import services
from shared import db

blp = Blueprint("health", __name__, description="For supervisors and load balancers.")


@blp.route("/healthz", methods=["GET"])
@blp.answers(200, schemas.Health)
def alive() -> dict[str, Any]:
    """Say that the process answers."""
    return {"status": "ok"}


@blp.route("/readyz", methods=["GET"])
@blp.answers(200, schemas.Health)
def ready() -> dict[str, Any]:
    """Say that the database answers too; 503 when it does not."""
    with db.transaction(services().pool) as conn:
        conn.execute("SELECT 1")
    return {"status": "ok"}
