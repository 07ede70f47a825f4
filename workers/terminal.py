"""What the commands at a terminal share: errors, settings, tables, and who sits there."""

from __future__ import annotations

import dataclasses
import datetime as dt
import getpass
import os
import re
import sys
from collections.abc import Sequence
from typing import IO, Any

import click
import psycopg

from shared import db, log
from shared.audit import Actor
from shared.errors import BroadsheetError, NotMigrated, SettingsError
from shared.settings import Settings

DURATION = re.compile(r"(\d{1,9})([mhdwy])", re.ASCII)
UNITS = {
    "m": dt.timedelta(minutes=1),
    "h": dt.timedelta(hours=1),
    "d": dt.timedelta(days=1),
    "w": dt.timedelta(weeks=1),
    "y": dt.timedelta(days=365),
}
LONGEST = 100 * UNITS["y"]


class Fault(click.ClickException):
    """An error of ours as click shows it: its sentences, and nothing around them."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the sentences."""
        click.echo(self.message, file=file or sys.stderr)


class WrongSettings(Fault):
    """A fault of the call rather than of the world."""

    exit_code = 2


class Commands(click.Group):
    """A group whose commands may raise our errors."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and turn what it raises into a `Fault`."""
        try:
            return super().invoke(ctx)
        except SettingsError as exc:
            raise WrongSettings(exc.message) from exc
        except BroadsheetError as exc:
            raise Fault(exc.message) from exc
        except db.NOT_THERE as exc:
            raise Fault(str(NotMigrated.__doc__)) from exc
        except psycopg.Error as exc:
            # What Postgres says to an operator: that a right is missing, and which.
            told = (exc.diag.message_primary, exc.diag.message_detail, exc.diag.message_hint)
            raise Fault(" ".join(part for part in told if part) or str(exc)) from exc
        except OSError as exc:
            raise Fault(f"{exc.strerror or exc}: {exc.filename}") from exc


def read_settings(*needs: str) -> Settings:
    """Return the settings of this process's environment, and keep its log to what is amiss."""
    found = Settings.from_environment(os.environ, needs=needs)
    chosen = "BROADSHEET_LOG_LEVEL" in os.environ
    quiet = found if chosen else dataclasses.replace(found, log_level="WARNING")
    log.configure(dataclasses.replace(quiet, log_format="text"), process="broadsheet")
    return found


def database(settings: Settings) -> db.Connection:
    """Open the database, of every organisation. Raises `DatabaseAway`."""
    return db.connect(settings.session_url, application="broadsheet-cli")


def actor() -> Actor:
    """Return who sits at the terminal, as the audit knows him."""
    return Actor(who=f"terminal:{user()}", name=user())


def number(text: str, word: str, where: str) -> int:
    """Read the number of a row. Raises `BadParameter` saying `where` to find it."""
    if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) < 2**63):
        raise click.BadParameter(f"{word} wants a number from {where}, not {text!r}.")
    return int(text)


def user() -> str:
    """Return who sits at the terminal; a container may run as a number that has no name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"


def duration(text: str, option: str) -> dt.timedelta:
    """Read 30m, 12h, 30d, 8w or 1y. Raises `BadParameter` naming the option."""
    found = DURATION.fullmatch(text)
    # Counted first: very many years are more than a timedelta holds.
    number = int(found[1]) if found else 0
    if not found or not 0 < number <= LONGEST // UNITS[found[2]]:
        raise click.BadParameter(f"{option} wants 30m, 12h, 30d, 8w or 1y, not {text!r}.")
    return number * UNITS[found[2]]


def table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows, the first of which is the head, with columns as wide as they need."""
    for line in lined_up(rows):
        click.echo(line)


def lined_up(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
