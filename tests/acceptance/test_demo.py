"""`make demo`: the first thing that anybody sees of Broadsheet."""

from __future__ import annotations

import subprocess
import sys
from email import message_from_bytes
from pathlib import Path

from deploy.local.grafana.server import StandIn
from tests.acceptance.harness import clean_environ


def demo(folder: Path, checkout: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.local", "demo", "--folder", str(folder)],
        cwd=checkout,
        env=clean_environ() | variables,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done


def test_the_demo_ends_with_a_pdf_a_mail_and_the_time_it_took(
    tmp_path: Path, checkout: Path
) -> None:
    done = demo(tmp_path, checkout)

    assert done.returncode == 0, done.stderr
    (pdf,) = (tmp_path / "demo").glob("*.pdf")
    assert pdf.read_bytes().startswith(b"%PDF-")
    (mail,) = (tmp_path / "demo").glob("*.eml")
    message = message_from_bytes(mail.read_bytes())
    for told in (str(pdf), str(mail), message["To"], message["Subject"], "Shop overview", "slot →"):
        assert told in done.stdout


def test_the_demo_uses_the_grafana_and_the_dashboards_it_is_told(
    tmp_path: Path, checkout: Path
) -> None:
    with StandIn("legacy") as grafana:
        settings = {
            "BROADSHEET_GRAFANA_URL": grafana.url,
            "BROADSHEET_GRAFANA_TOKEN": grafana.token,
        }
        done = demo(tmp_path, checkout, **settings, DEMO_DASHBOARDS="nowhere")

    assert f"Dashboards come from {grafana.url}." in done.stdout
    assert done.returncode == 1
    assert "Dashboard not found: nowhere" in done.stderr


def test_half_a_grafana_is_refused_before_anything_starts(tmp_path: Path, checkout: Path) -> None:
    done = demo(tmp_path, checkout, BROADSHEET_GRAFANA_URL="http://127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.strip() == "BROADSHEET_GRAFANA_TOKEN is not set."
