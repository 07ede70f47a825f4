"""`/api/reports/tokens`: tokens of ours, for callers that shall not have Grafana's credentials.

Making one is to be read with `shared.permissions.lacking`: nobody gives what he has not.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from flask import Response, jsonify
from werkzeug.exceptions import Forbidden, NotFound

from api import auth, paging, schemas
from api.audit import noted
from api.auth import identity, needs
from api.blueprint import Blueprint
from api.errors import invalid
from api.identity import by_role
from api.services import services, transaction
from api.times import shown
from shared import db, permissions, tokens
from shared.permissions import Permissions
from shared.tokens import Token

blp = Blueprint(
    "tokens",
    __name__,
    url_prefix="/api/reports/tokens",
    description="Tokens of Broadsheet's own; not in Grafana.",
)
DEFAULT_PAGE = 50


@blp.route("", methods=["GET"])
@needs(auth.TOKENS_READ)
@blp.arguments(paging.OwnQuery, location="query")
@blp.answers(200, schemas.Token(many=True), headers=paging.HEADERS)
def list_tokens(query: dict[str, Any]) -> Response:
    """List the organisation's tokens, also those that no longer work; none shows its secret."""
    with transaction() as conn:
        found = tokens.find(
            conn,
            org_id=identity().org_id,
            limit=paging.limit(query, DEFAULT_PAGE),
            offset=paging.offset(query, DEFAULT_PAGE),
        )
        total = tokens.count(conn, org_id=identity().org_id)
        now = db.clock(conn)
    response = jsonify([_as_json(token, now) for token in found])
    return paging.headed(response, total, query, DEFAULT_PAGE)


@blp.route("", methods=["POST"])
@needs(auth.TOKENS_WRITE)
@blp.arguments(schemas.NewToken, example=schemas.TOKEN_EXAMPLE)
@blp.answers(200, schemas.MadeToken)
def create_token(body: dict[str, Any]) -> dict[str, Any]:
    """Make a token with a role or with permissions, and show it: it cannot be had again.

    It may be given no more than its maker has; otherwise it is 403.
    """
    name, role = body.get("name", "").strip(), body.get("role") or None
    if not name:
        raise invalid("name", "is required")
    allowed = _permissions(body["permissions"]) if body.get("permissions") else None
    if (role is None) == (allowed is None):
        raise invalid("role", "give either a role or permissions")
    wanted = by_role(services().settings)[role] if role else allowed or {}
    if beyond := permissions.lacking(wanted, identity().permissions):
        raise Forbidden(f"You cannot give what you may not do yourself: {', '.join(beyond)}")
    lifetime = body.get("secondsToLive") or 0
    with transaction() as conn:
        made, secret = tokens.create(
            conn,
            org_id=identity().org_id,
            name=name,
            role=role,
            permissions=allowed,
            expires_at=db.clock(conn) + dt.timedelta(seconds=lifetime) if lifetime else None,
        )
        noted(conn, "reports.tokens:create", token_id=made.id, token=made.name)
    return {"id": made.id, "name": made.name, "key": secret, "message": "Token created"}


@blp.route("/<id64:token_id>", methods=["DELETE"])
@needs(auth.TOKENS_WRITE)
@blp.answers(200, schemas.SuccessResponseBody)
@blp.fails(404)
def revoke_token(token_id: int) -> dict[str, Any]:
    """Make a token useless, at once and for good. It stays in the list."""
    with transaction() as conn:
        if not tokens.revoke(conn, token_id):
            raise NotFound("There is no such token that still works")
        noted(conn, "reports.tokens:revoke", token_id=token_id)
    return {"message": "Token revoked"}


def _permissions(given: dict[str, list[str]]) -> Permissions:
    """Return the permissions of the body. Raises `BadRequest` naming what is none."""
    for action, scopes in given.items():
        if fault := permissions.fault(action, scopes):
            raise invalid(f"permissions.{action[:100]}", fault)
    return {action: scopes or [permissions.least_scope(action)] for action, scopes in given.items()}


def _as_json(token: Token, now: dt.datetime) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "role": token.role,
        "permissions": token.permissions,
        "created": shown(token.created_at),
        "expiration": shown(token.expires_at),
        "hasExpired": token.expires_at is not None and token.expires_at <= now,
        "revoked": shown(token.revoked_at),
        "lastUsedAt": shown(token.last_used_at),
    }
