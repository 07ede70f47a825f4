"""Paths of Grafana, with what differs from one to the next named instead of shown.

For traces, which count by them and must not show what a path may hold: names of labels, searches,
whatever a data source's proxy is asked for.
"""

from __future__ import annotations

import re

#: Paths that say all by themselves.
PLAIN = frozenset({
    "/", "/api/access-control/user/permissions", "/api/annotations", "/api/annotations/graphite",
    "/api/datasources", "/api/ds/query", "/api/frontend/settings", "/api/health", "/api/org",
    "/api/search", "/api/tsdb/query", "/api/user", "/api/user/orgs", "/bootdata", "/login",
})  # fmt: skip
#: The first that fits. What ends in `{path}` or has one is free text.
TEMPLATES = tuple(
    (re.compile(pattern), template)
    for pattern, template in (
        (r"/api/dashboards/uid/[^/]+", "/api/dashboards/uid/{uid}"),
        (r"/api/datasources/proxy/.+", "/api/datasources/proxy/{path}"),
        (r"/api/datasources/uid/[^/]+/resources/.+", "/api/datasources/uid/{uid}/resources/{path}"),
        (r"/api/datasources/[^/]+/resources/.+", "/api/datasources/{id}/resources/{path}"),
        (r"/api/plugins/[^/]+/resources/.+", "/api/plugins/{id}/resources/{path}"),
        (r"/api/plugins/[^/]+/settings", "/api/plugins/{id}/settings"),
        (r"/d/[^/]+(/[^/]*)?", "/d/{uid}/{slug}"),
        (r"/d-solo/[^/]+(/[^/]*)?", "/d-solo/{uid}/{slug}"),
        (
            r"/apis/dashboard\.grafana\.app/[^/]+/namespaces/[^/]+/dashboards/[^/]+",
            "/apis/dashboard.grafana.app/{version}/namespaces/{namespace}/dashboards/{uid}",
        ),
        (
            r"/apis/dashboard\.grafana\.app/[^/]+/namespaces/[^/]+/dashboards/[^/]+/dto",
            "/apis/dashboard.grafana.app/{version}/namespaces/{namespace}/dashboards/{uid}/dto",
        ),
        (
            r"/apis/query\.grafana\.app/[^/]+/namespaces/[^/]+/query",
            "/apis/query.grafana.app/{version}/namespaces/{namespace}/query",
        ),
        (r"/api/.*", "/api/{path}"),
        (r"/apis/.*", "/apis/{path}"),
        (r"/public/.*", "/public/{path}"),
    )
)


def template(path: str) -> str:
    """Return the path with the parts named that differ; of one that nobody knows, nothing else."""
    if path in PLAIN:
        return path
    return next((named for fits, named in TEMPLATES if fits.fullmatch(path)), "/{path}")


def shown(base: str, path: str) -> str:
    """Return the address without its query, and without what is free text in its path."""
    named = template(path)
    return base.rstrip("/") + (named if "{path}" in named else path)
