"""Claiming, side by side with other schedulers: `python -m tests.bench.schedule`, or
`make bench-schedule ARGS="--reports 1000 100000"`.

In one run, on one machine: claims per second and the cost of a tick at several sizes of the table,
ours and others'; how the cost of a tick grows with the table while as much is due; how long after
its slot a burst is stored and rung for; and the plan of the claim's query. What must be so fails
the bench (each slot one run, an index scan, no sort); figures are printed beside their targets.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import signal
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from beat.claim import BATCH
from deploy.local import processes
from deploy.local.stack import CHECKOUT, COMMANDS
from shared import db, reports, tasks
from tests.bench import ground as grounds
from tests.bench.ground import Ground

SIZES = (1_000, 100_000, 1_000_000)
#: Reports due at once where throughput is measured, or all of them where there are fewer.
RUSH = 100_000
#: Due in every table of the growth's table.
STEADY = 1_000
ROUNDS = 5
#: The best of so many counts: other work on the machine only ever takes away.
TRIES = 3
PEERS = ("celery", "redbeat", "django-celery-beat", "sqlalchemy-celery-beat")
FASTEST, LATEST = 15_000, 2.0
SECONDS_TO_START = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one scheduler at one size; None: not reached within the time."""

    name: str
    claims: float | None
    idle: float | None
    remark: str = ""


def main() -> None:
    """Measure everything that was asked for, and print a table for each question."""
    options = _options()
    # Ended from outside, it still stops the servers that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with grounds.ground() as ground:
        print(f"Postgres with fsync, {BATCH} reports per transaction; figures of this machine.")
        steady: dict[int, list[float]] = {}
        for number in options.reports:
            steady[number] = _at_size(ground, number, options)
        _print_growth(steady)
        _burst(ground, due=options.burst, among=max(options.among, options.burst))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure how reports are claimed.")
    parser.add_argument("--reports", type=int, nargs="+", default=SIZES, help="sizes of the table")
    parser.add_argument("--burst", type=int, default=10_000, help="due at once for the lag")
    parser.add_argument("--among", type=int, default=100_000, help="reports, for the lag")
    parser.add_argument("--limit", type=float, default=60, help="seconds for each other scheduler")
    parser.add_argument("--peers", nargs="*", default=PEERS, choices=PEERS, help="others to load")
    return parser.parse_args()


def _at_size(ground: Ground, number: int, options: argparse.Namespace) -> list[float]:
    """Print the table of one size; return the seconds of ticks with `STEADY` reports due."""
    due = min(number, RUSH)
    print(f"\n{number:,} reports, {due:,} of them due")
    print(f"{'':<34} {'claims/s':>9} {'idle tick ms':>13}")
    grounds.fill(ground.postgres_url, number)
    plan = _plan(ground, due)
    idle = statistics.median(_beats(ground, "idle", 1)[0]["took"])
    for mode, beats, cost in (("claim", 1, None), ("tick", 1, idle), ("claim", 2, None)):
        tried = [_claimed(ground, mode, beats, due, cost) for _ in range(TRIES)]
        two = max(tried, key=lambda line: line.claims or 0)
        _print(two)
    rounds = [
        _beats(ground, "tick", 1, due=min(number, STEADY))[0]["took"][0] for _ in range(ROUNDS)
    ]
    for name in options.peers:
        _print(_peer(ground, name, number, due, options.limit))
    _print_target(f"two beats at {number:,}", two.claims or 0, FASTEST, "claims per second")
    print(plan)
    return rounds


def _print(line: Figures) -> None:
    claims = "-" if line.claims is None else f"{line.claims:,.0f}"
    idle = "-" if line.idle is None else f"{line.idle * 1000:,.1f}"
    print(f"{line.name:<34} {claims:>9} {idle:>13}  {line.remark}", flush=True)


