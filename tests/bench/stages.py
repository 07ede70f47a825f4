"""How long each stage of a run takes: `python -m tests.bench.stages`, or `make bench`.

The report of the demo, sent again and again; the first run, which starts the browsers, is shown
apart. Figures of one machine: compare them with others of the same machine only.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from deploy.local.demo import LAPS, STAND_IN_DASHBOARDS
from deploy.local.stack import Stack

RUNS = 10


def main() -> None:
    """Run the report, and print a line per stage."""
    with tempfile.TemporaryDirectory() as logs, Stack(Path(logs)) as stack:
        client = httpx.Client(
            base_url=stack.api_url,
            headers={"Authorization": f"Bearer {stack.token}"},
            timeout=120,
        )
        with client as api:
            cold, *warm = [dict(_stages(run)) for run in _runs(api)]
    print(f"{'milliseconds':<28} {'cold':>8} {'median':>8} {'best':>8} {'worst':>8}")
    for stage in cold:
        values = [run[stage] for run in warm if stage in run]
        figures = (cold[stage], statistics.median(values), min(values), max(values))
        print(f"{stage:<28} " + " ".join(f"{figure:>8,.0f}" for figure in figures))


def _runs(api: httpx.Client) -> Iterator[Mapping[str, Any]]:
    body = {
        "name": "Bench",
        "recipients": "ada@example.com",
        "schedule": {"frequency": "never"},
        "formats": ["pdf", "csv"],
        "dashboards": [{"dashboard": {"uid": uid}} for uid in STAND_IN_DASHBOARDS],
    }
    report = api.post("/api/reports", json=body).raise_for_status().json()["id"]
    for _ in range(RUNS + 1):
        send = {"id": str(report), "useEmailsFromReport": True}
        api.post("/api/reports/email", json=send).raise_for_status()
        newest = api.get(f"/api/reports/{report}/runs").raise_for_status().json()[0]
        yield api.get(newest["href"]).raise_for_status().json()


def _stages(run: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    yield from run["stages"].items()
    for capture in run["captures"]:
        for stage in LAPS:
            if stage in capture["stages"]:
                yield f"{capture['dashboard']['uid']}: {stage}", capture["stages"][stage]


if __name__ == "__main__":
    main()
