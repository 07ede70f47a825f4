"""`broadsheet documents`: where files lie."""

from __future__ import annotations

import click

from shared import db, documents, retention, s3
from shared.settings import Settings
from shared.storage import DocumentLost, Storage
from workers.terminal import Commands, Fault, database, read_settings, table

#: Documents that are looked for at once.
BATCH = 500


@click.group("documents", cls=Commands)
def documents_group() -> None:
    """Say where the files of runs lie, and move them."""


@documents_group.command("show")
def show() -> None:
    """Show how many files there are in which store, and what they take."""
    with database(read_settings("database_url")) as conn:
        rows = [("STORE", "DOCUMENTS", "MB"), *told(conn)]
    table(rows)


def told(conn: db.Connection) -> list[tuple[str, str, str]]:
    """Return a row per store: its name, its documents and their megabytes, as last counted."""
    return [
        (one.store, f"{one.number:,}", f"{one.bytes / 1024 / 1024:,.1f}")
        for one in retention.stored(conn)
    ]


@documents_group.command("move")
@click.option("--to", type=click.Choice(documents.STORES), required=True)
@click.option("--dry-run", is_flag=True, help="Say what would be moved, and move nothing.")
def move(to: str, *, dry_run: bool) -> None:
    """Move the files that lie elsewhere, one by one; safe to break off and to begin again.

    New files go where BROADSHEET_STORE says, so change that first. A file that is missing or
    damaged stays where it is and is named; the exit code is 1 then.
    """
    settings = _settings_of_store()
    storage, pool = Storage.from_settings(settings), _pool(settings)
    try:
        number = size = after = lost = 0
        while True:
            with db.transaction(pool) as conn:
                found = documents.elsewhere(conn, to, after=after, limit=BATCH)
            if not found:
                break
            for document_id, bytes_ in found:
                try:
                    moved = dry_run or storage.move(pool, document_id, to)
                except DocumentLost as exc:
                    lost += 1
                    click.echo(exc.message, err=True)
                    continue
                if moved:
                    number, size = number + 1, size + bytes_
            after = found[-1][0]
    finally:
        pool.close()
    would = "would be moved" if dry_run else "moved"
    click.echo(f"{number:,} files of {size / 1024 / 1024:,.1f} MB {would} to {to}.")
    if lost:
        raise Fault(f"{lost:,} files could not be moved; see above.")


@documents_group.command("unknown")
@click.option("--delete", is_flag=True, help="Delete them.")
def unknown(*, delete: bool) -> None:
    """List objects in the S3 store that the database knows nothing of.

    After a restore these are of files that were made since the backup. Whatever else uses the same
    bucket and prefix would be listed, too, also that of another Broadsheet.
    """
    settings = _settings_of_store()
    storage, pool = Storage.from_settings(settings), _pool(settings)
    number = 0
    try:
        for key in storage.unknown(pool):
            number += 1
            if delete:
                storage.discard(key)
            else:
                click.echo(key)
    finally:
        pool.close()
    click.echo(f"{number:,} objects {'deleted' if delete else 'are unknown'}.", err=True)


def _settings_of_store() -> Settings:
    settings = read_settings("database_url", "s3_bucket")
    s3.check_installed(settings)
    return settings


def _pool(settings: Settings) -> db.Pool:
    return db.open_pool(
        settings.database_url,
        pooled=settings.is_pooled,
        max_size=2,
        application="broadsheet-cli",
    )
