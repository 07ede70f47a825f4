"""What `/metrics` takes at a million reports and a history in proportion.

A real API process is asked over HTTP, as Prometheus does. The history is of one dashboard and two
mails per run; a part of the runs waits, is under way, or was missed, as after a bad hour.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from deploy.local import processes, services
from deploy.local.stack import CHECKOUT, COMMANDS, LOOPBACK
from shared import backlog, db, tally
from tests.bench import ground as grounds
from tests.bench.ground import Ground

#: What must not be exceeded, in milliseconds: the median of what an API process takes to answer.
MOST = 50.0

#: One run in a hundred waits for its turn, one is under way, one was missed, the rest is history.
RUNS = """
INSERT INTO run (org_id, report_id, kind, scheduled_for, state, cause, spec, mail, admitted_at,
    not_before, started_at, rendered_at, finished_at)
SELECT report.org_id, report.id, 'schedule', at, made.state,
    CASE WHEN made.state = 'missed' THEN 'c' END, '{"name": "r"}', '{}',
    CASE WHEN made.state <> 'queued' THEN at END, at,
    CASE WHEN made.state <> 'queued' THEN at END,
    CASE WHEN made.state NOT IN ('queued', 'rendering', 'missed') THEN at END,
    CASE WHEN made.state IN ('sent', 'missed') THEN at + interval '20 s' END
  FROM (SELECT n, now() - n * interval '20 s' AS at,
               CASE n %% 100 WHEN 0 THEN 'queued' WHEN 1 THEN 'delivering' WHEN 2 THEN 'missed'
                   ELSE 'sent' END AS state
          FROM generate_series(1, %(runs)s) AS n) AS made
  JOIN report ON report.id = 1 + made.n * 7
"""
CAPTURES = """
INSERT INTO capture (org_id, key, spec, state, verdict)
SELECT org_id, 'k' || id, '{"dashboard": {"uid": "a"}}', 'done', '{"complete": true}'
  FROM run WHERE started_at IS NOT NULL ORDER BY id
"""
LINKS = """
INSERT INTO run_capture (run_id, position, capture_id)
SELECT run.id, 0, capture.id FROM run JOIN capture ON capture.key = 'k' || run.id
"""
DOCUMENTS = """
INSERT INTO document (run_id, kind, name, media_type, size, sha256, content)
SELECT id, 'pdf', 'r.pdf', 'application/pdf', 2000, 'x', decode(repeat('ab', 2000), 'hex')
  FROM run WHERE rendered_at IS NOT NULL
"""
DELIVERIES = """
INSERT INTO delivery (run_id, recipient, state, attempts, message_id, cause, finished_at, since)
SELECT id, who || '@example.com',
       CASE WHEN state = 'sent' THEN CASE WHEN id %% 1000 = 7 THEN 'unknown' ELSE 'sent' END
            ELSE 'retry' END,
       1, '<' || id || who || '>',
       CASE WHEN state = 'sent' AND id %% 1000 <> 7 THEN NULL ELSE 'c' END, finished_at,
       rendered_at
  FROM run, unnest(ARRAY['ada', 'bob']) AS who WHERE rendered_at IS NOT NULL
"""
TASKS = """
INSERT INTO task (kind, run_id, delivery_id, lane)
SELECT 'deliver', run_id, id, 'scheduled' FROM delivery WHERE state = 'retry'
"""
#: What has happened since a beat folded last: a minute of a busy service.
NOTCHES = """
INSERT INTO notch (name, kind, state, seconds)
SELECT CASE n %% 4 WHEN 0 THEN 'run_lag' WHEN 1 THEN 'runs' WHEN 2 THEN 'deliveries'
           ELSE 'captures' END,
       CASE n %% 4 WHEN 0 THEN 'schedule' WHEN 1 THEN 'schedule' ELSE '' END,
       CASE n %% 4 WHEN 0 THEN '' WHEN 3 THEN 'complete' ELSE 'sent' END,
       CASE n %% 4 WHEN 0 THEN n %% 50 END
  FROM generate_series(1, %(notches)s) AS n
