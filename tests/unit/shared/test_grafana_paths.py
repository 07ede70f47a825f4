"""Paths of Grafana in traces: counted by what they are for, showing nothing that was asked."""

from __future__ import annotations

import pytest

from shared import grafana_paths


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/api/ds/query", "/api/ds/query"),
        ("/api/dashboards/uid/shop", "/api/dashboards/uid/{uid}"),
        ("/d/shop/shop-overview", "/d/{uid}/{slug}"),
        ("/d/shop", "/d/{uid}/{slug}"),
        ("/api/datasources/proxy/1/api/v1/query", "/api/datasources/proxy/{path}"),
        (
            "/api/datasources/uid/prom/resources/api/v1/label/tenant/values",
            "/api/datasources/uid/{uid}/resources/{path}",
        ),
        (
            "/apis/query.grafana.app/v0alpha1/namespaces/default/query",
            "/apis/query.grafana.app/{version}/namespaces/{namespace}/query",
        ),
        ("/api/whatever/a-secret", "/api/{path}"),
        ("/a-secret", "/{path}"),
        ("", "/{path}"),
    ],
)
def test_what_differs_is_named(path: str, template: str) -> None:
    assert grafana_paths.template(path) == template


def test_an_address_shows_names_and_nothing_that_is_free_text() -> None:
    base = "http://grafana:3000/sub/"
    assert (
        grafana_paths.shown(base, "/api/dashboards/uid/shop")
        == "http://grafana:3000/sub/api/dashboards/uid/shop"
    )
    asked = "/api/datasources/proxy/1/select * from users"
    assert (
        grafana_paths.shown(base, asked) == "http://grafana:3000/sub/api/datasources/proxy/{path}"
    )
