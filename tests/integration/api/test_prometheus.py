"""Alert rules: they fire where they should, on metrics that there are, and say what to do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.local import tools
from tests.integration.api.in_use import told, unknown


@pytest.fixture
def folder(checkout: Path) -> Path:
    return checkout / "deploy" / "prometheus"


@pytest.mark.parametrize("command", ["check rules alerts.yml", "test rules alerts.test.yml"])
def test_the_rules_are_rules_and_fire_where_they_should(folder: Path, command: str) -> None:
    done = subprocess.run(
        [tools.find(tools.PROMTOOL), *command.split()],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_scraped_is_a_configuration(folder: Path) -> None:
    command = [tools.find(tools.PROMTOOL), "check", "config", "prometheus.yml"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_says_what_to_do_and_is_tried(folder: Path) -> None:
    runbook = (folder / "RUNBOOK.md").read_text(encoding="utf-8")
    rules = yaml.safe_load((folder / "alerts.yml").read_text(encoding="utf-8"))
    tried = yaml.safe_load((folder / "alerts.test.yml").read_text(encoding="utf-8"))
    firing = {
        one["alertname"]
        for test in tried["tests"]
        for one in test["alert_rule_test"]
        if one.get("exp_alerts")
    }
    names = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    assert set(names) == firing
    for group in rules["groups"]:
        for rule in group["rules"]:
            name = rule["alert"]
            assert rule["annotations"]["runbook"].startswith(f"RUNBOOK.md#{name.lower()}: ")
            assert f"## {name}\n" in runbook


def test_alerts_stand_on_metrics_that_there_are(folder: Path, caller) -> None:
    known = told(caller(None))
    rules = yaml.safe_load((folder / "alerts.yml").read_text(encoding="utf-8"))
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    assert [one for expression in expressions for one in unknown(expression, known)] == []
