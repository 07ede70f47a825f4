"""Forecast: the load of the coming minutes, and how many capture workers bear it. Pure.

Load is counted in seconds of one capture worker's time. What is due in the same minute and equal is
captured once, as admission does it; a report that spreads its slots is counted where it begins.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from shared import schedule
from shared.schedule import Schedule

MINUTE = dt.timedelta(minutes=1)
#: More workers than this are no answer; something is wrong with the costs.
MOST_WORKERS = 100_000


@dataclass(frozen=True, slots=True)
class Firing:
    """What one report asks for each time: captures by what makes them equal, each with its cost.

    Costs are in seconds: of each capture, and (`assembly`) of what every run needs for itself.
    `spread` are the seconds over which the report spreads its slots. A sample stands for `weight`
    reports.
    """

    report_id: int
    rule: Schedule
    captures: Sequence[tuple[str, float]]
    assembly: float
    spread: float = 0.0
    weight: float = 1.0


@dataclass(slots=True)
class Minute:
    """What is due in one minute: runs, captures after sharing, and seconds of work."""

    runs: float = 0.0
    captures: float = 0.0
    seconds: float = 0.0


def load(
    firings: Iterable[Firing], start: dt.datetime, end: dt.datetime
) -> dict[dt.datetime, Minute]:
    """Return what is due in each minute from `start` (included) to `end`, where anything is."""
    minutes: dict[dt.datetime, Minute] = defaultdict(Minute)
    captured: set[tuple[str, dt.datetime]] = set()
    for firing in firings:
        for slot, following in slots(firing.rule, start, end):
            late = schedule.aside(firing.report_id, slot, following, firing.spread)
            begins = slot + dt.timedelta(seconds=late)
            minute = minutes[begins.replace(second=0, microsecond=0)]
            minute.runs += firing.weight
            minute.seconds += firing.assembly * firing.weight
            for key, seconds in firing.captures:
                if (key, slot) not in captured:
                    captured.add((key, slot))
                    minute.captures += firing.weight
                    minute.seconds += seconds * firing.weight
    return dict(sorted(minutes.items()))


def slots(
    rule: Schedule, start: dt.datetime, end: dt.datetime
) -> Iterator[tuple[dt.datetime, dt.datetime | None]]:
    """Give the slots from `start` (included) up to `end`, each with the one after it."""
    slot = schedule.next_after(rule, start - dt.timedelta(microseconds=1))
    while slot is not None and slot < end:
        following = schedule.next_after(rule, slot)
        yield slot, following
        slot = following


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What so many workers make of a load: the longest that anything is waited for, and when.

    `drained` is when the work that came at that moment and before is done.
    """

    workers: int
    longest: float
    at: dt.datetime | None
    drained: dt.datetime | None


def outlook(minutes: dict[dt.datetime, Minute], workers: int) -> Outlook:
    """Say how long work waits at worst if `workers` do nothing else, first come first served."""
    backlog, longest = 0.0, 0.0
    at: dt.datetime | None = None
    before: dt.datetime | None = None
    for moment, minute in minutes.items():
        if before is not None:
            backlog = max(0.0, backlog - workers * (moment - before).total_seconds())
        backlog += minute.seconds
        before = moment
        if backlog / workers > longest:
            longest, at = backlog / workers, moment
    drained = at + dt.timedelta(seconds=longest) if at else None
    return Outlook(workers=workers, longest=longest, at=at, drained=drained)


def workers_for(minutes: dict[dt.datetime, Minute], within: float) -> Outlook:
    """Return the fewest workers with whom nothing is later than `within` seconds."""
    low, high = 1, 1
    while outlook(minutes, high).longest > within:
        low, high = high + 1, high * 2
        if high > MOST_WORKERS:
            return outlook(minutes, MOST_WORKERS)
    while low < high:
        middle = (low + high) // 2
        if outlook(minutes, middle).longest > within:
            low = middle + 1
        else:
            high = middle
    return outlook(minutes, low)


@dataclass(slots=True)
class Hour:
    """One hour of the load, with its heaviest minute."""

    runs: float = 0.0
    captures: float = 0.0
    seconds: float = 0.0
    peak: Minute = field(default_factory=Minute)
    peak_at: dt.datetime | None = None


def by_hour(
    minutes: dict[dt.datetime, Minute], local: Callable[[dt.datetime], dt.datetime]
) -> dict[dt.datetime, Hour]:
    """Sum the minutes up by the hours of the clock that `local` shows."""
    hours: dict[dt.datetime, Hour] = defaultdict(Hour)
    for moment, minute in minutes.items():
        hour = hours[local(moment).replace(minute=0)]
        hour.runs += minute.runs
        hour.captures += minute.captures
        hour.seconds += minute.seconds
        if minute.seconds > hour.peak.seconds:
            hour.peak, hour.peak_at = minute, moment
    return dict(hours)


def median(values: Sequence[float]) -> float:
    """Return the middle value, the upper one of two; 0 of none."""
    return sorted(values)[len(values) // 2] if values else 0.0


def rounded(seconds: float) -> str:
    """Return a duration as people say it."""
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    return f"{math.ceil(seconds / 60)} min"