"""


def add_options(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument("--reports", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--notches", type=int, default=4_000, help="not folded yet")
    parser.add_argument("--asked", type=int, default=60, help="how often /metrics is asked")
    parser.add_argument("--explain", action="store_true", help="print plans of the queries")


def run(options: argparse.Namespace) -> bool:
    """Print what an answer takes; return whether the median is as fast as it must be."""
    with grounds.ground() as ground:
        grounds.fill(ground.postgres_url, options.reports)
        _fill(ground, options)
        if options.explain:
            _explain(ground)
        with _api(ground) as url, httpx.Client(base_url=url, timeout=30) as client:
            took = sorted(_ask(client) for _ in range(options.asked))
            process = _process_time(client)
    median, p95 = statistics.median(took), took[int(len(took) * 0.95)]
    print(
        f"/metrics at {options.reports:,} reports, {options.runs:,} runs, "
        f"{options.notches:,} notches: median {median:.1f} ms, 95 % {p95:.1f} ms, "
        f"slowest {took[-1]:.1f} ms; by the API's own clock {process:.1f} ms on average "
        f"(must: median below {MOST:g})"
    )
    return median < MOST


def _fill(ground: Ground, options: argparse.Namespace) -> None:
    values = {"runs": min(options.runs, (options.reports - 1) // 7), "notches": options.notches}
    with grounds._patient(ground.postgres_url) as conn:
        conn.execute("SET session_replication_role = replica")
        for statement in (RUNS, CAPTURES, LINKS, DOCUMENTS, DELIVERIES, TASKS, NOTCHES):
            conn.execute(statement.encode(), values)
        conn.execute("UPDATE report SET next_run_at = now() - interval '1 s' WHERE id % 10000 = 0")
        conn.execute("VACUUM (ANALYZE)")
        conn.execute("CHECKPOINT")


def _explain(ground: Ground) -> None:
    queries = {
        name: value
        for name, value in vars(backlog).items()
        if name.isupper() and isinstance(value, str)
    }
    with db.connect(ground.postgres_url) as conn:
        for name, query in (*queries.items(), ("READ", tally.READ)):
            plan = conn.execute(
                f"EXPLAIN (ANALYZE, BUFFERS) {query}".encode(), {"bounds": list(tally.BOUNDS)}
            )
            print(f"-- {name}", *(row["QUERY PLAN"] for row in plan), sep="\n")


@contextmanager
def _api(ground: Ground) -> Iterator[str]:
    """An API process of its own; it needs no Grafana to tell how things are."""
    address = f"{LOOPBACK}:{services.free_port()}"
    command = COMMANDS["api"].format(address=address).split()
    environ = ground.environ | {
        "BROADSHEET_GRAFANA_URL": f"http://{LOOPBACK}:9",
        "BROADSHEET_GRAFANA_TOKEN": "none",
        # It says that nobody else is there, and so it is.
        "BROADSHEET_LOG_LEVEL": "ERROR",
    }
    with subprocess.Popen(
        [sys.executable, "-m", *command], cwd=CHECKOUT, env=environ, stderr=subprocess.DEVNULL
    ) as popen:
        try:
            deadline = time.monotonic() + 30
            while not _is_ready(f"http://{address}"):
                if popen.poll() is not None or time.monotonic() > deadline:
                    raise processes.ProcessFault("The API does not start.")
                time.sleep(0.1)
            yield f"http://{address}"
        finally:
            popen.terminate()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).is_success
    except httpx.TransportError:
        return False


def _ask(client: httpx.Client) -> float:
    began = time.monotonic()
    client.get("/metrics").raise_for_status()
    return (time.monotonic() - began) * 1000


def _process_time(client: httpx.Client) -> float:
    """The average that the API has measured of itself, in milliseconds."""
    found = {}
    for line in client.get("/metrics").text.splitlines():
        if line.startswith("broadsheet_api_request_seconds_") and 'route="/metrics"' in line:
            key, _, value = line.rpartition(" ")
            found[key.partition("{")[0].rpartition("_")[2]] = float(value)
    return 1000 * found["sum"] / found["count"]
