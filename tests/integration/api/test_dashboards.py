"""Grafana's dashboards: they ask for what there is, and their role may read that and no more."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from shared import db
from tests.integration.api.in_use import told, unknown

READER = "broadsheet_reader"
#: What Grafana puts in the place of its macros and of our variable.
FILLED_IN = {
    "$__timeFrom()": "now() - interval '1 day'",
    "$__timeTo()": "now()",
    "$org": "0",
}


@pytest.fixture
def folder(checkout: Path) -> Path:
    return checkout / "deploy" / "grafana"


@pytest.fixture
def dashboards(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        path.name: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.json"))
    }


@pytest.fixture
def reader(folder: Path, pool: db.Pool) -> Iterator[psycopg.Connection[Any]]:
    """The role as an operator makes it; twice, as after an upgrade."""
    with pool.connection() as conn:
        for _ in range(2):
            conn.execute((folder / "reader.sql").read_bytes())
    with pool.connection() as conn:
        conn.execute(f"SET ROLE {READER}")
        yield conn
        conn.rollback()
        conn.execute("RESET ROLE")


def targets(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in dashboard["panels"]:
        yield from panel.get("targets", [])


def queries(dashboard: dict[str, Any]) -> Iterator[str]:
    """Its SQL, as Grafana sends it."""
    found = [target["rawSql"] for target in targets(dashboard) if "rawSql" in target]
    found += [
        variable["query"]
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "query"
    ]
    for query in found:
        filled = query
        for macro, value in FILLED_IN.items():
            filled = filled.replace(macro, value)
        yield filled


def test_each_dashboard_has_a_name_of_its_own_and_lets_the_data_source_be_chosen(
    dashboards: dict[str, dict[str, Any]],
) -> None:
    assert set(dashboards) == {"reports.json", "queues.json", "captures.json", "details.json"}
    assert len({one["uid"] for one in dashboards.values()}) == len(dashboards)
    for name, dashboard in dashboards.items():
        chosen = {
            "${" + variable["name"] + "}": variable["query"]
            for variable in dashboard["templating"]["list"]
            if variable["type"] == "datasource"
        }
        panels = dashboard["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels), name
        for target in targets(dashboard):
            source = target["datasource"]
            assert chosen[source["uid"]] == source["type"], (name, target)


def test_dashboards_ask_for_metrics_that_there_are(
    dashboards: dict[str, dict[str, Any]], caller
) -> None:
    known = told(caller(None))
    asked = [
        (name, target["expr"])
        for name, dashboard in dashboards.items()
        for target in targets(dashboard)
        if "expr" in target
    ]
    assert len(asked) > 50
    assert [(name, one) for name, text in asked for one in unknown(text, known)] == []


def test_each_query_may_be_asked_by_the_role_that_reads(
    dashboards: dict[str, dict[str, Any]], reader: psycopg.Connection[Any]
) -> None:
    asked = [query for dashboard in dashboards.values() for query in queries(dashboard)]
    assert len(asked) > 10
    for query in asked:
        assert "$" not in query
        reader.execute(query.encode())


@pytest.mark.parametrize(
    "query",
    [
        "SELECT recipients FROM report",
        "SELECT spec FROM run",
        "SELECT recipient FROM delivery",
        "SELECT content FROM document",
        "SELECT hash FROM api_token",
        "SELECT value FROM secret",
        "SELECT body FROM report_settings",
        "UPDATE run SET state = 'sent'",
        "DELETE FROM report",
    ],
)
def test_the_role_that_reads_sees_no_more_and_changes_nothing(
    reader: psycopg.Connection[Any], query: str
) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute(query.encode())


def test_the_role_that_reads_sees_every_organisation(
    pool: db.Pool, reader: psycopg.Connection[Any]
) -> None:
    """Row-level security lets nobody see a row without a policy."""
    tables = {"report", "run", "run_capture", "capture", "delivery"}
    rows = reader.execute(
        "SELECT tablename FROM pg_policies WHERE %s = ANY(roles) AND qual = 'true'", [READER]
    )
    assert {next(iter(row.values())) for row in rows} == tables


def test_what_grafana_is_provisioned_with_fits_what_the_compose_file_mounts(
    checkout: Path, folder: Path
) -> None:
    compose = yaml.safe_load((checkout / "deploy/docker/compose.yml").read_text(encoding="utf-8"))
    service = compose["services"]["grafana"]
    mounted = {volume.split(":")[1] for volume in service["volumes"]}
    provisioned = folder / "provisioning"
    (boards,) = provisioned.glob("dashboards/*.yml")
    (sources,) = provisioned.glob("datasources/*.yml")
    (provider,) = yaml.safe_load(boards.read_text(encoding="utf-8"))["providers"]
    assert provider["options"]["path"] in mounted
    text = sources.read_text(encoding="utf-8")
    found = yaml.safe_load(text)["datasources"]
    assert {source["type"]: source.get("user") for source in found} == {
        "prometheus": None,
        "postgres": READER,
    }
    # A variable that is missing is empty, and Grafana says nothing.
    assert set(re.findall(r"\$(GRAFANA_\w+)", text)) <= set(service["environment"])
