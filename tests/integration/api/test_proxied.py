"""Whom the API believes about where it is reached, and by whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from api.app import create_app
from tests.integration.api.fakes import report_body

FORWARDED = {
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "grafana.example",
    "X-Forwarded-Prefix": "/grafana",
}
RUN = ("POST", "/api/reports/test-email", report_body())
NOT_WAITING = {"Prefer": "respond-async"}


@pytest.fixture
def proxies() -> int:
    return 1


@pytest.fixture
def app(settings, pool, bell, grafana, waiter, clock, proxies):
    trusting = replace(settings, trusted_proxies=proxies)
    return create_app(trusting, pool=pool, bell=bell, grafana=grafana, waiter=waiter, clock=clock)


@pytest.mark.parametrize(
    ("proxies", "prefix", "root"),
    [
        (0, "/grafana", ""),
        (1, "/grafana", "/grafana"),
        (1, "/evil,/grafana", "/grafana"),
        (2, "/grafana", ""),
        (2, "/grafana,/inner", "/grafana"),
        (1, "", ""),
    ],
)
def test_addresses_begin_with_what_a_trusted_proxy_says_and_nobody_else(admin, prefix, root):
    told = {**FORWARDED, "X-Forwarded-Prefix": prefix}
    answer = admin.ask(*RUN, headers={**told, **NOT_WAITING})
    run_id = answer.get_json()["runId"]
    address = f"{root}/api/reports/runs/{run_id}"
    assert answer.headers["Location"] == address
    assert answer.get_json()["message"].endswith(f"see {address}")
    assert admin("GET", f"/api/reports/runs/{run_id}", headers=told)[1]["href"] == address
    document = admin("GET", "/api/openapi.json", headers=told)[1]
    assert document.get("servers") == ([{"url": root}] if root else None)


@pytest.mark.parametrize(("proxies", "client"), [(0, "127.0.0.1"), (1, "203.0.113.7")])
def test_lines_of_the_log_name_the_client(admin, caplog, client):
    assert admin("POST", "/api/reports", report_body(), headers=FORWARDED)[0] == 200
    lines = [record.msg for record in caplog.records if "reports:create" in str(record.msg)]
    assert [line["client"] for line in lines] == [client]
