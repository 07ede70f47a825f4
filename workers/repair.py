"""`broadsheet runs`, `retry` and `cancel`: what became of runs, and what to do about it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from shared import audit, reruns, runs
from shared.db import Connection
from shared.queue import Bell, make_celery
from shared.runs import Run
from shared.settings import Settings
from shared.tasks import Ring
from workers.terminal import Fault, actor, database, duration, number, read_settings, table, user

RUN = ("RUN", "the column ID of `broadsheet runs`")
CANCELLED = "It was cancelled at a terminal."
#: Runs that are taken up again or cancelled in one transaction.
BATCH = 100
#: So many are asked about before they are touched.
MANY = 10

_org = click.option("--org-id", type=click.IntRange(min=1), help="Of this organisation only.")
_report = click.option("--report", type=click.IntRange(min=1), help="Of this report only.")
_dry = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
_yes = click.option("--yes", is_flag=True, help="Do not ask, however many there are.")


@click.command("runs")
@click.option("--state", type=click.Choice(runs.STATES), help="Default: any.")
@click.option("--stuck", is_flag=True, help="Under way, and longer than --since ago begun.")
@click.option("--since", default="1d", show_default=True, help="30m, 12h, 7d: how far back.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@_org
@_report
def list_runs(
    state: str | None,
    since: str,
    limit: int,
    org_id: int | None,
    report: int | None,
    *,
    stuck: bool,
) -> None:
    """List runs, the newest first, with what went wrong."""
    if stuck and state:
        raise click.UsageError("Give either --state or --stuck.")
    back = duration(since, "--since")
    with database(read_settings("database_url")) as conn:
        found = runs.recent(
            conn, back, state=state, stuck=stuck, org_id=org_id, report_id=report, limit=limit
        )
    table([HEAD, *(_row(run) for run in found)])


HEAD = ("ID", "ORG", "REPORT", "KIND", "FOR", "STATE", "ENDED", "CAUSE")


def _row(run: Run) -> tuple[str, ...]:
    return (
        str(run.id),
        str(run.org_id),
        f"{run.report_id or '-'} {run.spec.name}"[:40],
        run.kind,
        f"{run.scheduled_for:%Y-%m-%d %H:%M}",
        run.state,
        f"{run.finished_at:%Y-%m-%d %H:%M}" if run.finished_at else "",
        " ".join((run.cause or "").split())[:120],
    )


@click.command()
@click.argument("run", nargs=-1)
@click.option(
    "--state",
    "states",
    type=click.Choice(reruns.STATES),
    multiple=True,
    help="Instead of RUNs: all that ended so. Repeatable.",
)
@click.option("--since", default="1d", show_default=True, help="With --state: 30m, 12h, 7d back.")
@_org
@_report
@_dry
@_yes
def retry(
    run: Sequence[str],
    states: Sequence[str],
    since: str,
    org_id: int | None,
    report: int | None,
    *,
    dry_run: bool,
    yes: bool,
) -> None:
    """Take up again RUNs that failed, were sent to some only, were missed or skipped.

    Nobody gets a second mail: what was rendered goes on with its failed mails only; what was not
    is rendered for its own slot. What `broadsheet restored` has held back, since it may have gone
    out already, is taken up by its number only.
    """
    if bool(run) == bool(states):
        raise click.UsageError("Give either RUNs or at least one --state.")
    settings = read_settings("database_url", "redis_url")
    with database(settings) as conn:
        if states:
            back = duration(since, "--since")
            ids = reruns.find(conn, states, since=back, org_id=org_id, report_id=report)
        else:
            ids = [number(text, *RUN) for text in run]
        conn.commit()
        _ask("retry", ids, dry_run=dry_run, yes=yes)
        rings, refused = _retry_all(conn, settings, ids, dry_run=dry_run)
    _ring(settings, rings)
    if refused:
        sys.exit(1)


def _retry_all(
    conn: Connection, settings: Settings, ids: Sequence[int], *, dry_run: bool
) -> tuple[list[Ring], int]:
    rings: list[Ring] = []
    refused = 0
    would = "would be" if dry_run else "is"
    for first in range(0, len(ids), BATCH):
        for run_id in ids[first : first + BATCH]:
            if dry_run:
                done = reruns.plan(conn, run_id)
            else:
                done = reruns.rerun(conn, run_id, who=user(), lifetime=settings.run_timeout)
            if done.refusal:
                refused += 1
                click.echo(f"Run {run_id}: {done.refusal}", err=True)
                continue
            rings += done.rings
            if done.what == reruns.RENDER:
                click.echo(f"Run {run_id} {would} rendered again.")
            else:
                click.echo(f"Run {run_id}: {done.mails} failed mails, each {would} sent again.")
            if not dry_run:
                _note(conn, "runs:retry", run_id)
        # What is told was done, also where the next batch fails.
        if dry_run:
            conn.rollback()
        else:
            conn.commit()
    return rings, refused


@click.command()
@click.argument("run", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Instead of RUNs: all that wait.")
@_org
@_report
@_dry
@_yes
def cancel(
    run: Sequence[str],
    org_id: int | None,
    report: int | None,
    *,
    everything: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Cancel RUNs that are not rendered yet; nothing of them is sent."""
    if bool(run) == everything:
        raise click.UsageError("Give either RUNs or --all, which --report or --org-id narrows.")
    refused = 0
    with database(read_settings("database_url")) as conn:
        if everything:
            ids = runs.unrendered(conn, org_id=org_id, report_id=report)
        else:
            ids = [number(text, *RUN) for text in run]
        conn.commit()
        _ask("cancel", ids, dry_run=dry_run, yes=yes)
        for run_id in ids:
            found = runs.get(conn, run_id)
            if found is None or found.state not in ("queued", "rendering"):
                refused += 1
                state = found.state if found else "not there"
                click.echo(f"Run {run_id} is {state} and cannot be cancelled.", err=True)
            elif dry_run:
                click.echo(f"Run {run_id} would be cancelled.")
            elif runs.cancel(conn, run_id, CANCELLED):
                _note(conn, "runs:cancel", run_id)
                click.echo(f"Run {run_id} is cancelled.")
            conn.commit()
    if refused:
        sys.exit(1)


def _ask(what: str, ids: Sequence[int], *, dry_run: bool, yes: bool) -> None:
    """Ask before very many are touched; where nobody can be asked, say what to type."""
    if dry_run or yes or len(ids) <= MANY:
        if not ids:
            click.echo(f"There is nothing to {what}.", err=True)
        return
    if not sys.stdin.isatty():
        raise Fault(f"These are {len(ids)} runs; say --yes to {what} them, or --dry-run to see.")
    click.confirm(f"{what.capitalize()} {len(ids)} runs?", abort=True)


def _note(conn: Connection, action: str, run_id: int) -> None:
    run = runs.get(conn, run_id)
    if run is not None:
        audit.note(conn, actor(), action, org_id=run.org_id, report_id=run.report_id, run_id=run_id)


def _ring(settings: Settings, rings: Sequence[Ring]) -> None:
    """Ring for what was stored; beat does it where the broker is away."""
    if rings:
        Bell(make_celery("broadsheet-cli", settings)).ring(rings)
