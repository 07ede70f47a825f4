"""Looked at with what people have who run Celery and Prometheus: all of it real."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local import processes, services, tools
from deploy.local.processes import Process
from deploy.local.stack import CHECKOUT, LOOPBACK, QUIET_WORKER
from shared import queue
from tests.acceptance.harness import Service, eventually, serving

KINDS = {"broadsheet.render", "broadsheet.assemble", "broadsheet.deliver"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("stack"), LOG_FORMAT="json") as service:
        yield service


@pytest.fixture(scope="module")
def metrics_port() -> int:
    return services.free_port()


@pytest.fixture(scope="module")
def worker(service: Service, metrics_port: int) -> Iterator[str]:
    """The only worker that is left, for both queues; it tells Prometheus of itself."""
    environ = {"BROADSHEET_METRICS_PORT": str(metrics_port)}
    command = f"{QUIET_WORKER} -Q render,deliver -n watched@%h -c 1"
    process = _start(service, "watched", command, environ)
    try:
        process.wait_for_words(" ready.")
        for name in ("render", "deliver"):
            service.stack.kill(name)
        yield re.search(r"watched@[\w.-]+", process.said())[0]
    finally:
        processes.stop([process])


@pytest.fixture(scope="module")
def flower(service: Service, worker: str) -> Iterator[httpx.Client]:
    """Flower's API, once it knows the worker and has asked it for events."""
    port = services.free_port()
    process = _start(
        service,
        "flower",
        f"celery -A workers.app flower --address={LOOPBACK} --port={port}",
        {"FLOWER_UNAUTHENTICATED_API": "true"},
    )
    try:
        with httpx.Client(base_url=f"http://{LOOPBACK}:{port}", timeout=30) as client:
            eventually(lambda: _answers(client), within=60, what="Flower answers")
            log = service.stack.logs / "watched.log"
            eventually(
                lambda: "Events of group {task} enabled" in log.read_text(),
                within=60,
                what="Flower has events sent",
            )
            yield client
    finally:
        processes.stop([process])


def _start(service: Service, name: str, command: str, environ: dict[str, str]) -> Process:
    return processes.start(
        name,
        [sys.executable, "-m", *command.split()],
        log=service.stack.logs / f"{name}.log",
        environ=service.stack.environ | environ,
        cwd=CHECKOUT,
    )


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/api/workers").is_success
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def run(service: Service, flower: httpx.Client) -> dict[str, Any]:
    """A run that was sent while Flower looked on."""
    ended = service.ended(service.create("Watched", "small"))
    assert ended["state"] == "sent"
    return ended


def test_flower_shows_workers_and_tasks_by_what_they_are_about(
    flower: httpx.Client, worker: str, run: dict[str, Any]
) -> None:
    there = flower.get("/api/workers", params={"refresh": "1"}).json()
    assert set(there[worker]["registered"]) == KINDS
    heard = {one["name"] for one in there[worker]["active_queues"]}
    assert heard == {*queue.RESERVED, *queue.RESERVED.values()}

    def done() -> list[dict[str, Any]] | None:
        tasks = flower.get("/api/tasks").json().values()
        ours = [task for task in tasks if task["state"] == "SUCCESS"]
        return ours if {task["name"] for task in ours} == KINDS else None

    tasks = eventually(done, within=30, what="Flower shows all three tasks")
    assert {task["worker"] for task in tasks} == {worker}
    said = {task["name"]: task["args"] for task in tasks}
    assert re.fullmatch(r"\d+ \(capture \d+\)", said["broadsheet.render"])
    assert said["broadsheet.assemble"].endswith(f" (run {run['id']})")
    assert f" (run {run['id']}, delivery " in said["broadsheet.deliver"]


def test_celery_inspect_finds_the_workers(service: Service, worker: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "workers.app", "inspect", "registered", "--json"],
        cwd=CHECKOUT,
        env=service.stack.environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert set(json.loads(done.stdout)[worker]) == KINDS


def test_metrics_are_told_as_prometheus_wants_them_also_where_flower_is_installed(
    service: Service, metrics_port: int, run: dict[str, Any]
) -> None:
    worker = httpx.get(f"http://{LOOPBACK}:{metrics_port}/metrics", timeout=30).text
    api = service.api.get("/metrics").text
    # Of the worker's children, counted in files that the worker adds up.
    assert 'broadsheet_task_seconds_count{kind="render"} 1.0' in worker
    assert 'broadsheet_mails_total{outcome="sent"} 1.0' in worker
    assert float(re.search(r"browser_memory_bytes (\d\S+)", worker)[1]) > 1e6
    for line in (
        'runs_total{kind="schedule",state="sent"} 1.0',
        'captures_total{outcome="complete"} 1.0',
        'deliveries_total{state="sent"} 1.0',
        'slots_claimed_total{state="queued"} 1.0',
        'run_duration_seconds_count{lane="scheduled"} 1.0',
    ):
        assert f"broadsheet_{line}\n" in api
    for text in (worker, api):
        done = subprocess.run(
            [tools.find(tools.PROMTOOL), "check", "metrics"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ["api", "beat", "watched"])
def test_each_line_of_the_log_is_an_object(
    service: Service, run: dict[str, Any], name: str
) -> None:
    lines = _lines(service.stack.logs / f"{name}.log")
    assert lines
    assert all({"event", "process", "level", "timestamp"} <= line.keys() for line in lines)


def test_each_line_about_a_run_says_which_whose_and_at_what_attempt(
    service: Service, run: dict[str, Any]
) -> None:
    about = {"run_id": run["id"], "report_id": run["reportId"], "org_id": 1, "attempt": 1}
    lines = [
        line
        for line in _lines(service.stack.logs / "watched.log")
        if line["logger"].startswith(("workers.", "celery.app.trace", "celery.worker.strategy"))
    ]
    told = {line["event"] for line in lines}
    assert told >= {"browser.launched", "capture.done", "run.assembled", "delivery.ended"}
    for line in lines:
        assert {name: line.get(name) for name in about} == about, line


def _lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
