"""`broadsheet status`: lanes, pools, beats, what is due next and what failed last."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence

import click

from shared import amiss, backlog, db, mail_server, presence, reports, runs
from shared.backlog import Backlog
from shared.db import Connection
from shared.forecast import rounded
from shared.presence import Process
from workers import stores
from workers.terminal import database, read_settings, table

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
    that waits too long, a mail server that is away, mails of which nobody knows.
    """
    settings = read_settings("database_url")
    while True:
        with database(settings) as conn:
            there, processes = backlog.read(conn), presence.find(conn)
            found = amiss.find(there, processes, mail_server.find(conn))
            if watch:
                click.clear()
            _show(conn, there, processes, found)
        if not watch:
            raise SystemExit(1 if found else 0)
        time.sleep(every)


def _show(
    conn: Connection, there: Backlog, processes: Sequence[Process], found: Sequence[str]
) -> None:
    click.echo(f"{db.clock(conn):%Y-%m-%d %H:%M:%S} UTC")
    for sentence in found or ("Nothing is amiss.",):
        click.echo(f"{'!' if found else ' '} {sentence}")
    click.echo()
    _lanes(there)
    click.echo()
    _pools(processes)
    click.echo()
    _stored(conn)
    _next(conn, there)
    _last(conn)


def _lanes(there: Backlog) -> None:
    numbers: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    oldest: dict[tuple[str, str], float] = defaultdict(float)
    for line in there.lines:
        numbers[line.kind, line.lane][line.state] = line.number
        oldest[line.kind, line.lane] = max(oldest[line.kind, line.lane], line.oldest)
    rows = [("STAGE", "LANE", "WAITING", "RUNNING", "PAUSED", "OLDEST")]
    rows.append(_amount("due, unclaimed", there.due))
    rows.append(_amount("claimed, not begun", there.waiting))
    for kind, lane in sorted(numbers, key=lambda key: (ORDER.index(key[0]), key[1])):
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
    table(rows)


ORDER = ("render", "assemble", "deliver")


def _amount(what: str, amount: backlog.Amount) -> tuple[str, str, str, str, str, str]:
    old = rounded(amount.oldest) if amount.number else ""
    return (what, "scheduled", f"{amount.number:,}", "", "", old)


def _pools(processes: Sequence[Process]) -> None:
    """Show processes by role and queue: how many are there, where, and of which version."""
    groups: dict[tuple[str, str], list[Process]] = defaultdict(list)
    for process in processes:
        groups[process.role, ", ".join(process.queues)].append(process)
    rows = [("PROCESS", "QUEUE", "THERE", "GONE", "HOSTS", "VERSION")]
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
    table(rows)


def _stored(conn: Connection) -> None:
    """Show what documents take, by store, once beat has counted them."""
    rows = stores.told(conn)
    if rows:
        table([("DOCUMENTS IN", "NUMBER", "MB"), *rows])
        click.echo()


def _next(conn: Connection, there: Backlog) -> None:
    if there.next_due is None:
        click.echo("Nothing is scheduled.")
        return
    rows = [("NEXT", "ORG", "REPORT")]
    rows += [
        (f"{due.next_run_at:%Y-%m-%d %H:%M:%S}", str(due.org_id), f"{due.id} {due.name}"[:60])
        for due in reports.next_due(conn, limit=NEXT)
    ]
    table(rows)


def _last(conn: Connection) -> None:
    failed = runs.amiss(conn, limit=LAST)
    if not failed:
        return
    click.echo()
    rows = [("LAST FAILED", "RUN", "REPORT", "STATE", "CAUSE")]
    rows += [
        (
            f"{run.finished_at:%Y-%m-%d %H:%M:%S}" if run.finished_at else "",
            str(run.id),
            f"{run.report_id or '-'} {run.spec.name}"[:40],
            run.state,
            " ".join((run.cause or "").split())[:80],
        )
        for run in failed
    ]
    table(rows)
