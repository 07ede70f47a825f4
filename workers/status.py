"""`broadsheet status`: lanes, pools, beats, what is due next and what failed last."""

from __future__ import annotations

import datetime as dt
import shutil
import sys
import textwrap
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import product

import click

from shared import amiss, backlog, db, mail_server, presence, reports, runs, tasks
from shared.backlog import Backlog
from shared.db import Connection
from shared.errors import DatabaseAway
from shared.forecast import rounded
from shared.presence import Process
from shared.settings import Settings
from workers import stores
from workers.terminal import database, lined_up, read_settings

#: Rows of what is due next, and of what failed last.
NEXT, LAST = 5, 5


@click.command("status")
@click.option("--watch", is_flag=True, help="Again and again, until Ctrl-C.")
@click.option(
    "--every", type=click.FloatRange(0.2, 3_600), default=2.0, show_default=True, help="Seconds."
)
def show_status(every: float, *, watch: bool) -> None:
    """Show what waits, who works, what is due next and what failed last.

    Ends with 1 when something is amiss: no beat, nobody for a queue that has tasks, something
    that waits too long, a mail server that is away, mails of which nobody knows, a slot of the
    last 24 hours that did not go out.
    """
    settings = read_settings("database_url")
    if not watch:
        lines, found = _look(settings)
        _show(lines)
        raise SystemExit(1 if found else 0)
    while True:
        try:
            lines, _ = _look(settings)
        except DatabaseAway as exc:
            # Whoever watches does so because something is wrong: it is not for us to give up.
            lines = [f"! {exc.message}"]
        # Only now, so that nothing is blank while the database is asked.
        click.clear()
        _show(lines)
        time.sleep(every)


def _show(lines: Sequence[str]) -> None:
    """Print the lines; at a terminal, so that they fit and nothing pushes the first ones out."""
    if sys.stdout.isatty():
        columns, rows = shutil.get_terminal_size()
        lines = [part for line in lines for part in _fitted(line, columns)][: rows - 1]
    for line in lines:
        click.secho(line, fg="red" if line.startswith("!") else None)


def _fitted(line: str, columns: int) -> list[str]:
    """Sentences are for reading to their end, rows of tables for seeing at once."""
    return (
        textwrap.wrap(line, columns, subsequent_indent="! ")
        if line[:1] == "!"
        else [line[:columns]]
    )


def _look(settings: Settings) -> tuple[list[str], bool]:
    """Return the lines to show, and whether something is amiss."""
    with database(settings) as conn, db.translated():
        there, processes = backlog.read(conn), presence.find(conn)
        found = [
            *amiss.find(there, processes, mail_server.find(conn)),
            *amiss.not_sent(there),
        ]
        now = db.clock(conn)
        tables = [
            _slots(conn),
            _stages(there),
            _pools(processes),
            _stored(conn),
            _next(conn, now),
            _last(conn),
        ]
    lines = [f"{now:%Y-%m-%d %H:%M:%S} UTC"]
    lines += [f"! {sentence}" for sentence in found] or [
        "  Nothing is amiss. (Broker and Grafana are looked at by `broadsheet doctor`.)"
    ]
    for rows in tables:
        lines += ["", *lined_up(rows)] if rows else []
    return lines, bool(found)


Rows = list[tuple[str, ...]]

ENDINGS = ("sent", "partial", "failed", "missed", "skipped", "cancelled")


def _slots(conn: Connection) -> Rows:
    ended = runs.ended_last_day(conn)
    return [
        ("LAST 24 H", *(state.upper() for state in ENDINGS)),
        ("slots", *(f"{ended.get(state, 0):,}" for state in ENDINGS)),
    ]


def _stages(there: Backlog) -> Rows:
    """All of them, also where nothing is, so that nothing jumps while one watches."""
    numbers: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    oldest: dict[tuple[str, str], float] = defaultdict(float)
    for line in there.lines:
        numbers[line.kind, line.lane][line.state] = line.number
        oldest[line.kind, line.lane] = max(oldest[line.kind, line.lane], line.oldest)
    rows: Rows = [("STAGE", "LANE", "WAITING", "RUNNING", "PAUSED", "OLDEST")]
    rows.append(_amount("due, unclaimed", there.due))
    rows.append(_amount("claimed, not begun", there.waiting))
    for kind, lane in product(tasks.KINDS, tasks.LANES):
        states = numbers[kind, lane]
        rows.append(
            (
                kind,
                lane,
                f"{states.get('waiting', 0):,}",
                f"{states.get('running', 0):,}",
                f"{states.get('paused', 0):,}",
                rounded(oldest[kind, lane]) if oldest[kind, lane] > 0 else "",
            )
        )
    return rows


def _amount(what: str, amount: backlog.Amount) -> tuple[str, ...]:
    old = rounded(amount.oldest) if amount.number else ""
    return (what, tasks.SCHEDULED, f"{amount.number:,}", "", "", old)


def _pools(processes: Sequence[Process]) -> Rows:
    """Processes by role and queue: how many are there, where, and of which version."""
    groups: dict[tuple[str, str], list[Process]] = defaultdict(list)
    for process in processes:
        groups[process.role, ", ".join(process.queues)].append(process)
    rows: Rows = [("PROCESS", "QUEUE", "THERE", "GONE", "HOSTS", "VERSION")]
    for (role, queues), some in sorted(groups.items()):
        live = [process for process in some if process.is_there]
        hosts = {process.name.rpartition(":")[0] for process in live}
        rows.append(
            (
                role,
                queues,
                str(len(live)),
                str(len(some) - len(live)),
                str(len(hosts)),
                ", ".join(sorted({process.version for process in live})),
            )
        )
    return rows


def _stored(conn: Connection) -> Rows:
    """What documents take, by store, once beat has counted them."""
    rows = stores.told(conn)
    return [("DOCUMENTS IN", "NUMBER", "MB"), *rows] if rows else []


def _next(conn: Connection, now: dt.datetime) -> Rows:
    due = reports.next_due(conn, limit=NEXT)
    if not due:
        return [("Nothing is scheduled.",)]
    rows: Rows = [("NEXT", "IN", "ORG", "REPORT")]
    for report in due:
        slot = report.next_run_at or now
        left = (slot - now).total_seconds()
        rows.append(
            (
                f"{slot:%Y-%m-%d %H:%M:%S}",
                rounded(left) if left > 0 else "due",
                str(report.org_id),
                f"{report.id} {report.name}"[:60],
            )
        )
    return rows


def _last(conn: Connection) -> Rows:
    failed = runs.amiss(conn, limit=LAST)
    if not failed:
        return []
    rows: Rows = [("LAST FAILED", "RUN", "REPORT", "STATE", "CAUSE")]
    rows += [
        (
            f"{run.finished_at:%Y-%m-%d %H:%M:%S}" if run.finished_at else "",
            str(run.id),
            f"{run.report_id or '-'} {run.spec.name}"[:40],
            run.state,
            " ".join((run.cause or "").split())[:120],
        )
        for run in failed
    ]
    return rows