def _centiles(values: Sequence[float]) -> tuple[float, float]:
    """Return p50 and p99."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return ordered[last // 2], ordered[round(last * 0.99)]


def _print_target(
    what: str, value: float, target: float, unit: str, *, below: bool = False
) -> None:
    reached = value <= target if below else value >= target
    verdict = "reached" if reached else "NOT REACHED"
    print(f"target, {what}: {target:,g} {unit}: {verdict} ({value:,.2f})")


# -- ours -----------------------------------------------------------------------------------


def _claimed(ground: Ground, mode: str, beats: int, due: int, idle: float | None) -> Figures:
    """Have `beats` processes claim what is due; stop the bench if a slot is lost or doubled."""
    told = _beats(ground, mode, beats, due=due)
    seconds = max(one["seconds"] for one in told)
    with db.connect(ground.postgres_url) as conn:
        row = conn.execute(
            "SELECT count(*) AS runs, count(DISTINCT report_id) AS reports FROM run"
        ).fetchone()
    if row is None or (row["runs"], row["reports"]) != (due, due):
        raise SystemExit(f"{due} slots were due, and these are their runs: {row}")
    p50, p99 = _centiles([took for one in told for took in one["took"]])
    cpu = sum(one["cpu"] for one in told)
    step = "claim step" if mode == "claim" else "whole tick"
    return Figures(
        name=f"Broadsheet, {step}, {beats} beat" + "s" * (beats > 1),
        claims=due / seconds,
        idle=idle,
        remark=f"p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms each; "
        f"{cpu / due * 1e6:.0f} µs of Python per claim",
    )


def _beats(ground: Ground, mode: str, number: int, *, due: int = 0) -> list[dict[str, Any]]:
    """Run beats that begin at once, when `due` reports are due; return what each of them told."""
    command = [sys.executable, "-m", "tests.bench.claimer", mode]
    beats = [
        subprocess.Popen(
            command,
            cwd=CHECKOUT,
            env=ground.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(number)
    ]
    try:
        for beat in beats:
            _line(beat, "ready")
        if due:
            grounds.arm(ground.postgres_url, due)
        for beat in beats:
            assert beat.stdin
            beat.stdin.write("go\n")
            beat.stdin.flush()
        return [json.loads(_line(beat, "{")) for beat in beats]
    finally:
        for beat in beats:
            beat.kill()
            beat.communicate()


def _line(beat: subprocess.Popen[str], start: str) -> str:
    """Return the next line that begins so; what a beat logs goes by."""
    assert beat.stdout
    for line in beat.stdout:
        if line.startswith(start) and not line.startswith('{"event"'):
            with suppress(ValueError):
                if start != "{" or "took" in json.loads(line):
                    return line
    raise SystemExit("A beat of the bench ended by itself; its words are above.")


def _plan(ground: Ground, due: int) -> str:
    """Return the plan of the claim's query as text, having asserted what it must be."""
    grounds.arm(ground.postgres_url, due)
    explain = "EXPLAIN (ANALYZE, BUFFERS, FORMAT {}) " + reports.DUE
    with db.connect(ground.postgres_url) as conn:
        row = conn.execute(explain.format("JSON"), [BATCH]).fetchone()
        assert row
        nodes = list(_nodes(row["QUERY PLAN"][0]["Plan"]))
        lines = [r["QUERY PLAN"] for r in conn.execute(explain.format("TEXT"), [BATCH])]
        conn.rollback()
    scans = {(node["Node Type"], node.get("Index Name")) for node in nodes}
    if ("Index Scan", "report_due") not in scans or any("Sort" in kind for kind, _ in scans):
        raise SystemExit("The claim is no index scan without a sort:\n" + "\n".join(lines))
    kept = [line for line in lines if "->" in line or "Limit" in line or "Time" in line]
    return "\n".join(f"    {line.strip()}" for line in kept)


