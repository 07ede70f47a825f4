"""`broadsheet forecast`: how much is due in the coming days, and how many workers bear it."""

from __future__ import annotations

import datetime as dt
import zoneinfo

import click

from shared import costs, db, forecast
from shared.forecast import Minute, Outlook
from shared.schedule import find_zone
from workers.terminal import database, duration, read_settings, table

#: Hours that are shown without --hours: the heaviest.
HEAVIEST = 12
#: Widest bar, in letters.
BAR = 30


@click.command("forecast")
@click.option("--days", type=click.IntRange(1, 92), default=7, show_default=True)
@click.option(
    "--within", default="10m", show_default=True, help="How late the last of a peak may be."
)
@click.option("--workers", type=click.IntRange(1, 10_000), help="Say what so many would do.")
@click.option("--back", default="7d", show_default=True, help="Whose captures give the costs.")
@click.option("--time-zone", default="UTC", show_default=True, help="Whose hours are shown.")
@click.option("--hours", is_flag=True, help="Show every hour, not only the heaviest.")
@click.option("--org-id", type=click.IntRange(min=1), help="Of this organisation only.")
def show_forecast(
    days: int,
    within: str,
    workers: int | None,
    back: str,
    time_zone: str,
    org_id: int | None,
    *,
    hours: bool,
) -> None:
    """Say from the stored schedules what is due, its peaks, and how many workers drain them.

    A worker is one process of the pool -Q render (one of -c). Costs are medians of what captures
    and assemblies took; equal captures of one slot count once. What is sent by request, and
    dashboards that change, are not foreseen.
    """
    zone = find_zone(time_zone)
    if zone is None:
        raise click.BadParameter(
            f"--time-zone wants a name such as Europe/Vienna, not {time_zone!r}."
        )
    longest = duration(within, "--within").total_seconds()
    with database(read_settings("database_url")) as conn:
        known = costs.measured(conn, back=duration(back, "--back"))
        start = db.clock(conn)
        end = start + dt.timedelta(days=days)
        minutes = forecast.load(costs.firings(conn, known, org_id=org_id), start, end)
    _costs(known)
    if not minutes:
        click.echo(f"Nothing is due in the next {days} days.")
        return
    _hours(minutes, zone, every=hours)
    needed = forecast.workers_for(minutes, longest)
    _total(minutes, days)
    click.echo(f"{_told(needed, zone)} That is the fewest for --within {within}.")
    if workers is not None:
        click.echo(_told(forecast.outlook(minutes, workers), zone))


def _costs(known: costs.Costs) -> None:
    if not known.captures:
        click.echo(
            f"No capture was made yet: each is taken for {known.any_capture:.1f} s.", err=True
        )
        return
    click.echo(
        f"Costs: {known.any_capture:.2f} s for a capture (median of {known.captures:,}, of "
        f"{len(known.by_dashboard):,} dashboards), {known.assembly:.2f} s for an assembly."
    )


def _hours(minutes: dict[dt.datetime, Minute], zone: zoneinfo.ZoneInfo, *, every: bool) -> None:
    found = forecast.by_hour(minutes, lambda moment: moment.astimezone(zone))
    shown = sorted(found, key=lambda hour: -found[hour].seconds)[: None if every else HEAVIEST]
    most = max(hour.seconds for hour in found.values())
    rows = [("HOUR", "RUNS", "CAPTURES", "WORK", "PEAK", "")]
    for moment in sorted(shown):
        hour = found[moment]
        peak = f"{hour.peak_at.astimezone(zone):%H:%M}" if hour.peak_at else ""
        rows.append(
            (
                f"{moment:%a %Y-%m-%d %H:%M}",
                f"{hour.runs:,.0f}",
                f"{hour.captures:,.0f}",
                forecast.rounded(hour.seconds),
                f"{peak} {forecast.rounded(hour.peak.seconds)}",
                "#" * max(1, round(BAR * hour.seconds / most)),
            )
        )
    table(rows)
    if len(found) > len(shown):
        click.echo(f"… and {len(found) - len(shown):,} lighter hours; --hours shows them.")


def _total(minutes: dict[dt.datetime, Minute], days: int) -> None:
    runs = sum(minute.runs for minute in minutes.values())
    captures = sum(minute.captures for minute in minutes.values())
    seconds = sum(minute.seconds for minute in minutes.values())
    click.echo(
        f"In {days} days: {runs:,.0f} runs, {captures:,.0f} captures, "
        f"{forecast.rounded(seconds)} of work for one worker."
    )


def _told(found: Outlook, zone: zoneinfo.ZoneInfo) -> str:
    who = f"{found.workers:,} worker{'s' if found.workers > 1 else ''}"
    if found.at is None or found.drained is None:
        return f"{who}: nothing waits."
    return (
        f"{who}: nothing waits longer than {forecast.rounded(found.longest)}; the worst is what "
        f"is due at {found.at.astimezone(zone):%a %Y-%m-%d %H:%M}, done by "
        f"{found.drained.astimezone(zone):%H:%M}."
    )
