"""The Grafana that is captured: the stand-in with dashboards made for this, or a given one.

The stand-in runs in a process of its own, as a Grafana would: what it works must not slow down
the event loop of the ways that are measured.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import httpx

from deploy.local.grafana.app import Frontend
from deploy.local.grafana.server import StandIn
from shared.grafana import client_arguments
from shared.settings import Settings
from workers.capture import prepare

DASHBOARDS = ("bench8", "bench24", "bench60", "slow24")
START_TIMEOUT = 60.0
#: What any query takes, and what those of the slow dashboard take, in milliseconds.
FAST = 20
SLOW = (1000, 1250, 1500, 1750, 2000, 2250, 2500, 2750, 3000)

processes = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard: the ids of its panels and the height its grid will need."""

    uid: str
    panels: tuple[int, ...]
    height: int


@dataclass(frozen=True, slots=True)
class Target:
    """A Grafana, how to get in, and what to capture there."""

    name: str
    url: str
    token: str
    is_stand_in: bool
    dashboards: tuple[Dashboard, ...]

    def solo_path(self, dashboard: Dashboard, panel: int) -> str:
        """Return the path and the begun query of one panel alone.

        The stand-in has no `/d-solo`, but a dashboard of each panel alone, which costs the same:
        one page load and one query.
        """
        if self.is_stand_in:
            return f"/d/{_alone(dashboard.uid, panel)}/_?kiosk=1"
        return f"/d-solo/{dashboard.uid}/_?panelId={panel}"


@contextlib.contextmanager
def stand_in(frontend: Frontend) -> Iterator[Target]:
    """Run the stand-in for as long as the block lasts, or this process lives."""
    here, there = processes.Pipe()
    process = processes.Process(target=_serve, args=(frontend, there), name="stand-in", daemon=True)
    process.start()
    there.close()
    try:
        if not here.poll(START_TIMEOUT):
            raise SystemExit(f"The stand-in did not start within {START_TIMEOUT:g} s.")
        url, token, name = here.recv()
        found = _dashboards(url, token, DASHBOARDS)
        yield Target(name, url, token, is_stand_in=True, dashboards=found)
    finally:
        here.close()
        process.join(START_TIMEOUT)
        process.kill()


def given(url: str, token: str, uids: Sequence[str]) -> Target:
    """Return the Grafana at `url`; it must have a dashboard with each of these uids."""
    with _client(url, token) as grafana:
        version = grafana.get("/api/health").raise_for_status().json().get("version", "?")
    found = _dashboards(url, token, uids)
    return Target(f"Grafana {version}", url, token, is_stand_in=False, dashboards=found)


def _serve(frontend: Frontend, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the bench, which then ends this
    with StandIn(frontend, sanitizes=True) as grafana:  # as Grafana does unless told otherwise
        for model in _models():
            grafana.add_dashboard(model)
        pipe.send((grafana.url, grafana.token, f"stand-in {grafana.version}, {frontend}"))
        # The bench never writes: this returns when its end is closed, however it came to that.
        with contextlib.suppress(EOFError):
            pipe.recv()
    os._exit(0)  # not waiting for threads that answer slow queries of a page that is gone


def _client(url: str, token: str) -> httpx.Client:
    settings = Settings(grafana_url=url, grafana_token=token)
    return httpx.Client(base_url=url, **client_arguments(settings, timeout=30))


def _dashboards(url: str, token: str, uids: Sequence[str]) -> tuple[Dashboard, ...]:
    with _client(url, token) as grafana:
        return tuple(_dashboard(grafana, uid) for uid in uids)


def _dashboard(grafana: httpx.Client, uid: str) -> Dashboard:
    answer = grafana.get(f"/api/dashboards/uid/{uid}")
    if answer.status_code != 200:
        raise SystemExit(f"Grafana answered {answer.status_code} for the dashboard {uid}.")
    model = prepare.prepared(answer.json(), panel_rows=None)["dashboard"]
    panels = [panel["id"] for panel in model["panels"] if panel["type"] != "row"]
    return Dashboard(uid, tuple(panels), prepare.guessed_height(model))


# What the stand-in is given to show


def _models() -> Iterator[dict[str, Any]]:
    for count in (8, 24, 60):
        yield from _with_each_alone(f"bench{count}", [_panel(n, FAST) for n in range(1, count + 1)])
    waits = [SLOW[n * 7 % len(SLOW)] for n in range(24)]
    slow = [_panel(n, wait, kind="timeseries") for n, wait in enumerate(waits, 1)]
    yield from _with_each_alone("slow24", slow)


def _with_each_alone(uid: str, panels: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield _model(uid, panels)
    for panel in panels:
        at_the_top = panel | {"gridPos": {"x": 0, "y": 0, "w": 24, "h": 11}}
        yield _model(_alone(uid, panel["id"]), [at_the_top])


def _alone(uid: str, panel: int) -> str:
    return f"{uid}-panel-{panel}"


def _model(uid: str, panels: list[dict[str, Any]]) -> dict[str, Any]:
    time = {"from": "now-6h", "to": "now"}
    return {"uid": uid, "title": uid, "panels": panels, "time": time, "timezone": "browser"}


def _panel(number: int, milliseconds: int, *, kind: str = "") -> dict[str, Any]:
    """Return a panel of 8 columns and 7 rows; of four, two are time series."""
    kind = kind or ("timeseries", "stat", "timeseries", "table")[number % 4]
    series = [
        {"name": name, "base": base + number, "swing": 12, "noise": 4}
        for name, base in (("east", 40), ("west", 60), ("north", 90))
    ]
    orders = {"refId": "A", "scenarioId": "orders", "count": 20, "delayMs": milliseconds}
    wave = {"refId": "A", "scenarioId": "wave", "series": series, "delayMs": milliseconds}
    return {
        "id": number,
        "type": kind,
        "title": f"Panel {number}",
        "gridPos": {"x": (number - 1) % 3 * 8, "y": (number - 1) // 3 * 7, "w": 8, "h": 7},
        "datasource": {"type": "standin-data", "uid": "demo"},
        "targets": [orders if kind == "table" else wave],
        "fieldConfig": {"defaults": {"custom": {"fillOpacity": 12}}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}},
    }