def _nodes(plan: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", ()) for node in _nodes(child))]


def _print_growth(steady: Mapping[int, Sequence[float]]) -> None:
    print(f"\na whole tick with {STEADY:,} reports due ({ROUNDS} rounds)")
    print(f"{'reports':>12} {'median ms':>10} {'best ms':>10}")
    for number, rounds in steady.items():
        median, best = statistics.median(rounds) * 1000, min(rounds) * 1000
        print(f"{number:>12,} {median:>10,.0f} {best:>10,.0f}")
    medians = [min(rounds) for rounds in steady.values()]
    if len(medians) > 1:
        growth = medians[-1] / medians[0]
        _print_target("growth of the tick", growth, 1.5, "times the smallest's best", below=True)


# -- others ---------------------------------------------------------------------------------


def _peer(ground: Ground, name: str, number: int, due: int, limit: float) -> Figures:
    """Measure another scheduler in a process of its own, for so many seconds at most."""
    command = [sys.executable, "-m", "tests.bench.peers", name, str(number), str(due)]
    command += [str(limit / 4), ground.postgres_url, ground.redis_url]
    remark = ""
    try:
        ended = subprocess.run(
            command, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=limit
        )
        said = ended.stdout
        if ended.returncode:
            remark = (ended.stderr.strip().splitlines() or ["it ended by itself"])[-1][:80]
    except subprocess.TimeoutExpired as exc:
        said = exc.stdout.decode() if isinstance(exc.stdout, bytes) else exc.stdout or ""
        remark = f"cut off after {limit:.0f} s"
    if "No module named" in remark:
        return Figures(name=name, claims=None, idle=None, remark="not installed")
    told: dict[str, Any] = {}
    for line in said.splitlines():
        told |= json.loads(line)
    name = f"{name} {told.get('version', '')}"
    claims = told["claims"] / told["seconds"] if "claims" in told else None
    if "load" in told and told["load"] > 0.5:
        remark = f"first tick {told['load']:.1f} s. {remark}"
    if claims is not None and told["claims"] < told["due"] - 1:
        remark = f"{told['claims']:,} in {told['seconds']:.0f} s. {remark}"
    if "due" in told and told["due"] < due:
        remark = f"{told['due']:,} due. {remark}"
    return Figures(name=name, claims=claims, idle=told.get("idle"), remark=remark)


# -- the lag of a burst ---------------------------------------------------------------------

#: A row can be seen from its commit on, and the commit's time is the truth about that. Runs that
#: have begun since were written again, so the few of the first window are left out.
STORED = """
SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin) - %s)::float8 AS lag FROM run
 WHERE admitted_at IS NULL
"""
RUNG = """
SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin) - %s)::float8 AS lag FROM task
 WHERE rings > 0
"""


def _burst(ground: Ground, *, due: int, among: int) -> None:
    """Have two real beats meet a burst; print how long after their slot its runs are stored."""
    grounds.fill(ground.postgres_url, among)
    beats = [
        processes.start(
            f"beat{number}",
            [sys.executable, "-m", *COMMANDS["beat"].split()],
            log=ground.folder / f"beat{number}.log",
            environ=ground.environ | {"BROADSHEET_LOG_LEVEL": "INFO"},
            cwd=CHECKOUT,
        )
        for number in range(2)
    ]
    try:
        for beat in beats:
            beat.wait_for_words("beat: Starting")
        slot = grounds.arm(ground.postgres_url, due, ahead=SECONDS_TO_START + due / 5_000)
        with db.connect(ground.postgres_url, autocommit=True) as conn:
            beats[0].wait_until(lambda: _counted(conn, "SELECT count(*) AS n FROM run") == due)
            beats[0].wait_until(
                lambda: (
                    _counted(conn, "SELECT count(*) AS n FROM task WHERE rings > 0")
                    >= min(due, tasks.LEAST_WINDOW)
                )
            )
            stored, rung = _lags(conn, STORED, slot), _lags(conn, RUNG, slot)
    finally:
        processes.stop(beats)
    print(f"\n{due:,} due at once among {among:,}, two beats: seconds after the slot")
    print(f"{'':<34} {'p50':>7} {'p99':>7} {'last':>7}")
    for name, lags in (("stored as a run that waits", stored), ("first window rung for", rung)):
        p50, p99 = _centiles(lags)
        print(f"{name:<34} {p50:>7.2f} {p99:>7.2f} {max(lags):>7.2f}")
    _print_target("p99 until stored", _centiles(stored)[1], LATEST, "s", below=True)


def _counted(conn: db.Connection, query: str) -> int:
    row = conn.execute(query).fetchone()
    return int(row["n"]) if row else 0


def _lags(conn: db.Connection, query: str, slot: dt.datetime) -> list[float]:
    return [row["lag"] for row in conn.execute(query, [slot])]


if __name__ == "__main__":
    main()
