"""`broadsheet restored`: what a database wants that was restored from a backup."""

from __future__ import annotations

import click

from shared import one_database, restores
from workers.terminal import database, read_settings


@click.command("restored")
@click.option("--dry-run", is_flag=True, help="Say what would be held back, and do nothing.")
def restored(*, dry_run: bool) -> None:
    """Say that the database was restored from a backup, before the processes are started.

    Nothing that was to go out at the time of the backup or since is sent by itself then, since it
    may have been: mails are `unknown`, runs and slots `missed` or `failed`. What did not go out is
    sent by `broadsheet resolve` and `broadsheet retry`.

    Safe to do again, but not for nothing: ids leap by ten million each time.
    """
    settings = read_settings("database_url")
    one_database.check(settings)
    with database(settings) as conn:
        held = restores.plan(conn) if dry_run else restores.settle(conn)
    would = "would be" if dry_run else "are"
    click.echo(
        f"{held.mails:,} mails {would} unknown; {held.runs:,} runs {would} ended; "
        f"{held.slots:,} reports have slots that will be missed, not sent late."
    )
    if not dry_run:
        click.echo("See: broadsheet deliveries; broadsheet runs --state missed --since 30d")
