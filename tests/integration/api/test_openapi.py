"""The description of the API, and the page that shows it."""

from __future__ import annotations

import re
import tomllib

import pytest
from flask import Flask

#: What a mail links to: its reader has no token.
LINK = "/api/reports/documents/{document_id}"
METHODS = {"get", "post", "put", "delete"}


@pytest.fixture
def document(caller):
    return caller(None)("GET", "/api/openapi.json")[1]


def operations(document):
    return {
        (method, path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


def test_every_route_is_described(app: Flask, document):
    routes = {
        (method.lower(), re.sub(r"<(?:id64:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.rule not in ("/api/openapi.json", "/api/docs", "/api/docs/<name>")
        for method in rule.methods - {"HEAD"}
    }
    assert set(operations(document)) == routes
    assert document["openapi"] == "3.1.0"


def test_every_operation_has_a_name_a_summary_its_security_and_its_errors(document):
    found = operations(document)
    assert len({operation["operationId"] for operation in found.values()}) == len(found)
    for (_, path), operation in found.items():
        assert operation["summary"]
        assert {"400", "500", "503"} <= set(operation["responses"])
        if path == LINK:
            assert operation["security"] == []
            assert operation["x-permission"] == "the signature in the address"
        elif path.startswith("/api/reports"):
            assert operation["security"] == [{"token": []}, {"user": []}]
            assert operation["x-permission"]
            assert "401" in operation["responses"]
        if "requestBody" in operation:
            assert "413" in operation["responses"]


def test_every_description_says_who_may_ask(document):
    found = operations(document)
    for (_, path), operation in found.items():
        if path.startswith("/api/reports") and path != LINK:
            assert f"Permission: {operation['x-permission']}." in operation["description"]
    for path in ("/api/reports/render/pdfs", "/api/reports/render/csvs"):
        assert "available to all users" in found["get", path]["description"]
        assert found["get", path]["x-permission"].endswith("tokens with reports:render")
    run = found["get", "/api/reports/runs/{run_id}"]
    assert run["x-permission"] == "reports:read, or to have asked for this run"


def test_what_starts_a_run_takes_an_idempotency_key(document):
    assert {
        path
        for path, item in document["paths"].items()
        if "Idempotency-Key" in [parameter["name"] for parameter in item.get("parameters", [])]
    } == {
        "/api/reports/email",
        "/api/reports/test-email",
        "/api/reports/render/pdfs",
        "/api/reports/render/csvs",
    }


def test_it_names_the_version_of_this_checkout(document, checkout):
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    assert document["info"]["version"] == project["version"]


def test_errors_are_described_in_grafanas_shape(document):
    schemas = document["components"]["schemas"]
    assert schemas["ErrorResponseBody"]["required"] == ["message"]
    names = {"Report", "CreateOrUpdateReport", "ReportSchedule", "ReportOptions", "ReportEmail"}
    assert names <= set(schemas)
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


def test_the_page_needs_nothing_from_elsewhere(caller):
    somebody = caller(None)
    page = somebody.ask("GET", "/api/docs")
    assert page.mimetype == "text/html"
    assert "default-src 'none'; script-src 'self'" in page.headers["Content-Security-Policy"]
    needed = re.findall(r'(?:src|href)="(docs/[^"]+)"', page.text)
    assert len(needed) == 3
    for address in needed:
        answer = somebody.ask("GET", f"/api/{address}")
        assert answer.status_code == 200
        assert answer.mimetype in ("text/javascript", "text/css")
        answer.close()
    assert "http" not in page.text.replace("http-equiv", "")
    page.close()


def test_only_the_pages_own_files_are_served(caller):
    for name in ("docs.html", "LICENSE", "..%2Fapp.py", "index.html"):
        assert caller(None)("GET", f"/api/docs/{name}")[0] == 404
