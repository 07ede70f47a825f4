"""The OpenAPI document at `/api/openapi.json`, and a page to browse it at `/api/docs`.

The page's own files stand in `static/`; Swagger UI comes from a package, not from the internet.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib import resources
from pathlib import Path

import flask
import flask_smorest
from werkzeug.routing import BaseConverter

from api import schemas
from api.auth import public
from api.blueprint import Blueprint
from api.fields import INT64

#: Swagger UI writes style attributes; its pictures are data: addresses.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
VERSION = "0.1.0"
BEARER = "A token of Broadsheet, or of a service account of Grafana."
BASIC = "Name and password of a user of Grafana; X-Grafana-Org-Id chooses among his organisations."
#: flask-smorest's own route, which declares nothing.
DOCUMENT = "api-docs.openapi_json"
SWAGGER_UI = ("swagger-ui-bundle.js", "swagger-ui.css")
OWN_FILES = ("docs.js",)


class Api(flask_smorest.Api):  # type: ignore[misc]  # flask-smorest has no types
    """flask-smorest's collector of documentation, leaving errors to `api.errors`."""

    ERROR_SCHEMA = schemas.ErrorResponseBody
    DEFAULT_ERROR_RESPONSE_NAME = None

    def _register_error_handlers(self) -> None:
        pass

    def _openapi_json(self) -> flask.Response:
        """Serve the document, saying where the API is reached if a proxy has it below a path."""
        document = self.spec.to_dict()
        if root := flask.request.script_root:
            document["servers"] = [{"url": root}]
        return flask.jsonify(document)

    def _register_pagination_header(self) -> None:
        """Leave out what describes flask-smorest's own paging, which we do not use."""


def register(app: flask.Flask, blueprints: Sequence[Blueprint], id64: type[BaseConverter]) -> None:
    """Add the blueprints to the app and to its OpenAPI document."""
    app.config.update(
        API_TITLE="Broadsheet",
        API_VERSION=VERSION,
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/api",
        OPENAPI_JSON_PATH="openapi.json",
    )
    api = Api(
        app,
        spec_kwargs={
            "info": {
                "description": (
                    "The Reporting API of Grafana Enterprise, spoken by Broadsheet; and what "
                    "Broadsheet adds: runs, documents, previews of schedules."
                )
            }
        },
    )
    api.register_converter(
        id64,
        lambda _: {"type": "integer", "format": "int64", "minimum": 1, "maximum": INT64},
    )
    schemes = api.spec.components
    schemes.security_scheme("token", {"type": "http", "scheme": "bearer", "description": BEARER})
    schemes.security_scheme("user", {"type": "http", "scheme": "basic", "description": BASIC})
    for blueprint in blueprints:
        api.register_blueprint(blueprint)
    app.register_blueprint(_page())
    # A bound method takes no mark, so it is wrapped.
    app.view_functions[DOCUMENT] = public(partial(app.view_functions[DOCUMENT]))


def _page() -> flask.Blueprint:
    page = flask.Blueprint("docs", __name__)
    own = Path(__file__).parent / "static"

    @page.get("/api/docs")
    @public
    def docs() -> flask.Response:
        response = flask.send_from_directory(own, "docs.html")
        response.headers["Content-Security-Policy"] = PAGE_POLICY
        return response

    @page.get("/api/docs/<name>")
    @public
    def docs_file(name: str) -> flask.Response:
        if name in OWN_FILES:
            return flask.send_from_directory(own, name)
        if name not in SWAGGER_UI:
            flask.abort(404)
        with resources.as_file(resources.files("flask_swagger_ui") / "dist") as dist:
            return flask.send_from_directory(dist, name)

    return page
